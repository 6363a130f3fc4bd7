//! The queue: the one entry point for changes to tasks, and the services that run them.
//!
//! ```text
//!  submit ──> storage ──> dispatcher ──> ready ──> lanes ──> executor ──> completer ──> storage
//!                ^            claims in batches   one per guest thread    records in batches
//!                └── canceller, heartbeat, fencing, reconciler, rescuer, pruner, progress, drainer
//! ```
//!
//! Other modules decide what nodes of workflows do (`nodes`), run a guest (`runner`), make data durable (`storage`) and decide who may ask
//! (`http`).

mod allowance;
mod canceller;
mod clearing;
mod completer;
mod cpu;
mod crowd;
mod dispatcher;
mod drain;
mod drainer;
pub mod elsewhere;
mod ends;
pub mod events;
mod executor;
mod fencing;
mod figures;
mod flows;
mod guests;
mod hands;
mod heartbeat;
mod lanes;
mod lease;
mod locks;
mod many;
mod postponing;
mod progress;
mod pruner;
mod ready;
mod reconciler;
mod recording;
mod repairer;
mod rescuer;
mod running;
mod scaler;
pub mod settings;
mod shared;
mod slots;
mod start;
mod submission;
mod waiters;
pub mod watch;
mod workers;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::queue::pruner::Attic;
use crate::queue::shared::Shared;
use crate::registry::Registry;
use crate::runner::{RunError, Spool};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::caller::{Caller, Forbidden, Scope, Tenant};
use cofferdam_domain::pressure::Pressed;
use cofferdam_domain::task::{NewTask, Priority, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_storage::{Bounds, Cancelled, Inserted, Purged, Retried, StorageError};

pub use crate::queue::many::{BULK_TASKS_MAX, BatchSubmission, Bulk, BulkChange};
pub use crate::queue::start::Parts;
pub use crate::queue::submission::{Submission, Submitted};

/// Submit, cancel, retry, wait, watch.
pub struct Queue {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    cancels: mpsc::Sender<TaskId>,
    attic: Arc<dyn Attic>,
    spool: Arc<dyn Spool>,
    bulks: Arc<Semaphore>,
}

/// Why a change to a task was refused.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The caller has no right to change tasks.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Because of the module, the input, a limit or a grant.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Because of one of the tasks of a batch.
    #[error("task {place} of the batch: {error}")]
    InBatch {
        /// Which one, from 0.
        place: usize,
        /// Why.
        error: Box<QueueError>,
    },
    /// A bulk change matches more tasks than one may.
    #[error("more than {0} tasks match; narrow the filter")]
    TooManyMatches(u64),
    /// As many bulk changes as may be are in progress.
    #[error("other bulk changes are in progress")]
    BulksBusy,
    /// The host is draining.
    #[error("this host is shutting down")]
    Draining,
    /// The host is short of memory.
    #[error(transparent)]
    Pressed(#[from] Pressed),
    /// Storage failed or refused: an earlier, different request has this id or idempotency key, or
    /// the queue is full.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Figures of this host's part of the queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueStats {
    /// Attempts running here.
    pub active: u64,
    /// Attempts that may run here at once.
    pub slots: u64,
    /// Attempts finished here since the start.
    pub completed: u64,
    /// Attempts failed here since the start.
    pub failed: u64,
    /// The mean duration of the attempts finished here.
    pub mean_duration: Duration,
}

impl Queue {
    /// Checks and stores tasks, all or none, and wakes the dispatcher.
    pub async fn submit(
        &self,
        caller: &Caller,
        tasks: Vec<Submission>,
    ) -> Result<Vec<Submitted>, QueueError> {
        caller.may(Scope::Run)?;
        self.takes_work()?;
        let shared = &self.shared;
        tracing::debug!(tasks = tasks.len(), %caller, "tasks are submitted");
        self.check_cpu(caller)?;
        let now = shared.clock.now();
        let mut checked = Vec::with_capacity(tasks.len());
        for task in tasks {
            checked.push(self.check(caller, task, now).await?);
        }
        let ids: Vec<TaskId> = checked.iter().map(|task| task.id).collect();
        let due: Vec<Priority> = due(&checked, now);
        let inserted = shared
            .storage
            .insert_tasks(checked, self.bounds(caller), now)
            .await?;
        self.announce(caller.tenant(), &due);
        // Nobody can watch a task before it exists, so no event is needed.
        let submitted = ids.into_iter().zip(inserted);
        let submitted = submitted.map(|(id, inserted)| match inserted {
            Inserted::New => Submitted::New(id),
            Inserted::Repeated(earlier) | Inserted::Deduplicated(earlier) => {
                Submitted::Existing(earlier)
            }
        });
        Ok(submitted.collect())
    }

    /// Refuses a caller whose tenant has used up its CPU time.
    fn check_cpu(&self, caller: &Caller) -> Result<(), RunError> {
        Ok(self.shared.admission.cpu().check(caller)?)
    }

    /// Refuses new tasks while the host drains or is short of memory.
    fn takes_work(&self) -> Result<(), QueueError> {
        if self.shared.shutdown.is_requested() {
            return Err(QueueError::Draining);
        }
        Ok(self.shared.pressure.lets_in()?)
    }

    /// How many tasks may wait once the caller's are stored.
    pub(crate) fn bounds(&self, caller: &Caller) -> Bounds {
        Bounds {
            pending_max: self.shared.config.pending_max,
            tenant: caller.task_quotas(),
        }
    }

    /// Tells everybody that tasks of that tenant with these priorities can be claimed.
    fn announce(&self, tenant: &Tenant, due: &[Priority]) {
        let now = Instant::now();
        self.shared.crowd.submitted(tenant, due.len(), now);
        for priority in Priority::ALL {
            let tasks = due.iter().filter(|other| **other == priority).count();
            if tasks > 0 {
                self.shared.work_arrived(tenant, priority, tasks);
            }
        }
        self.shared.tell_work();
    }

    /// Cancels a task.
    pub async fn cancel(&self, caller: &Caller, id: TaskId) -> Result<Cancelled, QueueError> {
        caller.may(Scope::Run)?;
        tracing::debug!(task.id = %id, %caller, "a cancel is requested");
        let shared = &self.shared;
        let answer = shared
            .storage
            .cancel(&Whose::of(caller), id, shared.clock.now())
            .await?;
        shared.tell_cancelled(id, answer, &self.cancels);
        if answer == Cancelled::AtOnce {
            // Its place in a batch may be another's now.
            shared.tell_work();
        }
        Ok(answer)
    }

    /// Makes a failed or cancelled task pending again.
    pub async fn retry(&self, caller: &Caller, id: TaskId) -> Result<Retried, QueueError> {
        caller.may(Scope::Run)?;
        tracing::debug!(task.id = %id, %caller, "a retry is requested");
        self.takes_work()?;
        let shared = &self.shared;
        let answer = shared
            .storage
            .retry(&Whose::of(caller), id, shared.clock.now())
            .await?;
        if answer == Retried::Pending {
            shared.tell_changed(id);
            shared.tell_work();
        }
        Ok(answer)
    }

    /// Removes a final task with all its data and files.
    pub async fn purge(&self, caller: &Caller, id: TaskId) -> Result<Purged, QueueError> {
        caller.may(Scope::Run)?;
        tracing::debug!(task.id = %id, %caller, "a task is to be removed");
        let (shared, attic) = (Arc::clone(&self.shared), Arc::clone(&self.attic));
        let (tell, told) = oneshot::channel();
        let whose = Whose::of(caller);
        // It is a separate task, so that a caller who goes away does not leave the files behind.
        self.shared.shutdown.spawn("purge", async move {
            let answer = shared.storage.purge(&whose, id).await;
            if let Ok(Purged::Removed(pruned)) = &answer {
                shared.events.forget(id);
                attic.remove(pruned.clone()).await;
            }
            let _gone = tell.send(answer);
        });
        let lost = |_| StorageError::Unknown("the host is ending".to_owned());
        Ok(told.await.map_err(lost)??)
    }

    /// How long storage has not recorded ends of attempts, if that is longer than a heartbeat.
    pub fn recording_is_stuck(&self) -> Option<Duration> {
        let stuck = self.shared.recording.stuck_for();
        (stuck > self.shared.config.heartbeat_interval).then_some(stuck)
    }

    /// Figures of this host's part.
    pub fn stats(&self) -> QueueStats {
        let Shared {
            figures,
            running,
            slots,
            ..
        } = &*self.shared;
        QueueStats {
            active: running.len() as u64,
            slots: slots.now() as u64,
            completed: figures.completed(),
            failed: figures.failed(),
            mean_duration: figures.mean_run(),
        }
    }

    /// How long the attempt has run that runs here longest.
    pub fn longest_running(&self, now: Instant) -> Duration {
        self.shared.running.longest(now)
    }

    /// An estimate, from recent attempts, of how long a task submitted now takes until it is final.
    pub fn estimated_wait(&self) -> Duration {
        self.shared.figures.wait_lately() + self.shared.figures.run_lately()
    }

    /// This incarnation of the host.
    pub fn worker(&self) -> WorkerId {
        self.shared.worker
    }
}

/// The priorities of the tasks that may begin at once.
fn due(tasks: &[NewTask], now: Timestamp) -> Vec<Priority> {
    let due = tasks.iter().filter(|task| task.run_at <= now);
    due.map(|task| task.spec.priority).collect()
}

/// The shared form.
pub type SharedQueue = Arc<Queue>;
