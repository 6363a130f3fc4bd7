//! The node that a task is, as a claim tells of it.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use crate::StorageError;
use crate::fate::NodeAt;
use crate::rows::{waits_of, workflow_state_number};
use crate::workflows::Waits;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::workflow::{ClaimedNode, ParkedFor, WorkflowId, WorkflowState};

const NODE: &str = "
    SELECT w.id, w.state, w.stopping, w.cancelling, n.name, octet_length(n.parents) / 4, n.instance_of,
        n.waits, n.waits_for, p.plan, n.parents_completed
    FROM node n JOIN workflow w ON w.seq = n.workflow LEFT JOIN node_plan p ON p.seq = n.seq
    WHERE n.workflow = ?1 AND n.place = ?2";
const SIGNAL: &str = "
    SELECT content_type, payload FROM workflow_signal WHERE workflow = ?1 AND place = ?2";

/// The node that the claimed task is.
pub(super) fn claimed_node(conn: &Connection, at: NodeAt) -> Result<ClaimedNode, StorageError> {
    let mut statement = conn.prepare_cached(NODE)?;
    let mut rows = statement.query(params![at.workflow, at.place])?;
    let row = rows
        .next()?
        .ok_or_else(|| StorageError::corrupt("a node is not in its workflow"))?;
    let paused = workflow_state_number(WorkflowState::Paused);
    let parked = match waits_of(row.get(7)?, row.get(8)?)? {
        None => None,
        Some(Waits::Instances) => Some(ParkedFor::Instances),
        Some(Waits::Signal(_)) => Some(ParkedFor::Signal(signal(conn, at)?)),
    };
    Ok(ClaimedNode {
        workflow: WorkflowId(uuid::Uuid::from_bytes(row.get(0)?)),
        name: row.get(4)?,
        place: at.place,
        parents: row.get(5)?,
        parents_completed: row.get(10)?,
        plan: row.get(9)?,
        instance_of: row.get(6)?,
        is_paused: row.get::<_, u8>(1)? == paused,
        is_stopping: row.get(2)?,
        is_cancelled: row.get(3)?,
        parked,
    })
}

/// What came with the signal that was given to a node.
fn signal(conn: &Connection, at: NodeAt) -> Result<Option<Payload>, StorageError> {
    Ok(conn
        .prepare_cached(SIGNAL)?
        .query_row(params![at.workflow, at.place], |row| {
            Ok(Payload {
                content_type: row.get_ref(0)?.as_str()?.into(),
                body: Bytes::copy_from_slice(row.get_ref(1)?.as_blob()?),
            })
        })
        .optional()?)
}

/// The id of a workflow.
pub(super) fn id_of(conn: &Connection, workflow: i64) -> Result<WorkflowId, StorageError> {
    let id: [u8; 16] = conn
        .prepare_cached("SELECT id FROM workflow WHERE seq = ?1")?
        .query_row([workflow], |row| row.get(0))?;
    Ok(WorkflowId(uuid::Uuid::from_bytes(id)))
}
