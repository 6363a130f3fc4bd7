//! What may be asked of workers, this host or another, and how they are.

use super::{Queue, QueueError, heartbeat};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::caller::{Caller, Scope};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::worker::Worker;

impl Queue {
    /// Asks a worker to take no more tasks, or to take them again. `None` if there is no such worker.
    pub async fn ask_to_drain(
        &self,
        caller: &Caller,
        id: WorkerId,
        drain: bool,
    ) -> Result<Option<Worker>, QueueError> {
        caller.may(Scope::Admin)?;
        tracing::info!(worker.id = %id.0, drain, %caller, "a worker is asked to drain, or no more");
        let shared = &self.shared;
        let asked = shared.storage.ask_to_drain(id, drain).await?;
        if asked.is_some() && id == shared.worker {
            heartbeat::heed_drain(shared, drain);
        }
        Ok(asked)
    }

    /// Whether this host was asked to take no more tasks.
    pub fn is_asked_to_drain(&self) -> bool {
        self.shared.drain.is_asked()
    }

    /// The moment before which nobody was last heard of who is not taken for dead.
    pub fn dead_before(&self) -> Timestamp {
        self.shared.dead_before()
    }
}
