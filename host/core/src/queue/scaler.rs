//! Changes the number of slots by what there is to do: more while due tasks wait although every slot is
//! taken, fewer once half of them were free for a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::shared::Shared;
use cofferdam_storage::StorageError;

/// How often it looks.
const PACE: Duration = Duration::from_millis(250);

/// Looks until shutdown; not at all if the number never changes.
pub(crate) async fn serve(shared: Arc<Shared>) {
    if shared.slots.are_fixed() {
        return;
    }
    let mut idle_since = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(PACE) => {}
            () = shared.shutdown.requested() => return,
        }
        let running = shared.running.len();
        let slots = shared.slots.now();
        if running >= slots {
            idle_since = None;
            match tasks_wait(&shared).await {
                Ok(true) if !shared.slots.are_all() => {
                    let slots = shared.slots.grow();
                    tracing::debug!(slots, "more attempts may run, because tasks wait");
                    shared.work.notify_one();
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "whether tasks wait is unknown"),
            }
        } else if running <= slots / 2 {
            let since = *idle_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= shared.config.slots_idle {
                let slots = shared.slots.shrink();
                tracing::debug!(slots, "fewer attempts may run, because slots are idle");
                idle_since = None;
            }
        } else {
            idle_since = None;
        }
    }
}

/// Whether a task waits that could run here now.
async fn tasks_wait(shared: &Shared) -> Result<bool, StorageError> {
    if shared.ready.len() > 0 {
        return Ok(true);
    }
    let next = shared.storage.next_run_at(shared.worker).await?;
    Ok(next.is_some_and(|at| at <= shared.clock.now()))
}
