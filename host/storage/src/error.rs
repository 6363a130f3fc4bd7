//! Errors of calls to storage.

use cofferdam_domain::batch::BatchId;
use cofferdam_domain::caller::quota::OverQuota;
use cofferdam_domain::module::Digest;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::workflow::WorkflowId;

/// Why a call to storage failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// An id or idempotency key already belongs to a different request.
    #[error("an earlier, different request has this id or idempotency key: task {0}")]
    Conflict(TaskId),
    /// An idempotency key already belongs to a different batch.
    #[error("an earlier, different request has this idempotency key: batch {0}")]
    BatchConflict(BatchId),
    /// An id or idempotency key already belongs to a different workflow.
    #[error("an earlier, different request has this id or idempotency key: workflow {0}")]
    WorkflowConflict(WorkflowId),
    /// The most tasks that are allowed to wait already wait.
    #[error("{pending} tasks already wait; the limit is {limit}")]
    QueueFull {
        /// Tasks waiting.
        pending: u64,
        /// The most that may.
        limit: u64,
    },
    /// A quota of the tenant would be exceeded.
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    /// Tasks already ask as many different things of workers as they may in all.
    #[error(
        "tasks already ask {0} different things of workers, the most there may be; ask for one of those"
    )]
    TooManyPlacements(i64),
    /// The version that a task was to run has been removed since its name was looked up.
    #[error("the module {0} is no longer kept")]
    ModuleGone(Digest),
    /// The data is larger than a row may be; more space would not help.
    #[error("too large to be stored: {0}")]
    TooLarge(String),
    /// The data violates a rule of the schema. That is a bug of this host, and it affects only this
    /// row.
    #[error("the database refuses this: {0}")]
    Refused(String),
    /// The disk, or the budget for the data directory, has no room left.
    #[error("storage is full: {0}")]
    Full(String),
    /// The database is as large as it may be.
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
    /// The bucket that keeps large bytes cannot be reached or refuses to work.
    #[error("the bucket that keeps large bytes is unavailable: {0}")]
    BlobsUnavailable(String),
    /// The answer to a commit was lost: the effect may or may not have happened.
    #[error("the outcome of the last commit is unknown: {0}")]
    Unknown(String),
    /// The stored data is inconsistent.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
    /// It is sealed with a key that this host does not have.
    #[error("{place} is sealed with the key {key}, which is not among storage.encryption_keys")]
    KeyMissing {
        /// Where it is kept.
        place: String,
        /// The id of the key.
        key: String,
    },
}

/// What would make a call succeed that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The database or the bucket did not do it now, and may do it later.
    Time,
    /// More room.
    Room,
    /// No wait: another call, or a mended host.
    Nothing,
}

impl StorageError {
    /// Whether the call was refused by its own rules, and undid its writes.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            StorageError::Conflict(_)
            | StorageError::BatchConflict(_)
            | StorageError::WorkflowConflict(_)
            | StorageError::QueueFull { .. }
            | StorageError::OverQuota(_)
            | StorageError::ModuleGone(_)
            | StorageError::TooManyPlacements(_)
            | StorageError::OverBudget { .. } => true,
            StorageError::TooLarge(_)
            | StorageError::Refused(_)
            | StorageError::TooSlow
            | StorageError::Full(_)
            | StorageError::Unavailable(_)
            | StorageError::BlobsUnavailable(_)
            | StorageError::Unknown(_)
            | StorageError::Corrupt(_)
            | StorageError::KeyMissing { .. } => false,
        }
    }

    /// What would make the same call succeed.
    pub fn remedy(&self) -> Remedy {
        match self {
            StorageError::Unavailable(_)
            | StorageError::BlobsUnavailable(_)
            | StorageError::TooSlow
            | StorageError::Unknown(_) => Remedy::Time,
            StorageError::Full(_) | StorageError::OverBudget { .. } => Remedy::Room,
            StorageError::Conflict(_)
            | StorageError::BatchConflict(_)
            | StorageError::WorkflowConflict(_)
            | StorageError::QueueFull { .. }
            | StorageError::OverQuota(_)
            | StorageError::TooManyPlacements(_)
            | StorageError::ModuleGone(_)
            | StorageError::TooLarge(_)
            | StorageError::Refused(_)
            | StorageError::Corrupt(_)
            | StorageError::KeyMissing { .. } => Remedy::Nothing,
        }
    }

    pub(crate) fn closed() -> StorageError {
        StorageError::Unavailable("storage is closed".to_owned())
    }

    pub(crate) fn corrupt(what: impl std::fmt::Display) -> StorageError {
        StorageError::Corrupt(what.to_string())
    }
}
