//! Progress of running attempts: kept as the newest report of each, told at a bounded pace.

pub(crate) mod board;

use std::sync::Arc;
use std::time::Duration;

use crate::queue::shared::Shared;

/// The shortest time between two reports of one attempt that are told.
const PACE: Duration = Duration::from_millis(100);

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
