//! Workflows and their nodes as every database keeps them.

use super::tenant_of;
use crate::workflows::{NodeCounts, Waits, Workflow};
use crate::{NewNode, StorageError};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::Priority;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::{OnFailure, WorkflowId, WorkflowState};

/// The number of a workflow's state.
pub(crate) const fn workflow_state_number(state: WorkflowState) -> u8 {
    match state {
        WorkflowState::Running => 0,
        WorkflowState::Paused => 1,
        WorkflowState::Completed => 2,
        WorkflowState::Failed => 3,
        WorkflowState::Cancelled => 4,
    }
}

/// The state of that number.
pub(crate) fn workflow_state_of(number: u8) -> Result<WorkflowState, StorageError> {
    WorkflowState::ALL
        .into_iter()
        .find(|state| workflow_state_number(*state) == number)
        .ok_or_else(|| StorageError::corrupt(format_args!("{number} is no state of a workflow")))
}

/// The number of a policy.
pub(crate) const fn on_failure_number(policy: OnFailure) -> u8 {
    match policy {
        OnFailure::Stop => 0,
        OnFailure::Continue => 1,
    }
}

/// What nodes wait for, as numbers.
pub(crate) const NOTHING: u8 = 0;
pub(crate) const INSTANCES: u8 = 1;
pub(crate) const SIGNAL: u8 = 2;

/// What a node waits for.
pub(crate) fn waits_of(number: u8, signal: Option<String>) -> Result<Option<Waits>, StorageError> {
    match (number, signal) {
        (NOTHING, _) => Ok(None),
        (INSTANCES, _) => Ok(Some(Waits::Instances)),
        (SIGNAL, Some(signal)) => Ok(Some(Waits::Signal(signal))),
        _ => Err(StorageError::corrupt(format_args!(
            "a node waits for {number}"
        ))),
    }
}

/// The columns of a workflow.
pub(crate) struct WorkflowRow {
    pub(crate) id: WorkflowId,
    pub(crate) tenant: String,
    pub(crate) name: Option<String>,
    pub(crate) state: u8,
    pub(crate) run: u32,
    pub(crate) priority: u8,
    pub(crate) on_failure: u8,
    pub(crate) cancel_running: bool,
    pub(crate) is_stopping: bool,
    pub(crate) is_cancelled: bool,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) finished_at: Option<i64>,
    pub(crate) counts: NodeCounts,
}

impl TryFrom<WorkflowRow> for Workflow {
    type Error = StorageError;

    fn try_from(row: WorkflowRow) -> Result<Workflow, StorageError> {
        let policy = OnFailure::ALL.into_iter();
        let mut policy = policy.filter(|policy| on_failure_number(*policy) == row.on_failure);
        Ok(Workflow {
            id: row.id,
            tenant: tenant_of(&row.tenant)?,
            name: row.name,
            state: workflow_state_of(row.state)?,
            run: row.run,
            priority: Priority::from_rank(row.priority)
                .ok_or_else(|| StorageError::corrupt("a workflow has no priority"))?,
            on_failure: policy
                .next()
                .ok_or_else(|| StorageError::corrupt("a workflow has no policy"))?,
            cancel_running: row.cancel_running,
            is_stopping: row.is_stopping,
            is_cancelled: row.is_cancelled,
            created_at: Timestamp::from_millis(row.created_at),
            updated_at: Timestamp::from_millis(row.updated_at),
            finished_at: row.finished_at.map(Timestamp::from_millis),
            counts: row.counts,
        })
    }
}

/// The final state of a workflow, from what is known of its nodes that count for that.
pub(crate) const fn final_state(is_cancelled: bool, fails: u32, cancels: u32) -> WorkflowState {
    match (fails, is_cancelled, cancels) {
        (1.., _, _) => WorkflowState::Failed,
        (0, true, _) | (0, false, 1..) => WorkflowState::Cancelled,
        (0, false, 0) => WorkflowState::Completed,
    }
}

/// By how much ends change the counts of a workflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) completed: u32,
    pub(crate) failed: u32,
    pub(crate) cancelled: u32,
    pub(crate) skipped: u32,
    pub(crate) fails: u32,
    pub(crate) cancels: u32,
}

impl Ends {
    /// One more node came into a final state.
    pub(crate) fn add(&mut self, state: TaskState, is_skipped: bool, is_instance: bool) {
        let counts = u32::from(!is_instance);
        match state {
            TaskState::Completed => self.completed += 1,
            TaskState::Failed => {
                self.failed += 1;
                self.fails += counts;
            }
            TaskState::Cancelled if is_skipped => self.skipped += 1,
            TaskState::Cancelled => {
                self.cancelled += 1;
                self.cancels += counts;
            }
            TaskState::Blocked | TaskState::Pending | TaskState::Running => {}
        }
    }

    /// How many nodes they are.
    pub(crate) fn all(self) -> u32 {
        self.completed + self.failed + self.cancelled + self.skipped
    }
}

/// Whether a task with that newest kind of failure was not to run.
pub(crate) fn is_skipped(state: TaskState, kind: Option<FailureKind>) -> bool {
    state == TaskState::Cancelled && kind == Some(FailureKind::Skipped)
}

/// The places of the nodes that wait for each of `nodes`.
pub(crate) fn kids(nodes: &[NewNode]) -> Result<Vec<Vec<u32>>, StorageError> {
    let mut kids = vec![Vec::new(); nodes.len()];
    for (place, node) in (0_u32..).zip(nodes) {
        for parent in &node.parents {
            let parent = usize::try_from(*parent).map_err(StorageError::corrupt)?;
            let of_parent = kids.get_mut(parent).ok_or_else(|| {
                StorageError::Refused(format!(
                    "node {place} waits for {parent}, which is not there"
                ))
            })?;
            of_parent.push(place);
        }
    }
    Ok(kids)
}

/// Bytes that are kept of a workflow besides its tasks.
pub(crate) fn workflow_bytes(definition: &str, nodes: &[NewNode]) -> Result<i64, StorageError> {
    let plans = nodes.iter().filter_map(|node| node.plan.as_ref());
    let bytes = plans.map(String::len).sum::<usize>() + definition.len();
    i64::try_from(bytes).map_err(StorageError::corrupt)
}

/// Places of nodes as one value, 4 bytes each.
pub(crate) fn places_bytes(places: &[u32]) -> Vec<u8> {
    places
        .iter()
        .flat_map(|place| place.to_le_bytes())
        .collect()
}

/// The places in such a value.
pub(crate) fn places_of(bytes: &[u8]) -> Result<Vec<u32>, StorageError> {
    let (places, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(StorageError::corrupt("a node has a part of a place"));
    }
    Ok(places
        .iter()
        .map(|place| u32::from_le_bytes(*place))
        .collect())
}
