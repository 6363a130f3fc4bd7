//! The nodes that tasks are, as a claim tells of them.

use std::collections::HashMap;

use bytes::Bytes;
use tokio_postgres::Row;

use super::fault::{Fault, get, get_u8, get_u32};
use super::params::{Params, params};
use super::tx::Tx;
use crate::StorageError;
use crate::rows::{waits_of, workflow_state_number};
use crate::workflows::Waits;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::workflow::{ClaimedNode, ParkedFor, WorkflowId, WorkflowState};

const NODES: &str = "
    SELECT n.seq, w.id, w.state, w.stopping, w.cancelling, n.name, n.place, cardinality(n.parents),
        n.instance_of, n.waits, n.waits_for, n.plan, g.content_type, g.payload, n.parents_completed
    FROM unnest($1::int8[]) AS u(seq) JOIN cofferdam.task t ON t.seq = u.seq
    JOIN cofferdam.node n ON n.workflow = t.workflow AND n.place = t.place
    JOIN cofferdam.workflow w ON w.seq = n.workflow
    LEFT JOIN cofferdam.workflow_signal g
        ON n.waits = 2 AND g.workflow = n.workflow AND g.place = n.place";

/// The id of a workflow.
pub(super) async fn id_of(tx: &mut Tx, workflow: i64) -> Result<WorkflowId, Fault> {
    let sql = "SELECT id FROM cofferdam.workflow WHERE seq = $1";
    let row = tx.query_opt(sql, params![workflow]).await?;
    let row = row.ok_or_else(|| StorageError::corrupt("a workflow is named that is not there"))?;
    Ok(WorkflowId(get(&row, 0)?))
}

/// What asks for the nodes that claimed tasks are.
pub(super) fn of_claimed(seqs: Vec<i64>) -> (&'static str, Params) {
    (NODES, params![seqs])
}

/// The nodes in the rows of that, by their tasks.
pub(super) fn claimed_nodes(rows: &[Row]) -> Result<HashMap<i64, ClaimedNode>, StorageError> {
    let node = |row| Ok((get(row, 0)?, claimed_node(row)?));
    rows.iter().map(node).collect()
}

fn claimed_node(row: &Row) -> Result<ClaimedNode, StorageError> {
    let paused = workflow_state_number(WorkflowState::Paused);
    let parked = match waits_of(get_u8(row, 9)?, get(row, 10)?)? {
        None => None,
        Some(Waits::Instances) => Some(ParkedFor::Instances),
        Some(Waits::Signal(_)) => Some(ParkedFor::Signal(signal(row)?)),
    };
    let instance_of: Option<i32> = get(row, 8)?;
    Ok(ClaimedNode {
        workflow: WorkflowId(get(row, 1)?),
        name: get(row, 5)?,
        place: get_u32(row, 6)?,
        parents: get_u32(row, 7)?,
        parents_completed: get(row, 14)?,
        plan: get(row, 11)?,
        instance_of: instance_of.map(i32::cast_unsigned),
        is_paused: get_u8(row, 2)? == paused,
        is_stopping: get(row, 3)?,
        is_cancelled: get(row, 4)?,
        parked,
    })
}

/// What came with the signal that was given to a node.
fn signal(row: &Row) -> Result<Option<Payload>, StorageError> {
    let content_type: Option<&str> = get(row, 12)?;
    let body: Option<&[u8]> = get(row, 13)?;
    Ok(content_type.zip(body).map(|(content_type, body)| Payload {
        content_type: content_type.into(),
        body: Bytes::copy_from_slice(body),
    }))
}
