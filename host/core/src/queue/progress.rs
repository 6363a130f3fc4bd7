//! Progress of running attempts: kept as the newest report of each, told at a bounded pace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::queue::shared::Shared;
use cofferdam_domain::attempt::Fence;
use cofferdam_domain::task::TaskId;
use cofferdam_storage::Progress;

/// The shortest time between two reports of one attempt that are told.
const PACE: Duration = Duration::from_millis(100);

/// The newest untold report of each attempt.
#[derive(Debug, Default)]
pub(crate) struct ProgressBoard {
    untold: Mutex<HashMap<TaskId, Progress>>,
    written: Notify,
}

impl ProgressBoard {
    /// Writes down a report in place of an untold earlier one.
    pub(crate) fn write(&self, task_id: TaskId, fence: Fence, fraction: f64, note: &str) {
        let report = Progress {
            task_id,
            fence,
            fraction,
            note: note.to_owned(),
        };
        self.lock().insert(task_id, report);
        self.written.notify_one();
    }

    /// Takes the untold report of one attempt, before its end is told.
    pub(crate) fn take(&self, task_id: TaskId, fence: Fence) -> Option<Progress> {
        let mut untold = self.lock();
        if untold.is_empty() || untold.get(&task_id)?.fence != fence {
            return None;
        }
        untold.remove(&task_id)
    }

    fn take_all(&self) -> Vec<Progress> {
        self.lock().drain().map(|(_, report)| report).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Progress>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells and records what is on the board, at once and then no faster than the pace.
pub(crate) async fn serve(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.progress.written.notified() => {}
            () = shared.settled.cancelled() => return,
        }
        let reports = shared.progress.take_all();
        for report in &reports {
            shared
                .events
                .progress(report.task_id, report.fraction, &report.note);
        }
        if !reports.is_empty()
            && let Err(error) = shared
                .storage
                .report_progress(reports, shared.clock.now())
                .await
        {
            // Progress is a courtesy: the next report says more than this one.
            tracing::warn!(%error, "progress was not recorded");
        }
        tokio::select! {
            () = tokio::time::sleep(PACE) => {}
            () = shared.settled.cancelled() => return,
        }
    }
}
