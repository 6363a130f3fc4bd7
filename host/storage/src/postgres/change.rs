//! Changes by hand: cancel and retry; and the worker's heartbeat.

use uuid::Uuid;

use super::call::Call;
use super::clock;
use super::fault::{Fault, get, get_u8, get_u32};
use super::params::params;
use super::templates;
use super::tx::Mode;
use crate::fate::ATTEMPT_MAX;
use crate::rows::state_of;
use crate::{Cancelled, Retried, StorageError};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;

const LOCK: &str = "
    SELECT t.seq, t.state, t.worker, t.cancel_requested, t.attempt, s.template
    FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq WHERE s.id = $1
    FOR UPDATE OF t";
const CANCEL: &str = "
    UPDATE cofferdam.task SET state = 5, updated_at = $2, finished_at = $2,
        change = cofferdam.change_number(0) WHERE seq = $1";
const ASK: &str = "
    UPDATE cofferdam.task SET cancel_requested = true, updated_at = $2,
        change = cofferdam.change_number(0) WHERE seq = $1";
const RETRY: &str = "
    UPDATE cofferdam.task SET state = 1, max_attempts = $3, lost = 0, run_at = $2, updated_at = $2,
        finished_at = NULL, change = cofferdam.change_number(0) WHERE seq = $1";
/// A clock that went back does not make a worker look dead.
const HEARTBEAT: &str = "
    INSERT INTO cofferdam.worker AS w (id, heard_at) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET heard_at = greatest(w.heard_at, excluded.heard_at)";

/// Ends a waiting task, or marks a running one.
pub(super) async fn cancel(call: &Call, id: TaskId, now: Timestamp) -> Result<Cancelled, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let Some(row) = tx.query_opt(LOCK, params![id.0]).await? else {
        tx.rollback().await?;
        return Ok(Cancelled::Unknown);
    };
    let seq: i64 = get(&row, 0)?;
    let state = state_of(get_u8(&row, 1)?)?;
    let told = match state {
        TaskState::Blocked | TaskState::Pending => {
            tx.later(CANCEL, params![seq, now.as_millis()]);
            tx.moved(state, TaskState::Cancelled, 1);
            Cancelled::AtOnce
        }
        TaskState::Running => {
            if !get::<bool>(&row, 3)? {
                tx.later(ASK, params![seq, now.as_millis()]);
            }
            let worker = get::<Option<Uuid>>(&row, 2)?
                .ok_or_else(|| StorageError::corrupt("nobody runs a running task"))?;
            Cancelled::Requested(WorkerId(worker))
        }
        TaskState::Completed | TaskState::Failed | TaskState::Cancelled => Cancelled::Final(state),
    };
    tx.commit().await?;
    Ok(told)
}

/// Gives a failed or cancelled task as many further attempts as it had at first.
pub(super) async fn retry(call: &Call, id: TaskId, now: Timestamp) -> Result<Retried, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let Some(row) = tx.query_opt(LOCK, params![id.0]).await? else {
        tx.rollback().await?;
        return Ok(Retried::Unknown);
    };
    let seq: i64 = get(&row, 0)?;
    let state = state_of(get_u8(&row, 1)?)?;
    let attempt = get_u32(&row, 4)?;
    let told = match state {
        TaskState::Failed | TaskState::Cancelled if attempt >= ATTEMPT_MAX => Retried::Exhausted,
        TaskState::Failed | TaskState::Cancelled => {
            let template = templates::by_id(&mut tx, get(&row, 5)?).await?;
            let further = template.retry.max_attempts.max(1);
            let max_attempts = attempt.saturating_add(further).min(ATTEMPT_MAX);
            let max_attempts = i32::try_from(max_attempts).map_err(StorageError::corrupt)?;
            tx.later(RETRY, params![seq, now.as_millis(), max_attempts]);
            tx.moved(state, TaskState::Pending, 1);
            Retried::Pending
        }
        TaskState::Blocked | TaskState::Pending | TaskState::Running | TaskState::Completed => {
            Retried::NotFailed(state)
        }
    };
    tx.commit().await?;
    Ok(told)
}

/// Notes that `worker` is alive, and sets this host's clock by the database's.
pub(super) async fn heartbeat(call: &Call, worker: WorkerId, now: Timestamp) -> Result<(), Fault> {
    let mut tx = call.begin(Mode::Hasty).await?;
    tx.later(HEARTBEAT, params![worker.0, now.as_millis()]);
    tx.commit().await?;
    clock::set(call).await
}

/// Shows that the database can be written to.
pub(super) async fn ping(call: &Call) -> Result<(), Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let sql = "
        INSERT INTO cofferdam.ping AS p (shard, n) VALUES ($1, 0)
        ON CONFLICT (shard) DO UPDATE SET n = 1 - p.n";
    tx.later(sql, params![call.db.shards.next()]);
    tx.commit().await
}
