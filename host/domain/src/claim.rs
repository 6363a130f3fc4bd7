//! A claimed task: what a claim gives a worker, and what the worker records at the end.
//!
//! It joins a task and an attempt, which do not know each other: `attempt` has an attempt's
//! outcome, figures and output, `task` has what was submitted.

use std::sync::Arc;

use crate::attempt::{Artifact, Fence, LeftOut, Outcome, Streams, Usage};
use crate::caller::Tenant;
use crate::task::{TaskId, TaskSpec};
use crate::time::Timestamp;
use crate::workflow::{ClaimedNode, WorkflowId};

/// A task that a worker has claimed.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The task.
    pub task_id: TaskId,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// The fence that the finishing call must present.
    pub fence: Fence,
    /// How many attempts the task may have in all: those of its policy, one more for each loss, and
    /// those that a retry by hand added.
    pub max_attempts: u32,
    /// How often the task has lost its host before.
    pub lost: u32,
    /// When the task was submitted.
    pub created_at: Timestamp,
    /// The earliest time that it could have been claimed.
    pub run_at: Timestamp,
    /// When this claim was made.
    pub claimed_at: Timestamp,
    /// Whether the task has a place among those that may be under way in its batch, its module or of its
    /// tenant: when it is final, another one can be claimed.
    pub holds_place: bool,
    /// Whether it goes before what its host holds of higher priorities of its tenant: it was claimed because
    /// it had waited for long.
    pub ahead: bool,
    /// Whose it is.
    pub tenant: Tenant,
    /// The task itself.
    pub spec: Arc<TaskSpec>,
    /// What it is in its workflow, if it is a node of one.
    pub node: Option<Box<ClaimedNode>>,
}

/// The record of a finished attempt, as storage takes it.
#[derive(Clone, Debug)]
pub struct AttemptEnd {
    /// The task.
    pub task_id: TaskId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The attempt's number.
    pub attempt: u32,
    /// The fence of the claim.
    pub fence: Fence,
    /// The workflow that it is a node of.
    pub workflow: Option<WorkflowId>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What it wrote.
    pub streams: Streams,
    /// The files it left.
    pub artifacts: Vec<Artifact>,
    /// The entries it left that are not artifacts.
    pub left_out: LeftOut,
    /// The task's next state.
    pub next: Next,
}

/// The next state of a task after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It completed.
    Complete,
    /// It failed for good.
    Fail,
    /// It was cancelled.
    Cancel,
    /// It is tried again at this instant.
    RetryAt(Timestamp),
    /// The attempt did not begin: the task is pending again as if it had not been claimed, and no
    /// attempt is recorded.
    GiveBack,
    /// The same, but the task is not claimed before this instant, because the host cannot run it
    /// yet.
    Postpone(Timestamp),
}
