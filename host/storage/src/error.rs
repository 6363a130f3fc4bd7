//! Why a call to storage gave nothing.

use cofferdam_domain::module::Digest;
use cofferdam_domain::task::TaskId;

/// Why a call to storage gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// An id or idempotency key belongs to a different request already.
    #[error("an earlier, different request has this id or idempotency key: task {0}")]
    Conflict(TaskId),
    /// As many tasks wait as are allowed to.
    #[error("{pending} tasks wait already; the limit is {limit}")]
    QueueFull {
        /// Tasks waiting.
        pending: u64,
        /// The most that may.
        limit: u64,
    },
    /// The version that a task was to run was removed since its name was looked up.
    #[error("the module {0} is no longer kept")]
    ModuleGone(Digest),
    /// What was to be written is larger than a row may be; no room makes up for that.
    #[error("too large to be stored: {0}")]
    TooLarge(String),
    /// What was to be written contradicts a rule of the schema. That is a bug of this host, and it
    /// concerns this one row.
    #[error("the database refuses this: {0}")]
    Refused(String),
    /// The disk, or the budget for the data directory, has no room left.
    #[error("storage is full: {0}")]
    Full(String),
    /// The database has as many bytes as it may.
    #[error("the database has {used_bytes} bytes; the limit is {budget_bytes}")]
    OverBudget {
        /// Bytes in use.
        used_bytes: u64,
        /// The most that may be.
        budget_bytes: u64,
    },
    /// A read took longer than the operator allows.
    #[error("the read took too long and was given up")]
    TooSlow,
    /// The database cannot be reached or refuses to work.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// The answer to a commit was lost: the effect may or may not have happened.
    #[error("the outcome of the last commit is unknown: {0}")]
    Unknown(String),
    /// What was read makes no sense.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
}
