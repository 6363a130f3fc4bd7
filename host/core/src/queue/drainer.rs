//! The end: running attempts get their time, then they are killed.

use std::sync::Arc;
use std::time::Duration;

use crate::queue::shared::Shared;

/// The wait between two rounds of killing.
const KILL_AGAIN: Duration = Duration::from_millis(50);

/// Waits for shutdown, then for the attempts, but not longer than the configured time. What is
/// killed is recorded as lost with this host and, where its policy allows, runs again.
pub(crate) async fn serve(shared: Arc<Shared>) {
    shared.shutdown.requested().await;
    let (patience, settled) = (shared.config.drain_timeout, &shared.settled);
    if tokio::time::timeout(patience, settled.cancelled())
        .await
        .is_ok()
    {
        return;
    }
    tracing::warn!(
        attempts = shared.running.len(),
        "ending attempts that did not finish in time"
    );
    loop {
        // Again and again, because a lane may have begun one between the request and the kill.
        shared.running.kill_all();
        tokio::select! {
            () = settled.cancelled() => return,
            () = tokio::time::sleep(KILL_AGAIN) => {}
        }
    }
}
