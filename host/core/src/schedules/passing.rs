//! Whether what could not be submitted at an instant may be later: every error that a submission can have.

use super::ScheduleError;
use crate::queue::QueueError;
use crate::workflows::WorkflowError;
use crate::workflows::definitions::DefinitionError;
use cofferdam_storage::StorageError;

impl ScheduleError {
    /// Whether the same submission may be taken later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            ScheduleError::Queue(error) => may_pass(error),
            ScheduleError::Workflow(error) => match error {
                WorkflowError::Queue(error) => may_pass(error),
                WorkflowError::Task { error, .. } => may_pass(error),
                WorkflowError::Graph { .. }
                | WorkflowError::Node { .. }
                | WorkflowError::Edge { .. }
                | WorkflowError::TooDeep(_) => false,
            },
            ScheduleError::Storage(error)
            | ScheduleError::Definition(DefinitionError::Storage(error)) => storage_may_pass(error),
            ScheduleError::Forbidden(_)
            | ScheduleError::Timetable(_)
            | ScheduleError::Unreadable { .. }
            | ScheduleError::Definition(_)
            | ScheduleError::Unknown(_)
            | ScheduleError::TooMany => false,
        }
    }
}

fn may_pass(error: &QueueError) -> bool {
    match error {
        QueueError::Draining | QueueError::Pressed(_) => true,
        QueueError::Storage(error) => storage_may_pass(error),
        QueueError::Run(_)
        | QueueError::Forbidden(_)
        | QueueError::InBatch { .. }
        | QueueError::TooManyMatches(_)
        | QueueError::BulksBusy => false,
    }
}

fn storage_may_pass(error: &StorageError) -> bool {
    match error {
        StorageError::QueueFull { .. }
        | StorageError::Full(_)
        | StorageError::OverBudget { .. }
        | StorageError::TooSlow
        | StorageError::Unavailable(_)
        | StorageError::BlobsUnavailable(_)
        | StorageError::KeyMissing { .. }
        | StorageError::Unknown(_) => true,
        StorageError::Conflict(_)
        | StorageError::BatchConflict(_)
        | StorageError::WorkflowConflict(_)
        | StorageError::OverQuota(_)
        | StorageError::TooManyPlacements(_)
        | StorageError::ModuleGone(_)
        | StorageError::TooLarge(_)
        | StorageError::Refused(_)
        | StorageError::Corrupt(_) => false,
    }
}
