//! Trying a final workflow again.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::change::found;
use super::count;
use crate::fate::ATTEMPT_MAX;
use crate::rows::{INSTANCES, is_skipped, places_of, state_number, state_of};
use crate::sqlite::change::attempts_after;
use crate::sqlite::db::Db;
use crate::workflows::again::{Again, Ended, again};
use crate::{RetriedWorkflow, Retry, StorageError};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::WorkflowId;

const NODES: &str = "
    SELECT n.place, n.name, t.state, n.parents, n.instance_of, n.waits, t.seq, t.template, t.attempt,
        t.error_kind, n.at_once
    FROM node n JOIN task t ON t.seq = n.seq WHERE n.workflow = ?1";
const RESET: &str = "
    UPDATE task SET state = ?2, max_attempts = ?3, lost = 0, run_at = ?4, updated_at = ?4,
        finished_at = NULL, error_kind = NULL, change = ?5, progress = 0, progress_note = '' WHERE seq = ?1";
const RESET_NODE: &str = "
    UPDATE node SET remaining = ?3, parents_completed = 0, waits = iif(?4, waits, 0), waits_for = NULL,
        at_once = iif(?4, at_once, NULL), next_instance = iif(?4, first_instance, NULL),
        first_instance = iif(?4, first_instance, NULL), last_instance = iif(?4, last_instance, NULL)
    WHERE workflow = ?1 AND place = ?2";
/// The signals of nodes that are tried again are theirs no more.
const RESET_SIGNALS: &str =
    "UPDATE workflow_signal SET place = -1 WHERE workflow = ?1 AND place = ?2";
const RUN: &str = "
    UPDATE workflow SET state = 0, run = run + 1, stopping = 0, cancelling = 0, finished_at = NULL,
        nodes = nodes - ?2, open = ?3, completed = ?4, failed = ?5, cancelled = ?6, skipped = ?7,
        fails = ?8, cancels = ?9, updated_at = ?10, change = change + 1
    WHERE seq = ?1";

/// What else is known of a node.
struct Task {
    seq: i64,
    template: i64,
    attempt: u32,
}

type Nodes = (BTreeMap<u32, Ended>, BTreeMap<u32, Task>);

/// Makes nodes wait again.
pub(in crate::sqlite) fn retry(
    db: &mut Db,
    whose: &Whose,
    id: WorkflowId,
    retry: &Retry,
    now: Timestamp,
) -> Result<RetriedWorkflow, StorageError> {
    let Some(workflow) = found(&db.conn, whose, id)? else {
        return Ok(RetriedWorkflow::Unknown);
    };
    if !workflow.state.is_final() {
        return Ok(RetriedWorkflow::NotFinal(workflow.state));
    }
    let (ended, tasks) = nodes(&db.conn, workflow.seq)?;
    let again = match again(&ended, retry) {
        Err(name) => return Ok(RetriedWorkflow::UnknownNode(name)),
        Ok(again) if again.reset.is_empty() => return Ok(RetriedWorkflow::Nothing),
        Ok(again) => again,
    };
    let mut reset = again.reset.keys().filter_map(|place| tasks.get(place));
    if reset.any(|task| task.attempt >= ATTEMPT_MAX) {
        return Ok(RetriedWorkflow::Exhausted);
    }
    forget(&db.conn, workflow.seq, &again, &tasks)?;
    for (place, remaining) in &again.reset {
        let (Some(node), Some(task)) = (ended.get(place), tasks.get(place)) else {
            continue;
        };
        let keeps = again.waiting_for_instances.contains(place);
        let at = (workflow.seq, *place, *remaining, keeps);
        reset_node(db, &workflow.tenant, at, (node.state, task), now)?;
    }
    run_again(&db.conn, workflow.seq, &again, &ended, now)?;
    Ok(RetriedWorkflow::Running {
        run: workflow.run + 1,
    })
}

fn nodes(conn: &Connection, workflow: i64) -> Result<Nodes, StorageError> {
    let (mut nodes, mut tasks) = (BTreeMap::new(), BTreeMap::new());
    let mut statement = conn.prepare_cached(NODES)?;
    let mut rows = statement.query([workflow])?;
    while let Some(row) = rows.next()? {
        let (place, state) = (row.get(0)?, state_of(row.get(2)?)?);
        let kind: Option<String> = row.get(9)?;
        let kind = kind.as_deref().and_then(FailureKind::parse);
        let ended = Ended {
            name: row.get(1)?,
            state,
            parents: places_of(row.get_ref(3)?.as_blob().map_err(StorageError::corrupt)?)?,
            instance_of: row.get(4)?,
            has_instances: row.get::<_, u8>(5)? == INSTANCES,
            at_once: row.get(10)?,
            is_skipped: is_skipped(state, kind),
        };
        let task = Task {
            seq: row.get(6)?,
            template: row.get(7)?,
            attempt: row.get(8)?,
        };
        nodes.insert(place, ended);
        tasks.insert(place, task);
    }
    Ok((nodes, tasks))
}

/// Instances whose node makes new ones stay as tasks.
fn forget(
    conn: &Connection,
    workflow: i64,
    again: &Again,
    tasks: &BTreeMap<u32, Task>,
) -> Result<(), StorageError> {
    for place in &again.forgotten {
        if let Some(task) = tasks.get(place) {
            conn.prepare_cached("UPDATE task SET workflow = NULL, place = NULL WHERE seq = ?1")?
                .execute([task.seq])?;
            conn.prepare_cached("DELETE FROM node WHERE workflow = ?1 AND place = ?2")?
                .execute(params![workflow, place])?;
            conn.prepare_cached("DELETE FROM node_plan WHERE seq = ?1")?
                .execute([task.seq])?;
        }
    }
    Ok(())
}

fn reset_node(
    db: &mut Db,
    tenant: &str,
    (workflow, place, remaining, keeps): (i64, u32, u32, bool),
    (was, task): (TaskState, &Task),
    now: Timestamp,
) -> Result<(), StorageError> {
    let state = match remaining {
        0 => TaskState::Pending,
        _ => TaskState::Blocked,
    };
    let max_attempts = attempts_after(db, task.template, task.attempt)?;
    let change = db.tallies.next_change();
    db.conn.prepare_cached(RESET)?.execute(params![
        task.seq,
        state_number(state),
        max_attempts,
        now.as_millis(),
        change
    ])?;
    db.conn
        .prepare_cached(RESET_NODE)?
        .execute(params![workflow, place, remaining, keeps])?;
    db.conn
        .prepare_cached(RESET_SIGNALS)?
        .execute(params![workflow, place])?;
    db.tallies.moved(tenant, was, state, 1);
    Ok(())
}

/// Counts what is left.
fn run_again(
    conn: &Connection,
    workflow: i64,
    again: &Again,
    nodes: &BTreeMap<u32, Ended>,
    now: Timestamp,
) -> Result<(), StorageError> {
    let ends = again.kept(nodes);
    conn.prepare_cached(RUN)?.execute(params![
        workflow,
        count(again.forgotten.len())?,
        count(again.reset.len())?,
        ends.completed,
        ends.failed,
        ends.cancelled,
        ends.skipped,
        ends.fails,
        ends.cancels,
        now.as_millis()
    ])?;
    Ok(())
}
