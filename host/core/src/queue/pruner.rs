//! Removes final tasks past their retention, and the files that only they referred to.

use std::sync::Arc;
use std::time::Duration;

use crate::queue::shared::Shared;
use cofferdam_storage::{Pruned, StorageError};

/// The longest wait between two prunes.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Tasks removed in one call, so that a call never holds the writer for long.
const BATCH: u32 = 500;

/// Removes the files of pruned tasks and modules.
#[async_trait::async_trait]
pub(crate) trait Attic: Send + Sync + 'static {
    /// Removes artifacts, spooled inputs and compiled code. A failed removal is logged and left to
    /// the sweep at the next start.
    async fn remove(&self, pruned: Pruned);
}

/// Prunes at a fixed interval, so that a task is kept for at most twice its retention.
pub(crate) async fn serve(shared: Arc<Shared>, attic: Arc<dyn Attic>) {
    let interval = shared.config.retention.min(INTERVAL_MAX);
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = shared.shutdown.requested() => return,
        }
        if let Err(error) = run_once(&shared, &*attic).await {
            tracing::warn!(%error, "pruning failed");
        }
    }
}

/// Removes everything that is past its retention.
pub(crate) async fn run_once(shared: &Shared, attic: &dyn Attic) -> Result<(), StorageError> {
    loop {
        let now = shared.clock.now();
        let finished_before = now.minus(shared.config.retention);
        let keep_max = shared.config.retention_tasks_max;
        let pruned = shared
            .storage
            .prune(finished_before, keep_max, BATCH, now)
            .await?;
        let full = pruned.tasks.len() >= BATCH as usize;
        attic.remove(pruned).await;
        if !full || shared.shutdown.is_requested() {
            return Ok(());
        }
    }
}
