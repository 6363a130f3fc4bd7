//! The newest report of each running attempt, until it is delivered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use cofferdam_domain::attempt::Fence;
use cofferdam_domain::task::TaskId;
use cofferdam_storage::Progress;

/// The newest undelivered report of each attempt.
#[derive(Debug, Default)]
pub(crate) struct ProgressBoard {
    untold: Mutex<HashMap<TaskId, Progress>>,
    pub(super) written: Notify,
}

impl ProgressBoard {
    /// Records a report in place of an undelivered earlier one.
    pub(crate) fn write(&self, report: Progress) {
        self.lock().insert(report.task_id, report);
        self.written.notify_one();
    }

    /// Takes the undelivered report of one attempt, before its end is reported.
    pub(crate) fn take(&self, task_id: TaskId, fence: Fence) -> Option<Progress> {
        let mut untold = self.lock();
        if untold.is_empty() || untold.get(&task_id)?.fence != fence {
            return None;
        }
        untold.remove(&task_id)
    }

    /// Takes every undelivered report.
    pub(super) fn take_all(&self) -> Vec<Progress> {
        self.lock().drain().map(|(_, report)| report).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Progress>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
