//! Records that this incarnation is alive, until its last attempt is recorded.

use std::sync::Arc;

use crate::queue::shared::Shared;

/// Beats at the configured interval. The first beat is made at the start, because nothing may be
/// claimed before it.
pub(crate) async fn serve(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(shared.config.heartbeat_interval) => {}
            () = shared.settled.cancelled() => return,
        }
        // The next beat makes up for a missed one; `dead_after` is several beats.
        if let Err(error) = shared
            .storage
            .heartbeat(shared.worker, shared.clock.now())
            .await
        {
            tracing::warn!(%error, "the heartbeat was not recorded");
        }
    }
}
