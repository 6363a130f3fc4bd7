//! Claiming: which tasks are next, and handing them to a worker. The claim counts the attempt.

use std::sync::Arc;

use tokio_postgres::Row;
use uuid::Uuid;

use super::call::Call;
use super::fault::{Fault, get, get_u32};
use super::params::params;
use super::settle::{self, Settling};
use super::spec::{priority_of, spec_parts};
use super::templates;
use super::tx::{Mode, Tx};
use crate::StorageError;
use crate::fate::After;
use crate::rows::Ending;
use cofferdam_domain::attempt::{Failure, FailureKind, Fence, Outcome, WorkerId};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, TaskId};
use cofferdam_domain::time::Timestamp;

/// A statement that claims what `$candidates` finds for the worker $3 at $1, at most $2 tasks, with the
/// fences $4, at the home $5. Candidates come from the index alone, one range a priority: tasks whose time has not come
/// lie behind the end of the range and cost nothing. Nothing is locked that is not taken, except where
/// several ranges have to be sorted together.
macro_rules! claim_sql {
    ($candidates:literal) => {
        concat!(
            "WITH c AS MATERIALIZED (",
            $candidates,
            "),
            n AS MATERIALIZED (SELECT seq, row_number() OVER () AS place FROM c),
            u AS (
                UPDATE cofferdam.task t SET state = 2, attempt = t.attempt + 1,
                    fence = ($4::int8[])[n.place], worker = $3, claimed_at = $1, updated_at = $1,
                    progress = 0, progress_note = '',
                    change = (SELECT cofferdam.change_number(0)) + n.place
                FROM n WHERE t.seq = n.seq
                RETURNING t.seq, n.place, t.priority, t.attempt, t.max_attempts, t.lost, t.run_at,
                    t.fence, t.batch_bound IS NOT NULL AS holds_place)
            SELECT s.id, s.template, u.priority, u.attempt, u.max_attempts, u.lost, s.created_at,
                u.run_at, u.fence, u.seq, s.content_type, s.blob, s.blob_bytes, s.args, s.env,
                s.metadata, s.body, u.holds_place
            FROM u JOIN cofferdam.task_spec s ON s.seq = u.seq ORDER BY u.place"
        )
    };
}

const BY_PRIORITY: &str = claim_sql!(
    "SELECT f.seq FROM (VALUES (0::int2), (1::int2), (2::int2), (3::int2)) AS p(priority)
     CROSS JOIN LATERAL (
        SELECT t.seq FROM cofferdam.task t
        WHERE t.state = 1 AND t.priority = p.priority AND t.run_at <= $1
            AND (t.home IS NULL OR t.home = $5)
        ORDER BY t.run_at, t.seq LIMIT $2 FOR UPDATE SKIP LOCKED) f
     LIMIT $2"
);
const OLDEST: &str = claim_sql!(
    "SELECT f.seq FROM (VALUES (0::int2), (1::int2), (2::int2), (3::int2)) AS p(priority)
     CROSS JOIN LATERAL (
        SELECT t.seq, t.run_at FROM cofferdam.task t
        WHERE t.state = 1 AND t.priority = p.priority AND t.run_at <= $1
            AND (t.home IS NULL OR t.home = $5)
        ORDER BY t.run_at, t.seq LIMIT $2 FOR UPDATE SKIP LOCKED) f
     ORDER BY f.run_at, f.seq LIMIT $2"
);
const NEWEST: &str = claim_sql!(
    "SELECT f.seq FROM (VALUES (0::int2), (1::int2), (2::int2), (3::int2)) AS p(priority)
     CROSS JOIN LATERAL (
        SELECT t.seq, t.run_at FROM cofferdam.task t
        WHERE t.state = 1 AND t.priority = p.priority AND t.run_at <= $1
            AND (t.home IS NULL OR t.home = $5)
        ORDER BY t.run_at DESC, t.seq DESC LIMIT $2 FOR UPDATE SKIP LOCKED) f
     ORDER BY f.run_at DESC, f.seq DESC LIMIT $2"
);

/// Takes up to `slots` tasks for `worker`. One whose rows make no sense ends failed, so that it does not
/// keep the others from being claimed.
pub(super) async fn claim(
    call: &Call,
    worker: WorkerId,
    slots: u32,
    order: ClaimOrder,
    now: Timestamp,
) -> Result<Vec<Claim>, Fault> {
    if slots == 0 {
        return Ok(Vec::new());
    }
    let sql = match order {
        ClaimOrder::Priority => BY_PRIORITY,
        ClaimOrder::Fifo => OLDEST,
        ClaimOrder::Lifo => NEWEST,
    };
    let mut tx = call.begin(Mode::Hasty).await?;
    let fences = call.db.fences(slots);
    let home = call.db.home;
    let taken = params![now.as_millis(), i64::from(slots), worker.0, fences, home];
    let rows = tx.query(sql, taken).await?;
    let tasks = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    tx.moved(TaskState::Pending, TaskState::Running, tasks);
    let mut claims = Vec::with_capacity(rows.len());
    let mut unreadable = Vec::new();
    for row in &rows {
        match claim_of(&mut tx, row, now).await {
            Ok(claim) => claims.push(claim),
            Err(Fault {
                error: StorageError::Corrupt(why),
                ..
            }) => unreadable.push((get(row, 9)?, why)),
            Err(fault) => return Err(fault),
        }
    }
    end_unreadable(&mut tx, unreadable, now).await?;
    match rows.is_empty() {
        true => tx.rollback().await?,
        false => tx.commit().await?,
    }
    Ok(claims)
}

async fn claim_of(tx: &mut Tx, row: &Row, now: Timestamp) -> Result<Claim, Fault> {
    let template = templates::by_id(tx, get(row, 1)?).await?;
    let spec = spec_parts(row, 10)?.into_spec(&template, priority_of(row, 2)?)?;
    Ok(Claim {
        task_id: TaskId(get::<Uuid>(row, 0)?),
        attempt: get_u32(row, 3)?,
        max_attempts: get_u32(row, 4)?,
        fence: Fence(get::<i64>(row, 8)?.cast_unsigned()),
        lost: get_u32(row, 5)?,
        created_at: Timestamp::from_millis(get(row, 6)?),
        run_at: Timestamp::from_millis(get(row, 7)?),
        claimed_at: now,
        holds_place: get(row, 17)?,
        spec: Arc::new(spec),
    })
}

async fn end_unreadable(
    tx: &mut Tx,
    unreadable: Vec<(i64, String)>,
    now: Timestamp,
) -> Result<(), Fault> {
    if unreadable.is_empty() {
        return Ok(());
    }
    let mut settling = Settling::default();
    for (seq, why) in unreadable {
        tracing::error!(
            seq,
            why,
            "a task's stored data cannot be read; it ends failed"
        );
        let task = settle::running_by_seq(tx, seq).await?;
        let message = format!("the stored data of this task cannot be read: {why}");
        let outcome = Outcome::Failed(Failure::new(FailureKind::HostError, message));
        let after = After::Final(TaskState::Failed);
        settling.settle(&task, after, false, &Ending::bare(now, &outcome))?;
    }
    settling.write(tx);
    Ok(())
}
