//! Draining: running attempts get their time, then they are killed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::running::Stop;
use crate::queue::shared::Shared;

/// The wait between two rounds of killing.
const KILL_AGAIN: Duration = Duration::from_millis(50);
/// How often the log reports the wait.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Waits for shutdown, then for the attempts, but not longer than the configured time. A killed
/// attempt is recorded as lost with this host and, if its policy allows, runs again.
pub(crate) async fn serve(shared: Arc<Shared>) {
    shared.shutdown.requested().await;
    if waited(&shared).await {
        return;
    }
    tracing::warn!(
        attempts = shared.running.len(),
        "ending attempts that did not finish in time"
    );
    loop {
        // The kill is repeated, because a lane may begin an attempt between the request and the
        // kill.
        shared.running.kill_all(Stop::Drain);
        tokio::select! {
            () = shared.settled.cancelled() => return,
            () = tokio::time::sleep(KILL_AGAIN) => {}
        }
    }
}

/// Whether all attempts ended in their time.
async fn waited(shared: &Shared) -> bool {
    let until = Instant::now() + shared.config.drain_timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return shared.settled.is_cancelled();
        }
        let attempts = shared.running.len();
        if attempts > 0 {
            let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(attempts, left_ms, "draining: waiting for running attempts");
        }
        tokio::select! {
            () = shared.settled.cancelled() => return true,
            () = tokio::time::sleep(left.min(TOLD_EVERY)) => {}
        }
    }
}
