//! A task in the hands of a worker: what a claim gives it, and what it records at the end.
//!
//! It joins a task and an attempt, which do not know each other: what an attempt is (its outcome,
//! figures and output) is in `attempt`, what was submitted is in `task`.

use std::sync::Arc;

use crate::attempt::{Artifact, Fence, LeftOut, Outcome, Streams, Usage};
use crate::task::{TaskId, TaskSpec};
use crate::time::Timestamp;

/// A task in the hands of a worker.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The task.
    pub task_id: TaskId,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// What the finishing call must present.
    pub fence: Fence,
    /// How many attempts the task may have in all: those of its policy, and one more for each
    /// loss and for what a retry by hand gave it.
    pub max_attempts: u32,
    /// How often the task has lost its host before.
    pub lost: u32,
    /// When the task was submitted.
    pub created_at: Timestamp,
    /// From when on it could have been claimed.
    pub run_at: Timestamp,
    /// When this claim was made.
    pub claimed_at: Timestamp,
    /// The task itself.
    pub spec: Arc<TaskSpec>,
}

/// The record of a finished attempt, as storage takes it.
#[derive(Clone, Debug)]
pub struct AttemptEnd {
    /// The task.
    pub task_id: TaskId,
    /// The attempt's number.
    pub attempt: u32,
    /// The fence of the claim.
    pub fence: Fence,
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
    /// What it left beside them.
    pub left_out: LeftOut,
    /// What becomes of the task.
    pub next: Next,
}

/// What becomes of a task after an attempt.
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
    /// The attempt never began: the task is pending again as if it had not been claimed, and no
    /// attempt is recorded.
    GiveBack,
    /// The same, but the task is not claimed before this instant: the host cannot do it yet.
    Postpone(Timestamp),
}
