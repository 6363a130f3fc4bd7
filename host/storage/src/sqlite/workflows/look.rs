//! Queries: one workflow with its nodes, lists, and how what comes before a node ended.

use bytes::Bytes;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use crate::rows::{
    FailureRow, WorkflowRow, from_json, places_of, state_of, waits_of, workflow_state_number,
    workflow_state_of,
};
use crate::workflows::{Before, EndBefore, Node, NodeCounts, Workflow};
use crate::{ListPosition, StorageError, WorkflowFilter, WorkflowNodes, WorkflowPage};
use cofferdam_domain::attempt::{Failure, Payload};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState};

/// All columns of a workflow, its number, and how often it has changed.
macro_rules! select_workflows {
    ($rest:expr) => {
        concat!(
            "SELECT w.seq, w.id, w.tenant, w.name, w.state, w.run, w.priority, w.on_failure,
                w.cancel_running, w.stopping, w.cancelling, w.created_at, w.updated_at, w.finished_at,
                w.nodes, w.open, w.completed, w.failed, w.cancelled, w.skipped, w.change
             FROM workflow w ",
            $rest
        )
    };
}

const ONE: &str = select_workflows!("WHERE w.id = ?1 AND (?2 IS NULL OR w.tenant = ?2)");
const NODES: &str = "
    SELECT n.name, t.id, t.state, t.attempt, n.remaining, n.parents, n.instance_of, n.waits, n.waits_for,
        a.failure, t.progress, t.run_at, t.claimed_at, t.finished_at, t.change
    FROM node n JOIN task t ON t.seq = n.seq
    LEFT JOIN attempt a ON a.id = t.seq * 1048576 + t.attempt - (t.state = 2)
    WHERE n.workflow = ?1 ORDER BY n.place";
const STATE: &str =
    "SELECT w.state FROM workflow w WHERE w.id = ?1 AND (?2 IS NULL OR w.tenant = ?2)";
const DEFINITION: &str = "
    SELECT s.definition FROM workflow w JOIN workflow_spec s ON s.seq = w.seq
    WHERE w.id = ?1 AND (?2 IS NULL OR w.tenant = ?2)";
const ITSELF: &str = "
    SELECT n.workflow, n.place, n.parents, n.first_instance FROM task t
    JOIN node n ON n.workflow = t.workflow AND n.place = t.place WHERE t.id = ?1 AND t.tenant = ?2";
const INSTANCES: &str = "
    SELECT place FROM node WHERE workflow = ?1 AND place >= ?2 AND instance_of = ?3 ORDER BY place";
/// The output comes last, so that it is not read where only its length is wanted.
const END: &str = "
    SELECT n.name, t.id, t.state, t.attempt, a.failure, a.content_type,
        coalesce(o.size_bytes, octet_length(a.output)), o.blob IS NOT NULL, a.output
    FROM node n JOIN task t ON t.seq = n.seq
    LEFT JOIN attempt a ON a.id = t.seq * 1048576 + t.attempt AND t.state >= 3
    LEFT JOIN output o ON o.attempt = a.id
    WHERE n.workflow = ?1 AND n.place = ?2";

/// One workflow with its nodes.
pub(in crate::sqlite) fn workflow(
    conn: &Connection,
    whose: &Whose,
    id: WorkflowId,
) -> Result<Option<WorkflowNodes>, StorageError> {
    // One snapshot, so that the row and the nodes belong together.
    let conn = conn.unchecked_transaction()?;
    let mut statement = conn.prepare_cached(ONE)?;
    let mut rows = statement.query(params![id.0.as_bytes(), whose.name()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let (seq, workflow) = workflow_of(row)?;
    let mut change: i64 = row.get(20)?;
    let mut newest = 0;
    let mut nodes = Vec::new();
    let mut statement = conn.prepare_cached(NODES)?;
    let mut rows = statement.query([seq])?;
    while let Some(row) = rows.next()? {
        newest = i64::max(newest, row.get(14)?);
        nodes.push(node_of(row)?);
    }
    // Each of both only grows.
    change = change.saturating_add(newest);
    Ok(Some(WorkflowNodes {
        workflow,
        nodes,
        change,
    }))
}

fn workflow_of(row: &Row<'_>) -> Result<(i64, Workflow), StorageError> {
    let found = WorkflowRow {
        id: WorkflowId(uuid::Uuid::from_bytes(row.get(1)?)),
        tenant: row.get(2)?,
        name: row.get(3)?,
        state: row.get(4)?,
        run: row.get(5)?,
        priority: row.get(6)?,
        on_failure: row.get(7)?,
        cancel_running: row.get(8)?,
        is_stopping: row.get(9)?,
        is_cancelled: row.get(10)?,
        created_at: row.get(11)?,
        updated_at: row.get(12)?,
        finished_at: row.get(13)?,
        counts: NodeCounts {
            nodes: row.get(14)?,
            open: row.get(15)?,
            completed: row.get(16)?,
            failed: row.get(17)?,
            cancelled: row.get(18)?,
            skipped: row.get(19)?,
        },
    };
    Ok((row.get(0)?, found.try_into()?))
}

fn node_of(row: &Row<'_>) -> Result<Node, StorageError> {
    let instant = |place| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row
            .get::<_, Option<i64>>(place)?
            .map(Timestamp::from_millis))
    };
    Ok(Node {
        name: row.get(0)?,
        task_id: TaskId(uuid::Uuid::from_bytes(row.get(1)?)),
        state: state_of(row.get(2)?)?,
        attempt: row.get(3)?,
        remaining: row.get(4)?,
        parents: places_of(row.get_ref(5)?.as_blob().map_err(StorageError::corrupt)?)?,
        instance_of: row.get(6)?,
        waits: waits_of(row.get(7)?, row.get(8)?)?,
        failure: failure_of(row.get(9)?)?,
        progress: row.get(10)?,
        run_at: Timestamp::from_millis(row.get(11)?),
        started_at: instant(12)?,
        finished_at: instant(13)?,
    })
}

