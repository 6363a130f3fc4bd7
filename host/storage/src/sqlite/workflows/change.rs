//! Changes of a workflow by hand: cancel, pause and resume.

use rusqlite::{Connection, OptionalExtension, params};

use crate::rows::{workflow_state_number, workflow_state_of};
use crate::sqlite::change;
use crate::sqlite::db::Db;
use crate::sqlite::release::{self, within_of};
use crate::{Cancelled, CancelledWorkflow, PausedWorkflow, StorageError};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState};

const FIND: &str = "
    SELECT seq, state, tenant, signals, run FROM workflow
    WHERE id = ?1 AND (?2 IS NULL OR tenant = ?2)";
const OPEN: &str = "
    SELECT t.id FROM node n JOIN task t ON t.seq = n.seq
    WHERE n.workflow = ?1 AND t.state < 3 ORDER BY n.place DESC";

/// A workflow that was found.
pub(super) struct Found {
    pub(super) seq: i64,
    pub(super) state: WorkflowState,
    pub(super) tenant: String,
    pub(super) signals: u32,
    pub(super) run: u32,
}

/// The workflow of that id.
pub(super) fn found(
    conn: &Connection,
    whose: &Whose,
    id: WorkflowId,
) -> Result<Option<Found>, StorageError> {
    let mut statement = conn.prepare_cached(FIND)?;
    let mut rows = statement.query(params![id.0.as_bytes(), whose.name()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Found {
        seq: row.get(0)?,
        state: workflow_state_of(row.get(1)?)?,
        tenant: row.get(2)?,
        signals: row.get(3)?,
        run: row.get(4)?,
    }))
}

/// Cancels every node that is not final.
pub(in crate::sqlite) fn cancel(
    db: &mut Db,
    whose: &Whose,
    id: WorkflowId,
    now: Timestamp,
) -> Result<CancelledWorkflow, StorageError> {
    let Some(workflow) = found(&db.conn, whose, id)? else {
        return Ok(CancelledWorkflow::Unknown);
    };
    if workflow.state.is_final() {
        return Ok(CancelledWorkflow::Final(workflow.state));
    }
    let (mut at_once, mut requested) = (Vec::new(), Vec::new());
    db.conn
        .prepare_cached(
            "UPDATE workflow SET cancelling = 1, change = change + 1, updated_at = ?2
             WHERE seq = ?1",
        )?
        .execute(params![workflow.seq, now.as_millis()])?;
    let open: Vec<[u8; 16]> = db
        .conn
        .prepare_cached(OPEN)?
        .query_map([workflow.seq], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in open {
        let id = TaskId(uuid::Uuid::from_bytes(id));
        match change::cancel(db, &Whose::All, id, now)? {
            Cancelled::AtOnce => at_once.push(id),
            Cancelled::Requested(worker) => requested.push((id, worker)),
            Cancelled::Final(_) | Cancelled::Unknown => {}
        }
    }
    Ok(CancelledWorkflow::Cancelled { at_once, requested })
}

/// Keeps nodes from being claimed, or lets them go on.
pub(in crate::sqlite) fn pause(
    db: &mut Db,
    whose: &Whose,
    id: WorkflowId,
    paused: bool,
    now: Timestamp,
) -> Result<PausedWorkflow, StorageError> {
    let Some(workflow) = found(&db.conn, whose, id)? else {
        return Ok(PausedWorkflow::Unknown);
    };
    let (from, to) = match paused {
        true => (WorkflowState::Running, WorkflowState::Paused),
        false => (WorkflowState::Paused, WorkflowState::Running),
    };
    match workflow.state {
        state if state.is_final() => return Ok(PausedWorkflow::Final(state)),
        state if state == to => return Ok(PausedWorkflow::Unchanged),
        _ => {}
    }
    db.conn
        .prepare_cached(
            "UPDATE workflow SET state = ?3, change = change + 1, updated_at = ?4
             WHERE seq = ?1 AND state = ?2",
        )?
        .execute(params![
            workflow.seq,
            workflow_state_number(from),
            workflow_state_number(to),
            now.as_millis()
        ])?;
    match paused {
        true => hold(db, workflow.seq, now)?,
        false => let_go(db, workflow.seq, now)?,
    }
    Ok(PausedWorkflow::Changed)
}

fn tasks_in(
    conn: &Connection,
    workflow: i64,
    state: TaskState,
) -> Result<Vec<(i64, u32)>, StorageError> {
    let tasks = conn
        .prepare_cached(
            "SELECT t.seq, n.remaining FROM node n JOIN task t ON t.seq = n.seq
             WHERE n.workflow = ?1 AND t.state = ?2",
        )?
        .query_map(params![workflow, crate::rows::state_number(state)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    Ok(tasks)
}

fn hold(db: &mut Db, workflow: i64, now: Timestamp) -> Result<(), StorageError> {
    let within = within_of(&db.conn, workflow)?;
    for (seq, _) in tasks_in(&db.conn, workflow, TaskState::Pending)? {
        db.conn
            .prepare_cached(
                "UPDATE task SET state = 0, updated_at = ?2, change = ?3 WHERE seq = ?1",
            )?
            .execute(params![seq, now.as_millis(), db.tallies.next_change()])?;
        let (from, to) = (TaskState::Pending, TaskState::Blocked);
        db.tallies.moved(&within.tenant, from, to, 1);
    }
    Ok(())
}

fn let_go(db: &mut Db, workflow: i64, now: Timestamp) -> Result<(), StorageError> {
    let within = within_of(&db.conn, workflow)?;
    let blocked = tasks_in(&db.conn, workflow, TaskState::Blocked)?;
    for (seq, remaining) in blocked {
        if remaining == 0 {
            let task = (within.tenant.as_str(), seq);
            release::release(&db.conn, &mut db.tallies, task, now)?;
        }
    }
    Ok(())
}

/// Cancels one task; and, if it is a node, the instances that it waits for.
pub(in crate::sqlite) fn cancel_task(
    db: &mut Db,
    whose: &Whose,
    id: TaskId,
    now: Timestamp,
) -> Result<Cancelled, StorageError> {
    let cancelled = change::cancel(db, whose, id, now)?;
    if cancelled == Cancelled::AtOnce {
        let node: Option<(i64, u32)> = db
            .conn
            .prepare_cached(
                "SELECT workflow, place FROM task WHERE id = ?1 AND workflow IS NOT NULL",
            )?
            .query_row([id.0.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((workflow, place)) = node {
            cancel_instances(db, workflow, place, now)?;
        }
    }
    Ok(cancelled)
}

/// Cancels the instances of a node that is cancelled itself.
fn cancel_instances(
    db: &mut Db,
    workflow: i64,
    place: u32,
    now: Timestamp,
) -> Result<(), StorageError> {
    let instances: Vec<[u8; 16]> = db
        .conn
        .prepare_cached(
            "SELECT t.id FROM node n JOIN task t ON t.seq = n.seq
             WHERE n.workflow = ?1 AND n.instance_of = ?2 AND t.state < 3 ORDER BY n.place DESC",
        )?
        .query_map(params![workflow, place], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in instances {
        let id = TaskId(uuid::Uuid::from_bytes(id));
        change::cancel(db, &Whose::All, id, now)?;
    }
    Ok(())
}
