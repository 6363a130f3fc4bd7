//! The queue: the one door for changes to tasks, and the services that work it off.

pub mod events;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::grants::Grants;
use crate::domain::limits::LimitRequest;
use crate::domain::module::ModuleRef;
use crate::domain::retry::RetryPolicy;
use crate::domain::task::{Input, Priority, Task, TaskId};
use crate::domain::time::Timestamp;
use crate::queue::events::Subscription;
use crate::runner::RunError;
use crate::storage::{Cancelled, Retried, StorageError};

/// Submit, cancel, retry, wait, watch.
pub struct Queue {}

/// A task as a caller submits it, parsed but not yet checked against what this host allows.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The caller's own id, if any.
    pub task_id: Option<TaskId>,
    /// What to run.
    pub module: ModuleRef,
    /// What it works on.
    pub input: Input,
    /// Arguments, for commands.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// When it is claimed relative to others.
    pub priority: Priority,
    /// How long it must wait first.
    pub delay: Duration,
    /// The earliest moment it may run; the later of this and `delay` counts.
    pub run_at: Option<Timestamp>,
    /// What it asks to use.
    pub limits: LimitRequest,
    /// What follows a failed attempt.
    pub retry: RetryPolicy,
    /// What it asks to touch.
    pub grants: Grants,
    /// What makes a repeated submission the same one.
    pub idempotency_key: Option<String>,
    /// A key that is taken at most once inside the configured window.
    pub dedup_key: Option<String>,
    /// A JSON object of the submitter's, as text.
    pub metadata: String,
    /// A hash of the request as it came.
    pub fingerprint: [u8; 16],
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// A new task.
    New(TaskId),
    /// An earlier task that stands for it.
    Existing(TaskId),
}

/// Why a change to a task was refused.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The module, a limit or a grant.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The input does not fit the module's schema.
    #[error("the input does not fit the module's schema: {0}")]
    Schema(String),
    /// The id or idempotency key belongs to an earlier, different request.
    #[error("an earlier, different request has this id or idempotency key: task {0}")]
    Conflict(TaskId),
    /// The host is draining.
    #[error("this host is shutting down")]
    Draining,
    /// Storage failed, or the queue is full.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Figures of this host's part of the queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueStats {
    /// Attempts running here.
    pub active: u64,
    /// Attempts that may run here at once.
    pub slots: u64,
    /// Attempts finished here since the start.
    pub completed: u64,
    /// Attempts failed here since the start.
    pub failed: u64,
    /// The mean duration of the attempts finished here.
    pub mean_duration: Duration,
}

impl Queue {
    /// Checks and stores tasks, all or none, and wakes the dispatcher.
    pub async fn submit(&self, _tasks: Vec<Submission>) -> Result<Vec<Submitted>, QueueError> {
        todo!()
    }

    /// Asks for a task's end.
    pub async fn cancel(&self, _id: TaskId) -> Result<Cancelled, QueueError> {
        todo!()
    }

    /// Makes a failed or cancelled task pending again.
    pub async fn retry(&self, _id: TaskId) -> Result<Retried, QueueError> {
        todo!()
    }

    /// The task once it is final, or as it stands after `patience`; `None` if there is none.
    pub async fn wait(&self, _id: TaskId, _patience: Duration) -> Result<Option<Task>, QueueError> {
        todo!()
    }

    /// What happens to a task from now on.
    pub fn subscribe(&self, _id: TaskId) -> Subscription {
        todo!()
    }

    /// What happens to a task after event number `last`.
    pub fn subscribe_after(&self, _id: TaskId, _last: u64) -> Subscription {
        todo!()
    }

    /// Figures of this host's part.
    pub fn stats(&self) -> QueueStats {
        todo!()
    }

    /// How long a task submitted now is likely to take until it is final, as far as the last
    /// attempts tell.
    pub fn estimated_wait(&self) -> Duration {
        todo!()
    }
}

/// The shared form.
pub type SharedQueue = Arc<Queue>;
