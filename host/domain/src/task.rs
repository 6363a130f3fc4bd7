//! Tasks: what is submitted, and the state that storage keeps.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::attempt::{Failure, FailureKind, Payload, Usage, WorkerId};
use crate::callback::Callback;
use crate::caller::Tenant;
use crate::grants::Grants;
use crate::isolation::Isolation;
use crate::label::{self, Label};
use crate::limits::Limits;
use crate::module::{Digest, ModuleName};
use crate::placement::Placement;
use crate::retry::RetryPolicy;
use crate::state::TaskState;
use crate::time::Timestamp;

/// A task's id: a UUIDv7 that the host made, or any UUID that the caller supplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub Uuid);

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How soon a task is claimed; within one priority the configured strategy decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before everything else.
    Critical,
    /// Before normal tasks.
    High,
    /// The default.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// Every priority, soonest first.
    pub const ALL: [Priority; 4] = [
        Priority::Critical,
        Priority::High,
        Priority::Normal,
        Priority::Low,
    ];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Priority::Critical => "critical",
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        }
    }

    /// The priority with that name; `medium` is another word for `normal`.
    pub fn parse(word: &str) -> Option<Priority> {
        match word {
            "medium" => Some(Priority::Normal),
            _ => Priority::ALL
                .into_iter()
                .find(|priority| priority.as_str() == word),
        }
    }

    /// 0 for the soonest to 3.
    pub const fn rank(self) -> u8 {
        match self {
            Priority::Critical => 0,
            Priority::High => 1,
            Priority::Normal => 2,
            Priority::Low => 3,
        }
    }

    /// The priority with that rank.
    pub fn from_rank(rank: u8) -> Option<Priority> {
        Priority::ALL.get(usize::from(rank)).copied()
    }
}

/// The order in which tasks are claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClaimOrder {
    /// By priority, oldest `run_at` first.
    #[default]
    Priority,
    /// Oldest first, whatever the priority.
    Fifo,
    /// Newest first, whatever the priority.
    Lifo,
}

/// Where a task's input is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// With the task.
    Inline(Payload),
    /// In the spool, because it is too large for that. The guest sees it as `/in/payload`, and its
    /// inline body is empty.
    Spooled {
        /// Its media type.
        content_type: String,
        /// Its name in the spool.
        blob: BlobId,
        /// Its length.
        size_bytes: u64,
    },
}

impl Input {
    /// No bytes, of no particular type.
    pub fn empty() -> Input {
        Input::Inline(Payload {
            content_type: "application/octet-stream".into(),
            body: Bytes::new(),
        })
    }
}

/// A spooled body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobId(pub Uuid);

/// Everything about a task that never changes once it is submitted.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// The module's name at submission.
    pub module: ModuleName,
    /// The version of that name at submission, which every attempt runs.
    pub digest: Digest,
    /// Its input.
    pub input: Input,
    /// Arguments, for commands.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// When it is claimed relative to others.
    pub priority: Priority,
    /// The limits of each attempt.
    pub limits: Limits,
    /// The retry policy.
    pub retry: RetryPolicy,
    /// Its grants.
    pub grants: Grants,
    /// The isolation it asks for; the host that runs it decides if it asks for none.
    pub isolation: Option<Isolation>,
    /// How old a result of the cache may be that it takes, if it takes any.
    pub cache_ttl: Option<Duration>,
    /// Which workers it is for.
    pub placement: Placement,
    /// The submitter's JSON object, as text.
    pub metadata: String,
}

/// A task about to be stored.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Its id.
    pub id: TaskId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The earliest moment it may be claimed.
    pub run_at: Timestamp,
    /// The task itself.
    pub spec: TaskSpec,
    /// The idempotency key, which identifies a repeated submission.
    pub idempotency_key: Option<String>,
    /// A hash of the request, which shows whether a repeated key or id has a different body.
    pub fingerprint: [u8; 16],
    /// A deduplication key, which at most one task has within its window.
    pub dedup: Option<Dedup>,
    /// Whom its end is told.
    pub callback: Option<Callback>,
}

/// A deduplication key and how long it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedup {
    /// The submitter's key.
    pub key: String,
    /// How long an earlier task with this key replaces a new one.
    pub window: Duration,
}

/// A task as storage knows it.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The module's name at submission.
    pub module: ModuleName,
    /// The version it runs.
    pub digest: Digest,
    /// Its state.
    pub state: TaskState,
    /// When it is claimed relative to others.
    pub priority: Priority,
    /// Attempts begun so far.
    pub attempt: u32,
    /// Attempts it may have.
    pub max_attempts: u32,
    /// How often it lost its host.
    pub lost: u32,
    /// 0 to 1, as the guest last reported.
    pub progress: f64,
    /// The note that came with it.
    pub progress_note: String,
    /// Whether a cancel waits for the running attempt to end.
    pub cancel_requested: bool,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// The earliest moment it may be claimed.
    pub run_at: Timestamp,
    /// When its newest attempt began.
    pub started_at: Option<Timestamp>,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The isolation it asks for.
    pub isolation: Option<Isolation>,
    /// Which workers it is for.
    pub placement: Placement,
    /// The worker that runs it, or ran it last.
    pub worker: Option<WorkerId>,
    /// The newest attempt's usage.
    pub usage: Option<Usage>,
    /// The newest attempt's failure.
    pub failure: Option<Failure>,
    /// The length of the result.
    pub result_bytes: Option<u64>,
    /// Which streams of the newest attempt were truncated: stdout, stderr, log.
    pub truncated: [bool; 3],
    /// The submitter's JSON object, as text.
    pub metadata: String,
    /// Whether somebody is told its end.
    pub has_callback: bool,
}

impl Task {
    /// The finer word for where it stands: a pending task whose time has not come is `scheduled`
    /// before its first attempt and `retrying` after one.
    pub fn label(&self, now: Timestamp) -> Label {
        match self.state {
            TaskState::Blocked => Label::Blocked,
            TaskState::Pending if self.run_at > now && self.attempt == 0 => Label::Scheduled,
            TaskState::Pending if self.run_at > now => Label::Retrying,
            TaskState::Pending => Label::Pending,
            TaskState::Running if self.cancel_requested => Label::Cancelling,
            TaskState::Running => Label::Running,
            TaskState::Completed => Label::Completed,
            TaskState::Failed if self.is_dead() => Label::Dead,
            TaskState::Failed => Label::Failed,
            TaskState::Cancelled if self.is_skipped() => Label::Skipped,
            TaskState::Cancelled => Label::Cancelled,
        }
    }

    fn is_skipped(&self) -> bool {
        let kind = self.failure.as_ref().map(|failure| failure.kind);
        kind == Some(FailureKind::Skipped)
    }

    fn is_dead(&self) -> bool {
        let kind = self.failure.as_ref().map(|failure| failure.kind);
        label::is_dead(kind, self.attempt, self.max_attempts)
    }
}

#[cfg(test)]
mod tests;
