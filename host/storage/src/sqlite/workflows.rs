//! Workflows: storing one with its nodes. What follows is in the parts: nodes that wait for more than their parents
//! (`park`, `signals`), changes by hand (`change`, `again`), queries (`look`) and what must never be needed
//! (`repair`).
//!
//! There is one writer, so nothing happens to a workflow while something else does.

mod again;
mod change;
mod look;
mod park;
mod repair;
mod signals;

use rusqlite::{Connection, OptionalExtension, params};

use super::callbacks;
use super::db::Db;
use super::insert::{self, InWorkflow, Member};
use crate::rows::{
    final_state, kids, on_failure_number, places_bytes, workflow_bytes, workflow_state_number,
};
use crate::{Bounds, Inserted, InsertedWorkflow, NewNode, NewWorkflow, StorageError};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState};

pub(super) use self::again::retry;
pub(super) use self::change::{cancel, cancel_task, pause};
pub(super) use self::look::{definition, ends_before, list, state, workflow};
pub(super) use self::park::park;
pub(super) use self::repair::repair;
pub(super) use self::signals::signal;

const INSERT: &str = "
    INSERT INTO workflow (id, tenant, name, state, run, priority, on_failure, cancel_running,
        created_at, updated_at, finished_at, nodes, open, change, kept_bytes)
    VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8, ?8, ?9, ?10, ?10, 1, ?11)";
const INSERT_SPEC: &str = "
    INSERT INTO workflow_spec (seq, tenant, fingerprint, idempotency_key, definition)
    VALUES (?1, ?2, ?3, ?4, ?5)";
const INSERT_NODE: &str = "
    INSERT INTO node (workflow, place, seq, name, remaining, parents, kids, instance_of)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const EARLIER: &str = "
    SELECT w.id, s.fingerprint, w.tenant FROM workflow w JOIN workflow_spec s ON s.seq = w.seq
    WHERE w.id = ?1
    UNION ALL
    SELECT w.id, s.fingerprint, w.tenant FROM workflow_spec s JOIN workflow w ON w.seq = s.seq
    WHERE s.idempotency_key = ?2 AND s.tenant = ?3";

/// Stores a workflow and its nodes, all or none; or finds the earlier one.
pub(super) fn insert_workflow(
    db: &mut Db,
    workflow: &NewWorkflow,
    nodes: &[NewNode],
    bounds: Bounds,
    now: Timestamp,
) -> Result<InsertedWorkflow, StorageError> {
    if let Some(earlier) = earlier(&db.conn, workflow)? {
        return Ok(earlier);
    }
    insert::all_or_none(db, |db| {
        insert::within_bounds(db, Some(&workflow.tenant), bounds, |db| {
            store(db, workflow, nodes, now)?;
            Ok(((), !nodes.is_empty()))
        })
    })?;
    Ok(InsertedWorkflow {
        id: workflow.id,
        is_new: true,
    })
}

fn earlier(
    conn: &Connection,
    workflow: &NewWorkflow,
) -> Result<Option<InsertedWorkflow>, StorageError> {
    let tenant = workflow.tenant.as_str();
    let wanted = params![workflow.id.0.as_bytes(), workflow.idempotency_key, tenant];
    let found: Option<([u8; 16], [u8; 16], String)> = conn
        .prepare_cached(EARLIER)?
        .query_row(wanted, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((id, fingerprint, owner)) = found else {
        return Ok(None);
    };
    let id = WorkflowId(uuid::Uuid::from_bytes(id));
    match fingerprint == workflow.fingerprint && owner == tenant {
        true => Ok(Some(InsertedWorkflow { id, is_new: false })),
        false => Err(StorageError::WorkflowConflict(id)),
    }
}

/// Writes a workflow and its nodes.
fn store(
    db: &mut Db,
    workflow: &NewWorkflow,
    nodes: &[NewNode],
    now: Timestamp,
) -> Result<(), StorageError> {
    let state = match nodes.is_empty() {
        true => final_state(false, 0, 0),
        false => WorkflowState::Running,
    };
    let kept_bytes = workflow_bytes(&workflow.definition, nodes)?;
    let kids = kids(nodes)?;
    db.conn.prepare_cached(INSERT)?.execute(params![
        workflow.id.0.as_bytes(),
        workflow.tenant.as_str(),
        workflow.name,
        workflow_state_number(state),
        workflow.priority.rank(),
        on_failure_number(workflow.on_failure),
        workflow.cancel_running,
        now.as_millis(),
        state.is_final().then_some(now.as_millis()),
        count(nodes.len())?,
        kept_bytes,
    ])?;
    let seq = db.conn.last_insert_rowid();
    db.conn.prepare_cached(INSERT_SPEC)?.execute(params![
        seq,
        workflow.tenant.as_str(),
        workflow.fingerprint,
        workflow.idempotency_key,
        workflow.definition,
    ])?;
    db.tallies.kept(workflow.tenant.as_str(), kept_bytes);
    if let Some(callback) = &workflow.callback {
        callbacks::insert_of_workflow(&db.conn, seq, &workflow.tenant, callback)?;
    }
    for (place, (node, kids)) in (0_u32..).zip(nodes.iter().zip(&kids)) {
        let remaining = u32::try_from(node.parents.len()).map_err(StorageError::corrupt)?;
        let new = Stored {
            workflow: seq,
            place,
            remaining,
            kids,
            instance_of: None,
            is_paused: false,
        };
        store_node(db, node, &new, now)?;
    }
    Ok(())
}

/// Where a node is stored.
struct Stored<'k> {
    workflow: i64,
    place: u32,
    remaining: u32,
    kids: &'k [u32],
    instance_of: Option<u32>,
    is_paused: bool,
}

fn store_node(
    db: &mut Db,
    node: &NewNode,
    new: &Stored<'_>,
    now: Timestamp,
) -> Result<(), StorageError> {
    let at = InWorkflow {
        workflow: new.workflow,
        place: new.place,
        is_blocked: new.remaining > 0 || new.is_paused,
    };
    let member = Member {
        batch: None,
        node: Some(at),
    };
    if insert::insert(db, &node.task, member, now)? != Inserted::New {
        return Err(StorageError::Conflict(node.task.id));
    }
    let seq = db.conn.last_insert_rowid();
    db.conn.prepare_cached(INSERT_NODE)?.execute(params![
        new.workflow,
        new.place,
        seq,
        node.name,
        new.remaining,
        places_bytes(&node.parents),
        places_bytes(new.kids),
        new.instance_of,
    ])?;
    if let Some(plan) = &node.plan {
        db.conn
            .prepare_cached("INSERT INTO node_plan (seq, plan) VALUES (?1, ?2)")?
            .execute(params![seq, plan])?;
    }
    Ok(())
}

/// A number of nodes, as a column.
fn count(many: usize) -> Result<i64, StorageError> {
    i64::try_from(many).map_err(StorageError::corrupt)
}
