//! The end: running attempts get their time, then they are killed.

use std::sync::Arc;

use crate::queue::shared::Shared;

/// Waits for shutdown, then for the attempts, but not longer than the configured time. What is
/// killed is recorded as lost with this host and, where its policy allows, runs again.
pub(crate) async fn serve(shared: Arc<Shared>) {
    shared.shutdown.requested().await;
    let patience = shared.config.drain_timeout;
    if tokio::time::timeout(patience, shared.running.emptied())
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
        // Again and again, because a lane may have begun one between the look and the kill.
        shared.running.kill_all();
        tokio::select! {
            () = shared.running.emptied() => return,
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
        }
    }
}
