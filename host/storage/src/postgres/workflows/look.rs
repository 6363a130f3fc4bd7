//! Queries: one workflow with its nodes, and lists.

use tokio_postgres::Row;

use crate::postgres::fault::{Fault, get, get_u8, get_u32};
use crate::postgres::params::params;
use crate::postgres::tx::Tx;
use crate::rows::{
    FailureRow, WorkflowRow, from_json, state_of, waits_of, workflow_state_number,
    workflow_state_of,
};
use crate::workflows::{Node, NodeCounts, Workflow};
use crate::{ListPosition, StorageError, WorkflowFilter, WorkflowNodes, WorkflowPage};
use cofferdam_domain::attempt::Failure;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState};

/// All columns of a workflow, its number, and how often it has changed.
macro_rules! select_workflows {
    ($rest:literal) => {
        concat!(
            "SELECT w.seq, w.id, w.tenant, w.name, w.state, w.run, w.priority, w.on_failure,
                w.cancel_running, w.stopping, w.cancelling, w.created_at, w.updated_at, w.finished_at,
                w.nodes, w.open, w.completed, w.failed, w.cancelled, w.skipped, w.change
             FROM cofferdam.workflow w ",
            $rest
        )
    };
}

const ONE: &str = select_workflows!("WHERE w.id = $1 AND ($2::text IS NULL OR w.tenant = $2)");
const LIST: &str = select_workflows!(
    "WHERE w.tenant = $1 AND w.seq < $2
        AND ($3::int2[] IS NULL OR w.state = ANY($3)) AND ($4::text IS NULL OR w.name = $4)
     ORDER BY w.seq DESC LIMIT $5"
);
const NODES: &str = "
    SELECT n.name, s.id, t.state, t.attempt, n.remaining, n.parents, n.instance_of, n.waits, n.waits_for,
        a.failure, t.progress, t.run_at, t.claimed_at, t.finished_at, t.change
    FROM cofferdam.node n JOIN cofferdam.task t ON t.seq = n.seq
    JOIN cofferdam.task_spec s ON s.seq = n.seq
    LEFT JOIN cofferdam.attempt a
        ON a.seq = t.seq AND a.number = t.attempt - (t.state = 2)::int4 AND a.failure IS NOT NULL
    WHERE n.workflow = $1 ORDER BY n.place";
const STATE: &str = "
    SELECT w.state FROM cofferdam.workflow w WHERE w.id = $1 AND ($2::text IS NULL OR w.tenant = $2)";
const DEFINITION: &str = "
    SELECT s.definition FROM cofferdam.workflow w JOIN cofferdam.workflow_spec s ON s.seq = w.seq
    WHERE w.id = $1 AND ($2::text IS NULL OR w.tenant = $2)";

/// One workflow with its nodes.
pub(in crate::postgres) async fn workflow(
    tx: &mut Tx,
    id: WorkflowId,
) -> Result<Option<WorkflowNodes>, Fault> {
    let Some(row) = tx.query_opt(ONE, params![id.0, tx.tenant()]).await? else {
        return Ok(None);
    };
    let (seq, workflow) = workflow_of(&row)?;
    let change: i64 = get(&row, 20)?;
    let mut newest = 0;
    let mut nodes = Vec::new();
    for row in tx.query(NODES, params![seq]).await? {
        newest = i64::max(newest, get(&row, 14)?);
        nodes.push(node_of(&row)?);
    }
    Ok(Some(WorkflowNodes {
        workflow,
        nodes,
        // Each of both only grows.
        change: change.saturating_add(newest),
    }))
}

fn workflow_of(row: &Row) -> Result<(i64, Workflow), StorageError> {
    let found = WorkflowRow {
        id: WorkflowId(get(row, 1)?),
        tenant: get(row, 2)?,
        name: get(row, 3)?,
        state: get_u8(row, 4)?,
        run: get_u32(row, 5)?,
        priority: get_u8(row, 6)?,
        on_failure: get_u8(row, 7)?,
        cancel_running: get(row, 8)?,
        is_stopping: get(row, 9)?,
        is_cancelled: get(row, 10)?,
        created_at: get(row, 11)?,
        updated_at: get(row, 12)?,
        finished_at: get(row, 13)?,
        counts: NodeCounts {
            nodes: get_u32(row, 14)?,
            open: get_u32(row, 15)?,
            completed: get_u32(row, 16)?,
            failed: get_u32(row, 17)?,
            cancelled: get_u32(row, 18)?,
            skipped: get_u32(row, 19)?,
        },
    };
    Ok((get(row, 0)?, found.try_into()?))
}

fn node_of(row: &Row) -> Result<Node, StorageError> {
    let instant = |place| -> Result<Option<Timestamp>, StorageError> {
        let millis: Option<i64> = get(row, place)?;
        Ok(millis.map(Timestamp::from_millis))
    };
    let instance_of: Option<i32> = get(row, 6)?;
    Ok(Node {
        name: get(row, 0)?,
        task_id: TaskId(get(row, 1)?),
        state: state_of(get_u8(row, 2)?)?,
        attempt: get_u32(row, 3)?,
        remaining: get_u32(row, 4)?,
        parents: places_in(row, 5)?,
        instance_of: instance_of.map(i32::cast_unsigned),
        waits: waits_of(get_u8(row, 7)?, get(row, 8)?)?,
        failure: failure_of(get(row, 9)?)?,
        progress: get(row, 10)?,
        run_at: Timestamp::from_millis(get(row, 11)?),
        started_at: instant(12)?,
        finished_at: instant(13)?,
    })
}

/// The places in a column.
pub(super) fn places_in(row: &Row, place: usize) -> Result<Vec<u32>, StorageError> {
    let places: Vec<i32> = get(row, place)?;
    Ok(places.into_iter().map(i32::cast_unsigned).collect())
}

/// The failure in a row's text.
pub(super) fn failure_of(text: Option<&str>) -> Result<Option<Failure>, StorageError> {
    text.map(|text| from_json::<FailureRow>(text)?.try_into())
        .transpose()
}

/// The state of a workflow.
pub(in crate::postgres) async fn state(
    tx: &mut Tx,
    id: WorkflowId,
) -> Result<Option<WorkflowState>, Fault> {
    let row = tx.query_opt(STATE, params![id.0, tx.tenant()]).await?;
    let state = row.map(|row| workflow_state_of(get_u8(&row, 0)?));
    Ok(state.transpose()?)
}

/// What a workflow was made of.
pub(in crate::postgres) async fn definition(
    tx: &mut Tx,
    id: WorkflowId,
) -> Result<Option<String>, Fault> {
    let row = tx.query_opt(DEFINITION, params![id.0, tx.tenant()]).await?;
    Ok(row.map(|row| get(&row, 0)).transpose()?)
}

/// A tenant's workflows, newest first.
pub(in crate::postgres) async fn list(
    tx: &mut Tx,
    tenant: &Tenant,
    filter: &WorkflowFilter,
    limit: u32,
) -> Result<WorkflowPage, Fault> {
    let below = filter.after.map_or(i64::MAX, |ListPosition(seq)| seq);
    let states = filter.states.iter();
    let states: Vec<i16> = states
        .map(|state| workflow_state_number(*state).into())
        .collect();
    let states = (!states.is_empty()).then_some(states);
    let more = i64::from(limit) + 1;
    let wanted = params![tenant.to_string(), below, states, filter.name.clone(), more];
    let rows = tx.query(LIST, wanted).await?;
    let found: Result<Vec<_>, StorageError> = rows.iter().map(workflow_of).collect();
    Ok(WorkflowPage::cut(found?, limit))
}
