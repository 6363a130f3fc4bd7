//! Progress of running attempts: the newest report of each, delivered at a bounded pace.

pub(crate) mod board;

use std::sync::Arc;
use std::time::Duration;

use crate::queue::shared::Shared;

/// The shortest time between two delivered reports of one attempt.
const PACE: Duration = Duration::from_millis(100);

/// Delivers and records the board's reports, at once and then no faster than the pace.
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
            // A lost report does not matter: the next one says more.
            tracing::warn!(%error, "progress was not recorded");
        }
        tokio::select! {
            () = tokio::time::sleep(PACE) => {}
            () = shared.settled.cancelled() => return,
        }
    }
}
