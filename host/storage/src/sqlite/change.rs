//! Changes by hand: cancel and retry.

use rusqlite::{OptionalExtension, params};

use super::db::Db;
use super::release::{self, EndedNode, ask_for_end};
use super::{batch, callbacks, nodes, settle};
use crate::fate::{ATTEMPT_MAX, NO_PLACE_YET, NodeAt, Place};
use crate::rows::{state_number, state_of};
use crate::{Cancelled, Retried, StorageError};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::callback::Ends;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

/// A task that is to be cancelled.
struct ToCancel {
    seq: i64,
    state: u8,
    worker: Option<[u8; 16]>,
    place: Option<Place>,
    tenant: String,
    told: Option<u8>,
    node: Option<NodeAt>,
}

/// seq, template, state, attempt, place in a batch, tenant and workflow of a task that is to be tried again.
type ToRetry = (i64, i64, u8, u32, Option<Place>, String, Option<i64>);

/// Ends a waiting task, or marks a running one.
pub(super) fn cancel(
    db: &mut Db,
    whose: &Whose,
    id: TaskId,
    now: Timestamp,
) -> Result<Cancelled, StorageError> {
    let found: Option<ToCancel> = db
        .conn
        .prepare_cached(
            "SELECT seq, state, worker, batch, batch_bound, tenant, callback, workflow, place FROM task
             WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)",
        )?
        .query_row(params![id.0.as_bytes(), whose.name()], |row| {
            Ok(ToCancel {
                seq: row.get(0)?,
                state: row.get(1)?,
                worker: row.get(2)?,
                place: batch::place_of(row, 3)?,
                tenant: row.get(5)?,
                told: row.get(6)?,
                node: settle::node_at(row, 7)?,
            })
        })
        .optional()?;
    let Some(task) = found else {
        return Ok(Cancelled::Unknown);
    };
    let state = state_of(task.state)?;
    match state {
        TaskState::Blocked | TaskState::Pending => {
            end_waiting(db, &task, state, now)?;
            Ok(Cancelled::AtOnce)
        }
        TaskState::Running => {
            ask_for_end(&db.conn, &mut db.tallies, task.seq, now)?;
            let worker = task
                .worker
                .ok_or_else(|| StorageError::corrupt("a running task has no worker"))?;
            Ok(Cancelled::Requested(WorkerId(uuid::Uuid::from_bytes(
                worker,
            ))))
        }
        TaskState::Completed | TaskState::Failed | TaskState::Cancelled => {
            Ok(Cancelled::Final(state))
        }
    }
}

fn end_waiting(
    db: &mut Db,
    task: &ToCancel,
    state: TaskState,
    now: Timestamp,
) -> Result<(), StorageError> {
    let after = TaskState::Cancelled;
    db.conn
        .prepare_cached(
            "UPDATE task SET state = ?2, updated_at = ?3, finished_at = ?3, change = ?4,
                run_at = coalesce(due_at, run_at), due_at = NULL WHERE seq = ?1",
        )?
        .execute(params![
            task.seq,
            state_number(after),
            now.as_millis(),
            db.tallies.next_change()
        ])?;
    db.tallies.moved(&task.tenant, state, after, 1);
    let told = task.told.and_then(Ends::from_bits);
    if told.is_some_and(|ends| ends.has(after)) {
        callbacks::end_is_told(&db.conn, task.seq)?;
    }
    if let Some(place) = task.place {
        batch::task_ended(&db.conn, place)?;
    }
    if let Some(at) = task.node {
        let ended = EndedNode::of(at, after, None).having_been(state);
        let freed = release::free(&db.conn, &mut db.tallies, &[(ended, now)])?;
        release::pending(&db.conn, &mut db.tallies, &freed)?;
    }
    Ok(())
}

/// Gives a failed or cancelled task as many further attempts as it had at first.
pub(super) fn retry(
    db: &mut Db,
    whose: &Whose,
    id: TaskId,
    now: Timestamp,
) -> Result<Retried, StorageError> {
    let found: Option<ToRetry> = db
        .conn
        .prepare_cached(
            "SELECT seq, template, state, attempt, batch, batch_bound, tenant, workflow FROM task
             WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)",
        )?
        .query_row(params![id.0.as_bytes(), whose.name()], |row| {
            let place = batch::place_of(row, 4)?;
            let (seq, template, state) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (attempt, tenant) = (row.get(3)?, row.get(6)?);
            Ok((seq, template, state, attempt, place, tenant, row.get(7)?))
        })
        .optional()?;
    let Some((seq, template, number, attempt, place, tenant, workflow)) = found else {
        return Ok(Retried::Unknown);
    };
    let state = state_of(number)?;
    if let Some(workflow) = workflow {
        return Ok(Retried::OfWorkflow(nodes::id_of(&db.conn, workflow)?));
    }
    match state {
        TaskState::Failed | TaskState::Cancelled if attempt >= ATTEMPT_MAX => {
            Ok(Retried::Exhausted)
        }
        TaskState::Failed | TaskState::Cancelled => {
            let max_attempts = attempts_after(db, template, attempt)?;
            db.conn
                .prepare_cached(
                    "UPDATE task SET state = 1, max_attempts = ?2, lost = 0,
                        run_at = iif(batch_bound IS NULL, ?3, ?5), due_at = iif(batch_bound IS NULL, NULL, ?3),
                        updated_at = ?3, finished_at = NULL, change = ?4 WHERE seq = ?1",
                )?
                .execute(params![
                    seq,
                    max_attempts,
                    now.as_millis(),
                    db.tallies.next_change(),
                    NO_PLACE_YET
                ])?;
            db.tallies.moved(&tenant, state, TaskState::Pending, 1);
            if let Some(place) = place {
                batch::task_ended(&db.conn, place)?;
            }
            Ok(Retried::Pending)
        }
        TaskState::Blocked | TaskState::Pending | TaskState::Running | TaskState::Completed => {
            Ok(Retried::NotFailed(state))
        }
    }
}

/// How many attempts a task may have once it is tried anew.
pub(super) fn attempts_after(
    db: &mut Db,
    template: i64,
    attempt: u32,
) -> Result<u32, StorageError> {
    let template = db.templates.get(&db.conn, template)?;
    let further = template.retry.max_attempts.max(1);
    Ok(attempt.saturating_add(further).min(ATTEMPT_MAX))
}
