//! What is to be told of tasks, batches and workflows that ended. The schema's functions make the rows.
//! What is a workflow's alone is in `workflows`.

mod workflows;

use tokio_postgres::Row;

use super::call::Call;
use super::fault::{Fault, get, get_u8, get_u32};
use super::params::{Params, params};
use super::tx::{Mode, Tx};
use crate::StorageError;
use crate::callbacks::{Delivery, DeliveryCounts, Hold, ToldAgain, Tried, seq_of};
use crate::rows::{DeliveryRow, ToldRow, TriedRow, callback_of, state_of, tenant_of};
use cofferdam_domain::batch::NewBatch;
use cofferdam_domain::callback::event::Subject;
use cofferdam_domain::callback::{Callback, Lane, Told};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::NewTask;
use cofferdam_domain::time::Timestamp;

pub(super) use self::workflows::insert_of_workflows;

/// For tasks that an earlier statement of the same transaction has stored.
pub(super) const INSERT: &str = "
    WITH c AS (
        INSERT INTO cofferdam.callback (seq, tenant, url, place, secret)
        SELECT s.seq, u.tenant, u.url, u.place, u.secret
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
            AS u(id, tenant, url, place, secret)
        JOIN cofferdam.task_spec s ON s.id = u.id
        RETURNING seq)
    UPDATE cofferdam.task t SET callback = u.ends
    FROM unnest($1::uuid[], $6::int2[]) AS u(id, ends)
    JOIN cofferdam.task_spec s ON s.id = u.id WHERE t.seq = s.seq";
const INSERT_OF_BATCH: &str = "
    INSERT INTO cofferdam.callback (seq, tenant, url, place, secret, batch, ends)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
/// One jump in the index for each lane.
const LANES: &str = "
    WITH RECURSIVE l AS (
        (SELECT tenant, place, due_at FROM cofferdam.delivery
         WHERE status = 0 AND (tenant, place) > ($1, $2) ORDER BY tenant, place, due_at LIMIT 1)
        UNION ALL
        (SELECT n.tenant, n.place, n.due_at FROM l CROSS JOIN LATERAL (
            SELECT d.tenant, d.place, d.due_at FROM cofferdam.delivery d
            WHERE d.status = 0 AND (d.tenant, d.place) > (l.tenant, l.place)
            ORDER BY d.tenant, d.place, d.due_at LIMIT 1) AS n))
    SELECT tenant, place, due_at FROM l LIMIT $3";
const TAKE: &str = "
    WITH d AS (
        SELECT seq, number FROM cofferdam.delivery
        WHERE status = 0 AND tenant = $1 AND place = $2 AND due_at <= $3
        ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED),
    u AS (
        UPDATE cofferdam.delivery t SET due_at = $5, taken = true, claim = claim + 1
        FROM d WHERE t.seq = d.seq AND t.number = d.number RETURNING t.*)
    SELECT u.seq, u.number, u.claim, s.id, c.batch, u.tenant, c.url, c.secret, u.state, u.attempt,
        u.finished_at, u.since, u.tries, w.id
    FROM u JOIN cofferdam.callback c ON c.seq = u.seq
    LEFT JOIN cofferdam.task_spec s ON s.seq = u.seq
    LEFT JOIN cofferdam.workflow w ON w.seq = c.workflow
    ORDER BY u.finished_at, u.seq";
const SETTLE: &str = "
    UPDATE cofferdam.delivery SET status = $4, due_at = coalesce($5, due_at), taken = false,
        tries = tries + $6::int4, last_status = CASE WHEN $6 = 1 THEN $7 ELSE last_status END,
        last_error = CASE WHEN $6 = 1 THEN $8 ELSE last_error END
    WHERE seq = $1 AND number = $2 AND claim = $3 AND taken RETURNING 1";
const CALLBACK: &str = "
    SELECT c.url, c.secret, t.callback, d.status, d.tries, d.due_at, d.last_status, d.last_error
    FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
    JOIN cofferdam.callback c ON c.seq = s.seq
    LEFT JOIN cofferdam.delivery d ON d.seq = s.seq
        AND d.number = (SELECT max(n.number) FROM cofferdam.delivery n WHERE n.seq = s.seq)
    WHERE s.id = $1 AND ($2::text IS NULL OR s.tenant = $2)";
const CALLBACK_OF_BATCH: &str = "
    SELECT c.url, c.secret, c.ends, d.status, d.tries, d.due_at, d.last_status, d.last_error
    FROM cofferdam.callback c LEFT JOIN cofferdam.delivery d ON d.seq = c.seq
        AND d.number = (SELECT max(n.number) FROM cofferdam.delivery n WHERE n.seq = c.seq)
    WHERE c.batch = $1 AND ($2::text IS NULL OR c.tenant = $2)";
