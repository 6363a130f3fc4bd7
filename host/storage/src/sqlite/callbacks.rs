//! What is to be told of tasks, batches and workflows that ended. What is a workflow's alone is in `workflows`.

mod workflows;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::StorageError;
use crate::callbacks::{Delivery, DeliveryCounts, ENDS_KEPT, Hold, ToldAgain, Tried, seq_of};
use crate::rows::{DeliveryRow, ToldRow, TriedRow, callback_of, state_of, tenant_of};
use cofferdam_domain::batch::NewBatch;
use cofferdam_domain::callback::event::Subject;
use cofferdam_domain::callback::{Callback, Lane, Told};
use cofferdam_domain::secret::SecretName;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

pub(super) use self::workflows::{insert_of_workflow, workflow_is_told};

const TOLD_NOW: &str = "
    INSERT INTO delivery (seq, number, tenant, place, state, attempt, finished_at, since, due_at)
    SELECT c.seq, 1 + coalesce((SELECT max(d.number) FROM delivery d WHERE d.seq = c.seq), 0),
        c.tenant, c.place, t.state, t.attempt, t.finished_at, t.finished_at, t.finished_at
    FROM callback c JOIN task t ON t.seq = c.seq WHERE c.seq = ?1";
/// A batch has ended as the worst of its tasks, when the last did.
const BATCH_TOLD_NOW: &str = "
    INSERT INTO delivery (seq, number, tenant, place, state, attempt, finished_at, since, due_at)
    SELECT seq, number, tenant, place, state, 0, ended_at, ended_at, ended_at FROM (
        SELECT c.seq, c.tenant, c.place, c.ends,
            1 + coalesce((SELECT max(d.number) FROM delivery d WHERE d.seq = c.seq), 0) AS number,
            CASE WHEN EXISTS (SELECT 1 FROM task INDEXED BY task_batch WHERE batch = ?1 AND state = 4) THEN 4
                WHEN EXISTS (SELECT 1 FROM task INDEXED BY task_batch WHERE batch = ?1 AND state = 5) THEN 5
                ELSE 3 END AS state,
            coalesce((SELECT max(finished_at) FROM task INDEXED BY task_batch WHERE batch = ?1),
                (SELECT created_at FROM batch WHERE id = ?1)) AS ended_at
        FROM callback c WHERE c.batch = ?1
            AND NOT EXISTS (SELECT 1 FROM task INDEXED BY task_batch WHERE batch = ?1 AND state < 3))
    WHERE (ends >> (state - 3)) & 1 = 1 RETURNING seq";
const INSERT_OF_BATCH: &str = "
    INSERT INTO callback (seq, tenant, url, place, secret, batch, ends) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const FORGET_OLD: &str = "
    DELETE FROM delivery WHERE seq = ?1
        AND number <= (SELECT max(d.number) FROM delivery d WHERE d.seq = ?1) - ?2";
const LANE: &str = "
    SELECT tenant, place, due_at FROM delivery WHERE status = 0 AND (tenant, place) > (?1, ?2)
    ORDER BY tenant, place, due_at LIMIT 1";
const DUE: &str = "
    SELECT seq, number FROM delivery
    WHERE status = 0 AND tenant = ?1 AND place = ?2 AND due_at <= ?3 ORDER BY due_at LIMIT ?4";
const TAKE: &str = "
    UPDATE delivery SET due_at = ?3, taken = 1, claim = claim + 1 WHERE seq = ?1 AND number = ?2";
const TAKEN: &str = "
    SELECT d.seq, d.number, d.claim, t.id, c.batch, d.tenant, c.url, c.secret, d.state, d.attempt,
        d.finished_at, d.since, d.tries, w.id
    FROM delivery d JOIN callback c ON c.seq = d.seq LEFT JOIN task t ON t.seq = d.seq
    LEFT JOIN workflow w ON w.seq = c.workflow
    WHERE d.seq = ?1 AND d.number = ?2";
const SETTLE: &str = "
    UPDATE delivery SET status = ?4, due_at = coalesce(?5, due_at), taken = 0, tries = tries + ?6,
        last_status = iif(?6, ?7, last_status), last_error = iif(?6, ?8, last_error)
    WHERE seq = ?1 AND number = ?2 AND claim = ?3 AND taken = 1";
const CALLBACK: &str = "
    SELECT c.url, c.secret, t.callback, d.status, d.tries, d.due_at, d.last_status, d.last_error
    FROM task t JOIN callback c ON c.seq = t.seq
    LEFT JOIN delivery d ON d.seq = t.seq
        AND d.number = (SELECT max(n.number) FROM delivery n WHERE n.seq = t.seq)
    WHERE t.id = ?1 AND (?2 IS NULL OR t.tenant = ?2)";
const CALLBACK_OF_BATCH: &str = "
    SELECT c.url, c.secret, c.ends, d.status, d.tries, d.due_at, d.last_status, d.last_error
    FROM callback c LEFT JOIN delivery d ON d.seq = c.seq
        AND d.number = (SELECT max(n.number) FROM delivery n WHERE n.seq = c.seq)
    WHERE c.batch = ?1 AND (?2 IS NULL OR c.tenant = ?2)";