fn failure_of(text: Option<String>) -> Result<Option<Failure>, StorageError> {
    text.map(|text| from_json::<FailureRow>(&text)?.try_into())
        .transpose()
}

/// The state of a workflow.
pub(in crate::sqlite) fn state(
    conn: &Connection,
    whose: &Whose,
    id: WorkflowId,
) -> Result<Option<WorkflowState>, StorageError> {
    let number: Option<u8> = conn
        .prepare_cached(STATE)?
        .query_row(params![id.0.as_bytes(), whose.name()], |row| row.get(0))
        .optional()?;
    number.map(workflow_state_of).transpose()
}

/// What a workflow was made of.
pub(in crate::sqlite) fn definition(
    conn: &Connection,
    whose: &Whose,
    id: WorkflowId,
) -> Result<Option<String>, StorageError> {
    Ok(conn
        .prepare_cached(DEFINITION)?
        .query_row(params![id.0.as_bytes(), whose.name()], |row| row.get(0))
        .optional()?)
}

/// A tenant's workflows, newest first.
pub(in crate::sqlite) fn list(
    conn: &Connection,
    tenant: &Tenant,
    filter: &WorkflowFilter,
    limit: u32,
) -> Result<WorkflowPage, StorageError> {
    let below = filter.after.map_or(i64::MAX, |ListPosition(seq)| seq);
    let mut sql = select_workflows!("WHERE w.tenant = ? AND w.seq < ?").to_owned();
    let mut values: Vec<ToSqlOutput<'_>> = vec![tenant.as_str().into(), below.into()];
    if !filter.states.is_empty() {
        let states = filter.states.iter();
        let states: Vec<String> = states
            .map(|state| workflow_state_number(*state).to_string())
            .collect();
        sql.push_str(&format!(" AND w.state IN ({})", states.join(", ")));
    }
    if let Some(name) = &filter.name {
        sql.push_str(" AND w.name = ?");
        values.push(name.as_str().into());
    }
    sql.push_str(" ORDER BY w.seq DESC LIMIT ?");
    values.push((i64::from(limit) + 1).into());
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(workflow_of(row)?);
    }
    Ok(WorkflowPage::cut(found, limit))
}

/// How what comes before a node ended.
pub(in crate::sqlite) fn ends_before(
    conn: &Connection,
    tenant: &Tenant,
    node: TaskId,
    before: Before,
    inline_bytes_max: u64,
) -> Result<Vec<EndBefore>, StorageError> {
    let conn = conn.unchecked_transaction()?;
    let found: Option<(i64, u32, Vec<u8>, Option<u32>)> = conn
        .prepare_cached(ITSELF)?
        .query_row(params![node.0.as_bytes(), tenant.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((workflow, place, parents, first)) = found else {
        return Ok(Vec::new());
    };
    let mut places: Vec<u32> = match (before, first) {
        (Before::Parents, _) => places_of(&parents)?,
        (Before::Instances, None) => Vec::new(),
        (Before::Instances, Some(first)) => conn
            .prepare_cached(INSTANCES)?
            .query_map(params![workflow, first, place], |row| row.get(0))?
            .collect::<Result<_, _>>()?,
    };
    places.sort_unstable();
    let mut left = inline_bytes_max;
    let mut end = conn.prepare_cached(END)?;
    let mut ends = Vec::with_capacity(places.len());
    for place in places {
        let mut rows = end.query(params![workflow, place])?;
        let row = rows
            .next()?
            .ok_or_else(|| StorageError::corrupt("a node is not in its workflow"))?;
        ends.push(end_of(row, &mut left)?);
    }
    Ok(ends)
}

fn end_of(row: &Row<'_>, left: &mut u64) -> Result<EndBefore, StorageError> {
    let state: TaskState = state_of(row.get(2)?)?;
    let completed = state == TaskState::Completed;
    let bytes = row.get::<_, Option<i64>>(6)?.map(i64::cast_unsigned);
    let bytes = bytes.filter(|_| completed);
    let is_elsewhere: bool = row.get(7)?;
    let inline = bytes.filter(|bytes| !is_elsewhere && bytes <= left);
    let output = match inline {
        None => None,
        Some(bytes) => {
            *left -= bytes;
            let text = |error| StorageError::corrupt(error);
            Some(Payload {
                content_type: row.get_ref(5)?.as_str().map_err(text)?.into(),
                body: Bytes::copy_from_slice(row.get_ref(8)?.as_blob().map_err(text)?),
            })
        }
    };
    Ok(EndBefore {
        name: row.get(0)?,
        task_id: TaskId(uuid::Uuid::from_bytes(row.get(1)?)),
        state,
        attempt: row.get(3)?,
        failure: failure_of(row.get(4)?)?.filter(|_| !completed),
        output,
        output_bytes: bytes,
    })
}