const NEWEST: &str = "
    SELECT t.state, d.seq, d.number, d.taken AND d.status = 0, d.status, d.tries, d.due_at,
        d.last_status, d.last_error
    FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
    LEFT JOIN cofferdam.delivery d ON d.seq = s.seq
        AND d.number = (SELECT max(n.number) FROM cofferdam.delivery n WHERE n.seq = s.seq)
    WHERE s.id = $1 AND ($2::text IS NULL OR s.tenant = $2) FOR UPDATE OF t";
const NEWEST_OF_BATCH: &str = "
    SELECT NULL::int2, d.seq, d.number, d.taken AND d.status = 0, d.status, d.tries, d.due_at,
        d.last_status, d.last_error
    FROM cofferdam.batch b LEFT JOIN cofferdam.callback c ON c.batch = b.id
    LEFT JOIN cofferdam.delivery d ON d.seq = c.seq
        AND d.number = (SELECT max(n.number) FROM cofferdam.delivery n WHERE n.seq = c.seq)
    WHERE b.id = $1 AND ($2::text IS NULL OR b.tenant = $2) FOR UPDATE OF b";
const AGAIN: &str = "
    UPDATE cofferdam.delivery SET status = 0, due_at = $3, since = $3, taken = false
    WHERE seq = $1 AND number = $2 AND NOT (taken AND status = 0)
    RETURNING status, tries, due_at, last_status, last_error";
const COUNTS: &str = "
    SELECT (SELECT count(*) FROM (SELECT 1 FROM cofferdam.delivery
                WHERE status = 0 AND ($1::text IS NULL OR tenant = $1) LIMIT $2) AS pending),
        (SELECT count(*) FROM (SELECT 1 FROM cofferdam.delivery
                WHERE status = 2 AND ($1::text IS NULL OR tenant = $1) LIMIT $2) AS failed)";

/// The parameters of [`INSERT`]; none if none of these tasks has a callback.
#[derive(Default)]
pub(super) struct Rows {
    ids: Vec<uuid::Uuid>,
    tenants: Vec<String>,
    urls: Vec<String>,
    places: Vec<String>,
    secrets: Vec<Option<String>>,
    ends: Vec<i16>,
}

impl Rows {
    pub(super) fn push(&mut self, task: &NewTask) {
        let Some(callback) = &task.callback else {
            return;
        };
        self.ids.push(task.id.0);
        self.tenants.push(task.tenant.as_str().to_owned());
        self.urls.push(callback.url.as_str().to_owned());
        self.places.push(callback.url.place());
        let secret = callback.secret.as_ref();
        self.secrets
            .push(secret.map(|name| name.as_str().to_owned()));
        self.ends.push(callback.on.bits().into());
    }

    pub(super) fn into_params(self) -> Option<Params> {
        (!self.ids.is_empty()).then(|| {
            params![
                self.ids,
                self.tenants,
                self.urls,
                self.places,
                self.secrets,
                self.ends,
            ]
        })
    }
}

/// Keeps whom a batch's end is told, with the commit.
pub(super) fn insert_of_batch(tx: &mut Tx, batch: &NewBatch, callback: &Callback) {
    let row = params![
        seq_of(batch.id),
        batch.tenant.as_str().to_owned(),
        callback.url.as_str().to_owned(),
        callback.url.place(),
        callback
            .secret
            .as_ref()
            .map(|name| name.as_str().to_owned()),
        batch.id.0,
        i16::from(callback.on.bits()),
    ];
    tx.later(INSERT_OF_BATCH, row);
}

/// The lanes behind `after`.
pub(super) async fn lanes(
    tx: &mut Tx,
    after: Option<&Lane>,
    limit: u32,
) -> Result<Vec<(Lane, Timestamp)>, Fault> {
    let (tenant, place) = after.map_or_else(Default::default, |lane| {
        (lane.tenant.as_str().to_owned(), lane.place.clone())
    });
    let rows = tx.query(LANES, params![tenant, place, i64::from(limit)]);
    let lane = |row: &Row| -> Result<(Lane, Timestamp), StorageError> {
        let tenant = tenant_of(get(row, 0)?)?;
        let place = get(row, 1)?;
        Ok((Lane { tenant, place }, Timestamp::from_millis(get(row, 2)?)))
    };
    let lanes: Result<_, StorageError> = rows.await?.iter().map(lane).collect();
    Ok(lanes?)
}

/// Takes what is due in a lane.
pub(super) async fn take(
    call: &Call,
    lane: &Lane,
    limit: u32,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Delivery>, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let due = params![
        lane.tenant.as_str().to_owned(),
        lane.place.clone(),
        now.as_millis(),
        i64::from(limit),
        until.as_millis(),
    ];
    let rows = tx.query(TAKE, due).await?;
    let deliveries = rows.iter().map(delivery);
    let deliveries = deliveries.collect::<Result<Vec<Delivery>, StorageError>>()?;
    match deliveries.is_empty() {
        true => tx.rollback().await?,
        false => tx.commit().await?,
    }
    Ok(deliveries)
}