const NEWEST: &str = "
    SELECT t.state, d.seq, d.number, d.taken AND d.status = 0
    FROM task t LEFT JOIN delivery d ON d.seq = t.seq
        AND d.number = (SELECT max(n.number) FROM delivery n WHERE n.seq = t.seq)
    WHERE t.id = ?1 AND (?2 IS NULL OR t.tenant = ?2)";
const NEWEST_OF_BATCH: &str = "
    SELECT NULL, d.seq, d.number, d.taken AND d.status = 0
    FROM batch b LEFT JOIN callback c ON c.batch = b.id LEFT JOIN delivery d ON d.seq = c.seq
        AND d.number = (SELECT max(n.number) FROM delivery n WHERE n.seq = c.seq)
    WHERE b.id = ?1 AND (?2 IS NULL OR b.tenant = ?2)";
const AGAIN: &str = "
    UPDATE delivery SET status = 0, due_at = ?3, since = ?3, taken = 0
    WHERE seq = ?1 AND number = ?2
    RETURNING status, tries, due_at, last_status, last_error";
const TOLD: &str = "
    SELECT status, tries, due_at, last_status, last_error FROM delivery
    WHERE seq = ?1 AND number = ?2";
const PENDING: &str = "
    SELECT count(*) FROM (SELECT 1 FROM delivery
        WHERE status = 0 AND (?1 IS NULL OR tenant = ?1) LIMIT ?2)";
const FAILED: &str = "
    SELECT count(*) FROM (SELECT 1 FROM delivery
        WHERE status = 2 AND (?1 IS NULL OR tenant = ?1) LIMIT ?2)";

/// Makes the delivery of a task's end. Part of the transaction that makes the task final.
pub(super) fn end_is_told(conn: &Connection, seq: i64) -> Result<(), StorageError> {
    conn.prepare_cached(TOLD_NOW)?.execute([seq])?;
    conn.prepare_cached(FORGET_OLD)?
        .execute([seq, i64::from(ENDS_KEPT)])?;
    Ok(())
}

/// Keeps whom a batch's end is told.
pub(super) fn insert_of_batch(
    conn: &Connection,
    batch: &NewBatch,
    callback: &Callback,
) -> Result<(), StorageError> {
    conn.prepare_cached(INSERT_OF_BATCH)?.execute(params![
        seq_of(batch.id),
        batch.tenant.as_str(),
        callback.url.as_str(),
        callback.url.place(),
        callback.secret.as_ref().map(SecretName::as_str),
        batch.id.0.as_bytes(),
        callback.on.bits(),
    ])?;
    Ok(())
}

/// Makes the delivery of a batch's end, if it has ended and somebody is told. Part of the transaction that makes a
/// task of it final.
pub(super) fn batch_is_told(conn: &Connection, batch: [u8; 16]) -> Result<(), StorageError> {
    let told: Option<i64> = conn
        .prepare_cached(BATCH_TOLD_NOW)?
        .query_row([batch], |row| row.get(0))
        .optional()?;
    if let Some(seq) = told {
        conn.prepare_cached(FORGET_OLD)?
            .execute([seq, i64::from(ENDS_KEPT)])?;
    }
    Ok(())
}

/// Removes the callback of a task that is removed, and its deliveries.
pub(super) fn remove(conn: &Connection, seq: i64) -> Result<(), StorageError> {
    conn.prepare_cached("DELETE FROM callback WHERE seq = ?1")?
        .execute([seq])?;
    conn.prepare_cached("DELETE FROM delivery WHERE seq = ?1")?
        .execute([seq])?;
    Ok(())
}

