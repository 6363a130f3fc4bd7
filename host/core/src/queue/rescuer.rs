//! Takes tasks from hosts that died.

use std::sync::Arc;

use crate::queue::shared::Shared;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::StorageError;

/// Tasks taken in one call, so that a call never holds the writer for long.
const BATCH: u32 = 500;

/// Looks for dead hosts at the pace of their heartbeats.
pub(crate) async fn serve(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(shared.config.heartbeat_interval) => {}
            () = shared.shutdown.requested() => return,
        }
        if let Err(error) = run_once(&shared, shared.dead_before()).await {
            tracing::warn!(%error, "looking for dead hosts failed");
        }
    }
}

/// Takes every task whose host was last heard of before `dead_before`; returns their number.
pub(crate) async fn run_once(shared: &Shared, dead_before: Timestamp) -> Result<u64, StorageError> {
    let mut total = 0;
    loop {
        let now = shared.clock.now();
        let rescued = shared
            .storage
            .rescue(shared.worker, dead_before, BATCH, now)
            .await?;
        for task in &rescued {
            tracing::warn!(task.id = %task.task_id, state = task.state.as_str(), "rescued from a dead host");
            // It lost one host too many.
            if task.state == TaskState::Failed {
                shared.metrics.task_died();
            }
            shared.tell_changed(task.task_id);
        }
        total += rescued.len() as u64;
        if rescued.len() < BATCH as usize {
            break;
        }
    }
    if total > 0 {
        shared.tell_work();
    }
    Ok(total)
}