fn delivery(row: &Row) -> Result<Delivery, StorageError> {
    let row = DeliveryRow {
        seq: get(row, 0)?,
        number: get_u32(row, 1)?,
        claim: get(row, 2)?,
        task: get(row, 3)?,
        batch: get(row, 4)?,
        tenant: get(row, 5)?,
        url: get(row, 6)?,
        secret: get(row, 7)?,
        state: get_u8(row, 8)?,
        attempt: get_u32(row, 9)?,
        finished_at: get(row, 10)?,
        since: get(row, 11)?,
        tries: get_u32(row, 12)?,
        workflow: get(row, 13)?,
    };
    row.try_into()
}

/// Records a try under its claim.
pub(super) async fn settle(call: &Call, hold: Hold, tried: &Tried) -> Result<bool, Fault> {
    let row = TriedRow::from(tried);
    let number = i32::try_from(hold.number).map_err(StorageError::corrupt)?;
    let mut tx = call.begin(Mode::Durable).await?;
    let tried = params![
        hold.seq,
        number,
        hold.claim,
        i16::from(row.status),
        row.due_at,
        i32::from(row.was_tried),
        row.last_status.map(i32::from),
        row.last_error.map(super::params::text),
    ];
    let settled = tx.query(SETTLE, tried).await?;
    tx.commit().await?;
    Ok(!settled.is_empty())
}

/// A callback, and what became of its newest end.
pub(super) async fn callback(
    tx: &mut Tx,
    of: Subject,
) -> Result<Option<(Callback, Option<Told>)>, Fault> {
    let asked = params![of.id(), tx.tenant()];
    let wanted = match of {
        Subject::Task(_) => CALLBACK,
        Subject::Batch(_) => CALLBACK_OF_BATCH,
        Subject::Workflow(_) => workflows::CALLBACK,
    };
    let Some(row) = tx.query_opt(wanted, asked).await? else {
        return Ok(None);
    };
    let callback = callback_of(get(&row, 0)?, get(&row, 1)?, get_u8(&row, 2)?)?;
    let is_told = get::<Option<i16>>(&row, 3)?.is_some();
    let told = is_told.then(|| told(&row, 3)).transpose()?;
    Ok(Some((callback, told)))
}

/// status, tries, due_at, last_status and last_error from column `first` on.
fn told(row: &Row, first: usize) -> Result<Told, StorageError> {
    let last_status = get::<Option<i32>>(row, first + 3)?.map(u16::try_from);
    let row = ToldRow {
        status: get_u8(row, first)?,
        tries: get_u32(row, first + 1)?,
        due_at: get(row, first + 2)?,
        last_status: last_status.transpose().map_err(StorageError::corrupt)?,
        last_error: get(row, first + 4)?,
    };
    row.try_into()
}

/// Has the newest end told again, unless somebody is at it.
pub(super) async fn tell_again(
    call: &Call,
    of: Subject,
    now: Timestamp,
) -> Result<ToldAgain, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let asked = params![of.id(), tx.tenant()];
    let newest = match of {
        Subject::Task(_) => NEWEST,
        Subject::Batch(_) => NEWEST_OF_BATCH,
        Subject::Workflow(_) => workflows::NEWEST,
    };
    let answer = match tx.query_opt(newest, asked).await? {
        None => ToldAgain::Unknown,
        Some(row) => match get::<Option<i64>>(&row, 1)? {
            None => ToldAgain::Nothing(state(&row)?),
            Some(seq) => {
                let number: i32 = get(&row, 2)?;
                let again = params![seq, number, now.as_millis()];
                match tx.query_opt(AGAIN, again).await? {
                    Some(row) => ToldAgain::Due(told(&row, 0)?),
                    None => ToldAgain::UnderWay(told(&row, 4)?),
                }
            }
        },
    };
    tx.commit().await?;
    Ok(answer)
}

/// A task's state in the first column; nothing for a batch or a workflow.
fn state(row: &Row) -> Result<Option<TaskState>, StorageError> {
    match get::<Option<i16>>(row, 0)? {
        None => Ok(None),
        Some(_) => Ok(Some(state_of(get_u8(row, 0)?)?)),
    }
}

/// How many ends are to be told, and how many were given up.
pub(super) async fn counts(tx: &mut Tx) -> Result<DeliveryCounts, Fault> {
    let asked = params![tx.tenant(), i64::from(DeliveryCounts::MAX)];
    let row = tx.query_opt(COUNTS, asked).await?;
    let row = row.ok_or_else(|| StorageError::corrupt("a count gave no row"))?;
    let count = |place| Ok::<_, StorageError>(u64::try_from(get::<i64>(&row, place)?).unwrap_or(0));
    Ok(DeliveryCounts {
        pending: count(0)?,
        failed: count(1)?,
    })
}
