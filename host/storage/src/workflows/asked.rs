//! What is asked of workflows, and the answers.

use cofferdam_domain::attempt::{Fence, Payload, WorkerId};
use cofferdam_domain::callback::Callback;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{NewTask, Priority, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::{OnFailure, RetryMode, WorkflowId, WorkflowState};

/// A workflow about to be stored.
#[derive(Clone, Debug)]
pub struct NewWorkflow {
    /// Its id.
    pub id: WorkflowId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name, which need not be its alone.
    pub name: Option<String>,
    /// How soon its nodes are claimed; each node's task says it for itself.
    pub priority: Priority,
    /// What a failed node does to the others.
    pub on_failure: OnFailure,
    /// Whether a failure that stops it also cancels what runs.
    pub cancel_running: bool,
    /// What it was made of, which storage does not look into.
    pub definition: String,
    /// Whom its ends are told.
    pub callback: Option<Callback>,
    /// What makes a repeated submission the same one.
    pub idempotency_key: Option<String>,
    /// A hash of the request, so that a repeated key with another body is told apart.
    pub fingerprint: [u8; 16],
}

/// A node about to be stored.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// Its name.
    pub name: String,
    /// Its task, without an idempotency or dedup key.
    pub task: NewTask,
    /// What whoever claims it is told; storage does not look into it.
    pub plan: Option<String>,
    /// The places of those nodes of the same call that it waits for, each once.
    pub parents: Vec<u32>,
}

/// The answer to storing a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsertedWorkflow {
    /// The workflow: the new one, or an earlier one that takes its place.
    pub id: WorkflowId,
    /// Whether it is new.
    pub is_new: bool,
}

/// A node that a worker holds.
#[derive(Clone, Debug)]
pub struct HeldNode {
    /// Its task.
    pub task_id: TaskId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its workflow.
    pub workflow: WorkflowId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The fence of the claim.
    pub fence: Fence,
}

impl HeldNode {
    /// The one that was claimed; `None` for a task that is no node.
    pub fn of(claim: &Claim) -> Option<HeldNode> {
        let node = claim.node.as_ref()?;
        Some(HeldNode {
            task_id: claim.task_id,
            tenant: claim.tenant.clone(),
            workflow: node.workflow,
            attempt: claim.attempt,
            fence: claim.fence,
        })
    }
}

/// What a node is parked for.
#[derive(Clone, Debug)]
pub enum Park {
    /// Nodes that are added to its workflow and have no parents. It is claimed again when all of them are
    /// final; at once if there are none.
    Instances {
        /// The instances, in order.
        nodes: Vec<NewNode>,
        /// How many of them may be under way at once; any number if absent.
        at_once: Option<u32>,
    },
    /// A signal of that name, no longer than until then.
    Signal {
        /// The signal's name.
        name: String,
        /// When it is claimed again without one.
        until: Option<Timestamp>,
    },
    /// The end of the pause of its workflow. It is pending again if that is over already.
    Paused,
}

/// The answer to parking a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parking {
    /// It is parked, and in this state: blocked, or pending.
    Parked(TaskState),
    /// Its worker was asked to end it, which it still has to do: nothing was stored.
    CancelRequested,
    /// With the instances its workflow would have more nodes than it may; nothing was stored.
    TooManyNodes,
    /// Another worker holds it, or it is final.
    Stale,
}

/// A signal about to be given.
#[derive(Clone, Debug)]
pub struct NewSignal {
    /// Its name.
    pub name: String,
    /// What makes a repeated call the same one.
    pub idempotency_key: Option<String>,
    /// A hash of the request, so that a repeated key with another body is told apart.
    pub fingerprint: [u8; 16],
    /// What comes with it.
    pub payload: Payload,
}

/// The answer to a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalled {
    /// The node with that task waited for it, and goes on.
    Given(TaskId),
    /// No node waits for it yet; it is kept.
    Kept,
    /// It was given before.
    Repeated,
    /// A different signal had that key.
    Conflict,
    /// The workflow is final.
    Final(WorkflowState),
    /// The workflow has had as many signals as it may.
    TooMany,
    /// There is no such workflow.
    Unknown,
}

/// The answer to cancelling a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelledWorkflow {
    /// Its nodes are cancelled.
    Cancelled {
        /// The tasks that are cancelled now.
        at_once: Vec<TaskId>,
        /// Those that run, with their workers.
        requested: Vec<(TaskId, WorkerId)>,
    },
    /// It was final.
    Final(WorkflowState),
    /// There is no such workflow.
    Unknown,
}

/// The answer to pausing or resuming a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PausedWorkflow {
    /// It is as was asked for, and was not before.
    Changed,
    /// It was so before.
    Unchanged,
    /// It was final.
    Final(WorkflowState),
    /// There is no such workflow.
    Unknown,
}

/// Which nodes are tried again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// How many of them.
    pub mode: RetryMode,
    /// The names of those to begin with; those that did not complete, or for all simply all, if empty.
    pub from: Vec<String>,
}

/// The answer to trying a workflow again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetriedWorkflow {
    /// It runs again.
    Running {
        /// The number of this run, from 1 for the first.
        run: u32,
    },
    /// There is no node that would be tried again.
    Nothing,
    /// It is not final.
    NotFinal(WorkflowState),
    /// It has no node of that name.
    UnknownNode(String),
    /// A node has had as many attempts as storage can number.
    Exhausted,
    /// There is no such workflow.
    Unknown,
}
