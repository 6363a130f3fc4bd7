//! Changes of a workflow by hand: cancel, pause and resume.

use tokio_postgres::Row;
use uuid::Uuid;

use crate::postgres::call::Call;
use crate::postgres::change::{self, ASK, CANCEL};
use crate::postgres::fault::{Fault, get, get_u8, get_u32};
use crate::postgres::params::params;
use crate::postgres::release::{self, EndedNodes};
use crate::postgres::settle::node_at;
use crate::postgres::tx::{Mode, Tx};
use crate::rows::{state_of, workflow_state_number, workflow_state_of};
use crate::{CancelledWorkflow, PausedWorkflow, StorageError};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState};

const FIND: &str = "
    SELECT seq, state, tenant, signals, run FROM cofferdam.workflow
    WHERE id = $1 AND ($2::text IS NULL OR tenant = $2)";
const OPEN: &str = "
    SELECT s.id, t.seq, t.state, t.worker, t.cancel_requested, t.tenant, n.workflow, n.place
    FROM cofferdam.node n JOIN cofferdam.task t ON t.seq = n.seq
    JOIN cofferdam.task_spec s ON s.seq = n.seq
    WHERE n.workflow = $1 AND t.state < 3 ORDER BY t.seq FOR UPDATE OF t";
const CANCELLING: &str = "
    UPDATE cofferdam.workflow SET cancelling = true, change = change + 1, updated_at = $2
    WHERE seq = $1";
const PAUSE: &str = "
    UPDATE cofferdam.workflow SET state = $2, change = change + 1, updated_at = $4
    WHERE seq = $1 AND state = $3";
