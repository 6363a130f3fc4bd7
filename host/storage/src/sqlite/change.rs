//! Changes by hand: cancel and retry.

use rusqlite::{OptionalExtension, params};

use super::batch;
use super::db::Db;
use crate::fate::{ATTEMPT_MAX, NO_PLACE_YET, Place};
use crate::rows::{state_number, state_of};
use crate::{Cancelled, Retried, StorageError};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;

/// seq, state, worker and place in a batch of a task that is to be cancelled.
type ToCancel = (i64, u8, Option<[u8; 16]>, Option<Place>);

/// Ends a waiting task, or marks a running one.
pub(super) fn cancel(db: &mut Db, id: TaskId, now: Timestamp) -> Result<Cancelled, StorageError> {
    let found: Option<ToCancel> = db
        .conn
        .prepare_cached("SELECT seq, state, worker, batch, batch_bound FROM task WHERE id = ?1")?
        .query_row([id.0.as_bytes()], |row| {
            let place = batch::place_of(row, 3)?;
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, place))
        })
        .optional()?;
    let Some((seq, number, worker, place)) = found else {
        return Ok(Cancelled::Unknown);
    };
    let state = state_of(number)?;
    match state {
        TaskState::Blocked | TaskState::Pending => {
            db.conn
                .prepare_cached(
                    "UPDATE task SET state = ?2, updated_at = ?3, finished_at = ?3, change = ?4,
                        run_at = coalesce(due_at, run_at), due_at = NULL WHERE seq = ?1",
                )?
                .execute(params![
                    seq,
                    state_number(TaskState::Cancelled),
                    now.as_millis(),
                    db.tallies.next_change()
                ])?;
            db.tallies.moved(state, TaskState::Cancelled, 1);
            if let Some(place) = place {
                batch::let_in(&db.conn, place)?;
            }
            Ok(Cancelled::AtOnce)
        }
        TaskState::Running => {
            db.conn
                .prepare_cached(
                    "UPDATE task SET cancel_requested = 1, updated_at = ?2, change = ?3
                     WHERE seq = ?1 AND cancel_requested = 0",
                )?
                .execute(params![seq, now.as_millis(), db.tallies.next_change()])?;
            let worker =
                worker.ok_or_else(|| StorageError::corrupt("a running task has no worker"))?;
            Ok(Cancelled::Requested(WorkerId(uuid::Uuid::from_bytes(
                worker,
            ))))
        }
        TaskState::Completed | TaskState::Failed | TaskState::Cancelled => {
            Ok(Cancelled::Final(state))
        }
    }
}

/// Gives a failed or cancelled task as many further attempts as it had at first.
pub(super) fn retry(db: &mut Db, id: TaskId, now: Timestamp) -> Result<Retried, StorageError> {
    let found: Option<(i64, i64, u8, u32, Option<Place>)> = db
        .conn
        .prepare_cached(
            "SELECT seq, template, state, attempt, batch, batch_bound FROM task WHERE id = ?1",
        )?
        .query_row([id.0.as_bytes()], |row| {
            let place = batch::place_of(row, 4)?;
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, place))
        })
        .optional()?;
    let Some((seq, template, number, attempt, place)) = found else {
        return Ok(Retried::Unknown);
    };
    let state = state_of(number)?;
    match state {
        TaskState::Failed | TaskState::Cancelled if attempt >= ATTEMPT_MAX => {
            Ok(Retried::Exhausted)
        }
        TaskState::Failed | TaskState::Cancelled => {
            let further = db
                .templates
                .get(&db.conn, template)?
                .retry
                .max_attempts
                .max(1);
            db.conn
                .prepare_cached(
                    "UPDATE task SET state = 1, max_attempts = ?2, lost = 0,
                        run_at = iif(batch_bound IS NULL, ?3, ?5), due_at = iif(batch_bound IS NULL, NULL, ?3),
                        updated_at = ?3, finished_at = NULL, change = ?4 WHERE seq = ?1",
                )?
                .execute(params![
                    seq,
                    attempt.saturating_add(further).min(ATTEMPT_MAX),
                    now.as_millis(),
                    db.tallies.next_change(),
                    NO_PLACE_YET
                ])?;
            db.tallies.moved(state, TaskState::Pending, 1);
            if let Some(place) = place {
                batch::let_in(&db.conn, place)?;
            }
            Ok(Retried::Pending)
        }
        TaskState::Blocked | TaskState::Pending | TaskState::Running | TaskState::Completed => {
            Ok(Retried::NotFailed(state))
        }
    }
}
