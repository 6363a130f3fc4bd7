//! Asks the process to end, and waits until it has.
//!
//! Every task the host spawns is spawned here: it has a name, it is told when shutdown is
//! requested, and [`Shutdown::drained`] waits for it. `app` decides when each part is asked.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One switch and the tasks that listen to it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    requested: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// A switch that is not yet set.
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Asks all listeners to end.
    pub fn request(&self) {
        self.requested.cancel();
    }

    /// Whether shutdown was requested.
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Returns once shutdown is requested.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Runs `work` on the current runtime as the task `name`; [`Shutdown::drained`] waits for it.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_on(&Handle::current(), name, work);
    }

    /// The same on another runtime.
    pub fn spawn_on(
        &self,
        runtime: &Handle,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let named = async move {
            tracing::trace!(task = name, "started");
            work.await;
            tracing::trace!(task = name, "ended");
        };
        let _joined_by_tracker = runtime.spawn(self.tasks.track_future(named));
    }

    /// Waits until every spawned task has ended; false if `patience` ran out first.
    pub async fn drained(&self, patience: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(patience, self.tasks.wait())
            .await
            .is_ok()
    }
}
