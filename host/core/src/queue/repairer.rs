//! Looks for workflows that have come to a stop: all their nodes are final or blocked, and nothing will change that.
//!
//! Whatever ends a node releases those behind it in the same transaction, so it finds none. It is there because a
//! workflow that stands still for ever is the one thing that nobody would notice.

use std::sync::Arc;
use std::time::Duration;

use crate::queue::shared::Shared;
use cofferdam_storage::StorageError;

/// How often it looks, and how long a workflow must not have changed.
const INTERVAL: Duration = Duration::from_secs(60);
/// Workflows in one look.
const BATCH: u32 = 100;

/// Looks until shutdown.
pub(crate) async fn serve(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shared.shutdown.requested() => return,
        }
        if let Err(error) = run_once(&shared).await {
            tracing::warn!(%error, "workflows could not be looked at");
        }
    }
}

async fn run_once(shared: &Shared) -> Result<(), StorageError> {
    let now = shared.clock.now();
    let workflows = shared.nodes.workflows();
    let repaired = workflows
        .repair_workflows(now.minus(INTERVAL), BATCH, now)
        .await?;
    if repaired > 0 {
        tracing::error!(
            workflows = repaired,
            "workflows that stood still were repaired"
        );
        shared.metrics.workflows_repaired(repaired);
        shared.tell_work();
    }
    Ok(())
}