/// The lanes behind `after`: one jump in the index for each.
pub(super) fn lanes(
    conn: &Connection,
    after: Option<&Lane>,
    limit: u32,
) -> Result<Vec<(Lane, Timestamp)>, StorageError> {
    let mut statement = conn.prepare_cached(LANE)?;
    let mut lanes: Vec<(Lane, Timestamp)> = Vec::new();
    let mut after = after.cloned();
    for _ in 0..limit {
        let (tenant, place) = match &after {
            None => ("", ""),
            Some(lane) => (lane.tenant.as_str(), lane.place.as_str()),
        };
        let next: Option<(String, String, i64)> = statement
            .query_row([tenant, place], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((tenant, place, due_at)) = next else {
            break;
        };
        let tenant = tenant_of(&tenant)?;
        let lane = Lane { tenant, place };
        after = Some(lane.clone());
        lanes.push((lane, Timestamp::from_millis(due_at)));
    }
    Ok(lanes)
}

/// Takes what is due in a lane.
pub(super) fn take(
    conn: &Connection,
    lane: &Lane,
    limit: u32,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Delivery>, StorageError> {
    let due = params![lane.tenant.as_str(), lane.place, now.as_millis(), limit];
    let due: Vec<(i64, u32)> = conn
        .prepare_cached(DUE)?
        .query_map(due, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let (mut take, mut taken) = (conn.prepare_cached(TAKE)?, conn.prepare_cached(TAKEN)?);
    let mut deliveries = Vec::with_capacity(due.len());
    for (seq, number) in due {
        take.execute(params![seq, number, until.as_millis()])?;
        let row = taken.query_row([seq, i64::from(number)], delivery_row)?;
        deliveries.push(row.try_into()?);
    }
    Ok(deliveries)
}

fn delivery_row(row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    Ok(DeliveryRow {
        seq: row.get(0)?,
        number: row.get(1)?,
        claim: row.get(2)?,
        task: row.get::<_, Option<_>>(3)?.map(uuid::Uuid::from_bytes),
        batch: row.get::<_, Option<_>>(4)?.map(uuid::Uuid::from_bytes),
        tenant: row.get(5)?,
        url: row.get(6)?,
        secret: row.get(7)?,
        state: row.get(8)?,
        attempt: row.get(9)?,
        finished_at: row.get(10)?,
        since: row.get(11)?,
        tries: row.get(12)?,
        workflow: row.get::<_, Option<_>>(13)?.map(uuid::Uuid::from_bytes),
    })
}

/// Records a try under its claim.
pub(super) fn settle(conn: &Connection, hold: Hold, tried: &Tried) -> Result<bool, StorageError> {
    let row = TriedRow::from(tried);
    let settled = conn.prepare_cached(SETTLE)?.execute(params![
        hold.seq,
        hold.number,
        hold.claim,
        row.status,
        row.due_at,
        row.was_tried,
        row.last_status,
        row.last_error,
    ])?;
    Ok(settled > 0)
}

/// A callback, and what became of its newest end.
pub(super) fn callback(
    conn: &Connection,
    whose: &Whose,
    of: Subject,
) -> Result<Option<(Callback, Option<Told>)>, StorageError> {
    let mut statement = conn.prepare_cached(match of {
        Subject::Task(_) => CALLBACK,
        Subject::Batch(_) => CALLBACK_OF_BATCH,
        Subject::Workflow(_) => workflows::CALLBACK,
    })?;
    let mut rows = statement.query(params![of.id().as_bytes(), whose.name()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let url: String = row.get(0)?;
    let callback = callback_of(&url, row.get(1)?, row.get(2)?)?;
    let is_told = row.get::<_, Option<u8>>(3)?.is_some();
    let told = is_told.then(|| told_row(row, 3)).transpose()?;
    Ok(Some((callback, told.map(Told::try_from).transpose()?)))
}

/// status, tries, due_at, last_status and last_error from column `first` on.
fn told_row(row: &Row<'_>, first: usize) -> rusqlite::Result<ToldRow> {
    Ok(ToldRow {
        status: row.get(first)?,
        tries: row.get(first + 1)?,
        due_at: row.get(first + 2)?,
        last_status: row.get(first + 3)?,
        last_error: row.get(first + 4)?,
    })
}

/// Has the newest end told again, unless somebody is at it.
pub(super) fn tell_again(
    conn: &Connection,
    whose: &Whose,
    of: Subject,
    now: Timestamp,
) -> Result<ToldAgain, StorageError> {
    type Newest = (Option<u8>, Option<i64>, Option<u32>, Option<bool>);
    let newest = match of {
        Subject::Task(_) => NEWEST,
        Subject::Batch(_) => NEWEST_OF_BATCH,
        Subject::Workflow(_) => workflows::NEWEST,
    };
    let found: Option<Newest> = conn
        .prepare_cached(newest)?
        .query_row(params![of.id().as_bytes(), whose.name()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((state, seq, number, is_taken)) = found else {
        return Ok(ToldAgain::Unknown);
    };
    if seq.is_none() {
        return Ok(ToldAgain::Nothing(state.map(state_of).transpose()?));
    }
    if is_taken == Some(true) {
        let told = conn
            .prepare_cached(TOLD)?
            .query_row(params![seq, number], |row| told_row(row, 0))?;
        return Ok(ToldAgain::UnderWay(told.try_into()?));
    }
    let told = conn
        .prepare_cached(AGAIN)?
        .query_row(params![seq, number, now.as_millis()], |row| {
            told_row(row, 0)
        })?;
    Ok(ToldAgain::Due(told.try_into()?))
}

/// How many ends are to be told, and how many were given up.
pub(super) fn counts(conn: &Connection, whose: &Whose) -> Result<DeliveryCounts, StorageError> {
    let count = |sql| -> Result<u64, StorageError> {
        let counted: i64 = conn
            .prepare_cached(sql)?
            .query_row(params![whose.name(), DeliveryCounts::MAX], |row| row.get(0))?;
        Ok(u64::try_from(counted).unwrap_or(0))
    };
    Ok(DeliveryCounts {
        pending: count(PENDING)?,
        failed: count(FAILED)?,
    })
}