/// Tasks that are pending are blocked, or those are pending that are blocked and wait for no other.
macro_rules! move_sql {
    ($from:literal, $to:literal, $at:literal, $which:literal) => {
        concat!(
            "UPDATE cofferdam.task t SET state = ",
            $to,
            $at,
            ", updated_at = $2, change = (SELECT cofferdam.change_number(0)) + q.place
             FROM (SELECT o.seq, row_number() OVER () AS place FROM (
                    SELECT x.seq FROM cofferdam.node n JOIN cofferdam.task x ON x.seq = n.seq
                    WHERE n.workflow = $1 AND x.state = ",
            $from,
            $which,
            " ORDER BY x.seq FOR UPDATE OF x) AS o) AS q
             WHERE t.seq = q.seq RETURNING t.tenant"
        )
    };
}
const HOLD: &str = move_sql!("1", "0", "", "");
const LET_GO: &str = move_sql!(
    "0",
    "1",
    ", run_at = greatest(t.run_at, $2)",
    " AND n.remaining = 0"
);
/// The instances that nodes wait for.
const INSTANCES: &str = "
    SELECT c.id FROM unnest($1::uuid[]) AS u(id) JOIN cofferdam.task_spec s ON s.id = u.id
    JOIN cofferdam.task t ON t.seq = s.seq
    JOIN cofferdam.node n ON n.workflow = t.workflow AND n.place = t.place
    JOIN cofferdam.node m ON m.workflow = n.workflow AND m.place >= n.first_instance
        AND m.instance_of = n.place
    JOIN cofferdam.task_spec c ON c.seq = m.seq
    WHERE n.waits = 1";

/// A workflow that was found.
pub(super) struct Found {
    pub(super) seq: i64,
    pub(super) state: WorkflowState,
    pub(super) tenant: String,
    pub(super) signals: u32,
    pub(super) run: u32,
}

/// The workflow of that id, which is locked.
pub(super) async fn locked(tx: &mut Tx, id: WorkflowId) -> Result<Option<Found>, Fault> {
    let find = (FIND, params![id.0, tx.tenant()]);
    let (_, rows) = tx.query_both(release::lock([id.0]), find).await?;
    Ok(rows.first().map(found_of).transpose()?)
}

fn found_of(row: &Row) -> Result<Found, StorageError> {
    Ok(Found {
        seq: get(row, 0)?,
        state: workflow_state_of(get_u8(row, 1)?)?,
        tenant: get(row, 2)?,
        signals: get_u32(row, 3)?,
        run: get_u32(row, 4)?,
    })
}

/// Cancels every node that is not final.
pub(in crate::postgres) async fn cancel(
    call: &Call,
    id: WorkflowId,
    now: Timestamp,
) -> Result<CancelledWorkflow, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let Some(workflow) = locked(&mut tx, id).await? else {
        tx.rollback().await?;
        return Ok(CancelledWorkflow::Unknown);
    };
    if workflow.state.is_final() {
        tx.rollback().await?;
        return Ok(CancelledWorkflow::Final(workflow.state));
    }
    let at = now.as_millis();
    tx.query(CANCELLING, params![workflow.seq, at]).await?;
    let (mut at_once, mut requested) = (Vec::new(), Vec::new());
    let (mut ended, mut asked) = (Vec::new(), Vec::new());
    let mut nodes = EndedNodes::default();
    for row in tx.query(OPEN, params![workflow.seq]).await? {
        let (id, seq, state): (Uuid, i64, _) =
            (get(&row, 0)?, get(&row, 1)?, state_of(get_u8(&row, 2)?)?);
        if state == TaskState::Running {
            let worker: Option<Uuid> = get(&row, 3)?;
            let worker =
                worker.ok_or_else(|| StorageError::corrupt("nobody runs a running task"))?;
            if !get::<bool>(&row, 4)? {
                asked.push(seq);
            }
            requested.push((TaskId(id), WorkerId(worker)));
        } else {
            tx.moved(get(&row, 5)?, state, TaskState::Cancelled);
            if let Some(node) = node_at(&row, 6)? {
                nodes.push_cancelled(node, state, now);
            }
            ended.push(seq);
            at_once.push(TaskId(id));
        }
    }
    let first_asked = i64::try_from(ended.len()).map_err(StorageError::corrupt)?;
    if !ended.is_empty() {
        // Those that are cancelled are not released first.
        tx.query(CANCEL, params![ended, at]).await?;
        nodes.release(&mut tx, None).await?;
    }
    if !asked.is_empty() {
        tx.later(ASK, params![asked, at, first_asked]);
    }
    tx.commit().await?;
    Ok(CancelledWorkflow::Cancelled { at_once, requested })
}

/// Keeps nodes from being claimed, or lets them go on.
pub(in crate::postgres) async fn pause(
    call: &Call,
    id: WorkflowId,
    paused: bool,
    now: Timestamp,
) -> Result<PausedWorkflow, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let (from, to, sql) = match paused {
        true => (WorkflowState::Running, WorkflowState::Paused, HOLD),
        false => (WorkflowState::Paused, WorkflowState::Running, LET_GO),
    };
    let answer = match locked(&mut tx, id).await? {
        None => PausedWorkflow::Unknown,
        Some(workflow) if workflow.state.is_final() => PausedWorkflow::Final(workflow.state),
        Some(workflow) if workflow.state == to => PausedWorkflow::Unchanged,
        Some(workflow) => {
            let number = |state| i16::from(workflow_state_number(state));
            let at = now.as_millis();
            let moved = params![workflow.seq, number(to), number(from), at];
            tx.query(PAUSE, moved).await?;
            let (from, to) = match paused {
                true => (TaskState::Pending, TaskState::Blocked),
                false => (TaskState::Blocked, TaskState::Pending),
            };
            for row in tx.query(sql, params![workflow.seq, at]).await? {
                tx.moved(get(&row, 0)?, from, to);
            }
            PausedWorkflow::Changed
        }
    };
    match answer {
        PausedWorkflow::Changed => tx.commit().await?,
        PausedWorkflow::Unchanged | PausedWorkflow::Final(_) | PausedWorkflow::Unknown => {
            tx.rollback().await?;
        }
    }
    Ok(answer)
}

/// Cancels the instances of nodes that were cancelled themselves.
pub(in crate::postgres) async fn cancel_instances(
    call: &Call,
    tasks: Vec<Uuid>,
    now: Timestamp,
) -> Result<(), Fault> {
    let mut tx = call.begin(Mode::Read).await?;
    let rows = tx.query(INSTANCES, params![tasks]).await?;
    tx.commit().await?;
    let instances: Result<Vec<TaskId>, StorageError> =
        rows.iter().map(|row| Ok(TaskId(get(row, 0)?))).collect();
    let instances = instances?;
    if !instances.is_empty() {
        change::cancel_all(call, &instances, now).await?;
    }
    Ok(())
}
