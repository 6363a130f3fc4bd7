//! Says that this incarnation is alive, until its last attempt is recorded.

use std::sync::Arc;

use crate::queue::shared::Shared;

/// Beats at the configured interval. The first beat is the starter's business: nothing may be
/// claimed before it.
pub(crate) async fn serve(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(shared.config.heartbeat_interval) => {}
            () = shared.settled.cancelled() => return,
        }
        // A missed beat is made good by the next; `dead_after` is several of them.
        if let Err(error) = shared
            .storage
            .heartbeat(shared.worker, shared.clock.now())
            .await
        {
            tracing::warn!(%error, "the heartbeat was not recorded");
        }
    }
}
