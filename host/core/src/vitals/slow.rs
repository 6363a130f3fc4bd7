//! The figures that may have to be waited for: those of storage and of the disk.
//!
//! They are read every few seconds. What could not be read is unknown until it can be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::queue::SharedQueue;
use crate::shutdown::Shutdown;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::{Worker, WorkerState};
use cofferdam_storage::disk::Disk;
use cofferdam_storage::files::FileStorage;
use cofferdam_storage::{Reads, StorageError};

/// How often they are read.
const EVERY: Duration = Duration::from_secs(5);
/// Hosts that are looked at.
const WORKERS_MAX: u32 = 1000;
/// For how long a host that was lost counts.
const LOST_FOR: Duration = Duration::from_secs(10 * 60);

/// What is read, and what was read last.
pub(super) struct Slow {
    queue: SharedQueue,
    reads: Arc<dyn Reads>,
    files: FileStorage,
    disk: Disk,
    clock: Clock,
    figures: Mutex<SlowFigures>,
}

/// The figures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SlowFigures {
    /// Tasks that wait, those included that wait for their time.
    pub(super) pending: Option<u64>,
    /// Hosts that went silent without having ended.
    pub(super) workers_lost: Option<u64>,
    /// How full the disk is, or what the host may have of it.
    pub(super) disk_percent: Option<u64>,
}

impl Slow {
    pub(super) fn new(
        queue: SharedQueue,
        reads: Arc<dyn Reads>,
        files: FileStorage,
        disk: Disk,
        clock: Clock,
    ) -> Slow {
        Slow {
            queue,
            reads,
            files,
            disk,
            clock,
            figures: Mutex::default(),
        }
    }

    /// What was read last.
    pub(super) fn figures(&self) -> SlowFigures {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self) {
        let read = SlowFigures {
            pending: known(self.reads.counts(&Whose::All).await).map(|counts| counts.pending),
            workers_lost: known(self.workers_lost().await),
            disk_percent: known(self.disk_percent().await),
        };
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = read;
    }

    async fn workers_lost(&self) -> Result<u64, StorageError> {
        let workers = self.reads.workers(None, WORKERS_MAX).await?;
        let (now, dead_before) = (self.clock.now(), self.queue.dead_before());
        let is_lost = |worker: &&Worker| {
            worker.told != WorkerState::Terminated
                && worker.heard_at < dead_before
                && worker.heard_at >= now.minus(LOST_FOR)
        };
        Ok(workers.iter().filter(is_lost).count() as u64)
    }

    /// The fuller of the two budgets counts.
    async fn disk_percent(&self) -> Result<u64, StorageError> {
        if self.disk.look().await.lack().is_some() {
            return Ok(100);
        }
        let percent = |(used, limit): (u64, u64)| {
            let percent = used.saturating_mul(100).checked_div(limit);
            percent.unwrap_or(0)
        };
        let database = self.reads.database_bytes().await?.map_or(0, percent);
        Ok(database.max(percent(self.files.usage())))
    }
}

/// Reads them until shutdown is requested.
pub(super) async fn serve(slow: Arc<Slow>, stop: Shutdown) {
    loop {
        tokio::select! {
            () = slow.look() => {}
            () = stop.requested() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.requested() => return,
        }
    }
}

/// Storage's failures are told by those who need it to answer somebody.
fn known<T>(read: Result<T, StorageError>) -> Option<T> {
    read.map_err(|error| tracing::debug!(%error, "a figure could not be read"))
        .ok()
}
