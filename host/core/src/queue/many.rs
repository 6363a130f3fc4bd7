//! Many tasks at once: batches, and a change of every task that a filter finds.
//!
//! A change of many is made in slices, each one commit, so that nothing else waits for long. The tasks
//! of a bulk change are found once, when it is confirmed, and changed in the background; a host that
//! ends leaves the rest as it is, and the same request finds it again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::queue::shared::Shared;
use crate::queue::{Queue, QueueError, Submission, due};
use cofferdam_domain::batch::{BatchId, NewBatch};
use cofferdam_domain::callback::Callback;
use cofferdam_domain::caller::{Caller, Scope};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::whose::Whose;
use cofferdam_storage::{Cancelled, InsertedBatch, Retried, StorageError, TaskFilter};

/// Tasks changed in one commit.
pub(super) const SLICE: usize = 500;
/// The most that an operator may allow one bulk change to find: their ids are held in memory.
pub const BULK_TASKS_MAX: u64 = 1_000_000;
/// Bulk changes that are found or made at once on one host.
pub(crate) const BULKS_MAX: usize = 4;
/// Tasks found in one call.
const PAGE: u32 = 10_000;
/// How often a slice that storage refuses is offered again, and the wait before each time.
const TRIES: u32 = 30;
const TRY_WAIT: Duration = Duration::from_secs(1);

/// A batch as a caller submits it.
#[derive(Clone, Debug)]
pub struct BatchSubmission {
    /// Its tasks.
    pub tasks: Vec<Submission>,
    /// How many of them may be under way at once.
    pub parallelism: Option<u32>,
    /// Whom its end is told.
    pub callback: Option<Callback>,
    /// What makes a repeated submission the same one.
    pub idempotency_key: Option<String>,
    /// A hash of the request as it came.
    pub fingerprint: [u8; 16],
}

/// What is done to many tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkChange {
    /// Their end is requested.
    Cancel,
    /// They are made pending again.
    Retry,
}

/// The answer to a bulk change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bulk {
    /// So many tasks are being changed.
    Begun(u64),
    /// Nothing was changed: so many tasks were found, which is more than expected.
    Grown(u64),
}

impl BulkChange {
    /// The states in which a task can be changed so.
    fn states(self) -> &'static [TaskState] {
        match self {
            BulkChange::Cancel => &[TaskState::Blocked, TaskState::Pending, TaskState::Running],
            BulkChange::Retry => &[TaskState::Failed, TaskState::Cancelled],
        }
    }

    /// `filter` without the tasks that cannot be changed so; `None` if no state is left.
    fn narrowed(self, mut filter: TaskFilter) -> Option<TaskFilter> {
        let can_be = |state: &TaskState| filter.states.is_empty() || filter.states.contains(state);
        let states = self.states().iter().copied();
        filter.states = states.filter(can_be).collect();
        (!filter.states.is_empty()).then_some(filter)
    }
}

impl Queue {
    /// Checks and stores a batch, all of its tasks or none, and wakes the dispatcher.
    pub async fn submit_batch(
        &self,
        caller: &Caller,
        batch: BatchSubmission,
    ) -> Result<InsertedBatch, QueueError> {
        caller.may(Scope::Run)?;
        self.takes_work()?;
        let shared = &self.shared;
        tracing::debug!(tasks = batch.tasks.len(), %caller, "a batch is submitted");
        self.check_cpu(caller)?;
        if let Some(callback) = &batch.callback {
            shared.admission.check_callback(caller, callback)?;
        }
        let now = shared.clock.now();
        let mut checked = Vec::with_capacity(batch.tasks.len());
        for (place, task) in batch.tasks.into_iter().enumerate() {
            let task = self.check(caller, task, now).await;
            checked.push(task.map_err(|error| QueueError::InBatch {
                place,
                error: Box::new(error),
            })?);
        }
        let new = NewBatch {
            id: BatchId(shared.dice.task_id(now).0),
            tenant: caller.tenant().clone(),
            parallelism: batch.parallelism,
            callback: batch.callback,
            idempotency_key: batch.idempotency_key,
            fingerprint: batch.fingerprint,
        };
        let due = due(&checked, now);
        let inserted = shared
            .storage
            .insert_batch(new, checked, self.bounds(caller), now)
            .await?;
        self.announce(caller.tenant(), &due);
        Ok(inserted)
    }

    /// Requests the end of every task of a batch that is not final, and tells how many these are;
    /// `None` if there is no such batch.
    pub async fn cancel_batch(
        &self,
        caller: &Caller,
        id: BatchId,
    ) -> Result<Option<u64>, QueueError> {
        caller.may(Scope::Run)?;
        tracing::debug!(batch.id = %id, %caller, "a batch is to be cancelled");
        let whose = Whose::of(caller);
        if self.shared.reads.batch(&whose, id).await?.is_none() {
            return Ok(None);
        }
        let ids = self.shared.reads.open_tasks(&whose, id).await?;
        let tasks = ids.len() as u64;
        let (tell, told) = oneshot::channel();
        let slices = self.slices(whose, BulkChange::Cancel, ids);
        // On its own, so that a caller who goes away does not leave half of them.
        self.shared.shutdown.spawn("cancel batch", async move {
            let _gone = tell.send(slices.make().await);
        });
        let lost = |_| StorageError::Unknown("the host is ending".to_owned());
        told.await.map_err(lost)??;
        Ok(Some(tasks))
    }

    /// How many tasks of `filter` a change would be made to now.
    pub async fn matches(
        &self,
        caller: &Caller,
        change: BulkChange,
        filter: TaskFilter,
    ) -> Result<u64, QueueError> {
        caller.may(Scope::Run)?;
        let _place = self.bulk_place()?;
        Ok(self.find(caller, change, filter).await?.len() as u64)
    }

    /// Makes a change to every task of `filter` in the background, if they are not more than
    /// `expected`.
    pub async fn change_matching(
        &self,
        caller: &Caller,
        change: BulkChange,
        filter: TaskFilter,
        expected: u64,
    ) -> Result<Bulk, QueueError> {
        caller.may(Scope::Run)?;
        if self.shared.shutdown.is_requested() {
            return Err(QueueError::Draining);
        }
        let place = self.bulk_place()?;
        let ids = self.find(caller, change, filter).await?;
        let tasks = ids.len() as u64;
        if tasks > expected {
            return Ok(Bulk::Grown(tasks));
        }
        tracing::info!(tasks, ?change, %caller, "a bulk change begins");
        let slices = self.slices(Whose::of(caller), change, ids);
        self.shared.shutdown.spawn("bulk change", async move {
            if let Err(error) = slices.make().await {
                tracing::error!(%error, ?change, "a bulk change ended early; request it again");
            }
            drop(place);
        });
        Ok(Bulk::Begun(tasks))
    }

    fn bulk_place(&self) -> Result<OwnedSemaphorePermit, QueueError> {
        let place = Arc::clone(&self.bulks).try_acquire_owned();
        place.map_err(|_all_taken| QueueError::BulksBusy)
    }

    async fn find(
        &self,
        caller: &Caller,
        change: BulkChange,
        filter: TaskFilter,
    ) -> Result<Vec<TaskId>, QueueError> {
        let mut found = Vec::new();
        let Some(mut filter) = change.narrowed(filter) else {
            return Ok(found);
        };
        loop {
            let reads = &self.shared.reads;
            let page = reads.task_ids(caller.tenant(), &filter, PAGE).await?;
            found.extend(page.ids);
            let most = self.shared.config.bulk_tasks_max;
            if found.len() as u64 > most {
                return Err(QueueError::TooManyMatches(most));
            }
            match page.next {
                None => return Ok(found),
                next => filter.after = next,
            }
        }
    }

    pub(super) fn slices(&self, whose: Whose, change: BulkChange, ids: Vec<TaskId>) -> Slices {
        Slices {
            shared: Arc::clone(&self.shared),
            cancels: self.cancels.clone(),
            whose,
            change,
            ids,
        }
    }
}

/// A change of many tasks on its way.
pub(super) struct Slices {
    shared: Arc<Shared>,
    cancels: tokio::sync::mpsc::Sender<TaskId>,
    whose: Whose,
    change: BulkChange,
    ids: Vec<TaskId>,
}

impl Slices {
    pub(super) async fn make(&self) -> Result<(), StorageError> {
        for slice in self.ids.chunks(SLICE) {
            let mut tries = 1;
            while let Err(error) = self.make_one(slice).await {
                if tries == TRIES || self.shared.shutdown.is_requested() {
                    return Err(error);
                }
                tracing::warn!(%error, "a slice of a bulk change failed; it is tried again");
                tries += 1;
                tokio::select! {
                    () = tokio::time::sleep(TRY_WAIT) => {}
                    () = self.shared.shutdown.requested() => {}
                }
            }
            if self.shared.shutdown.is_requested() {
                let why = "the host is ending".to_owned();
                return Err(StorageError::Unavailable(why));
            }
        }
        Ok(())
    }

    async fn make_one(&self, slice: &[TaskId]) -> Result<(), StorageError> {
        let Slices {
            shared,
            cancels,
            whose,
            ..
        } = self;
        let (storage, now) = (&shared.storage, shared.clock.now());
        match self.change {
            BulkChange::Cancel => {
                let answers = storage.cancel_all(whose, slice.to_vec(), now).await?;
                for (id, answer) in slice.iter().zip(answers) {
                    shared.tell_cancelled(*id, answer, cancels);
                }
            }
            BulkChange::Retry => {
                let answers = storage.retry_all(whose, slice.to_vec(), now).await?;
                for (id, answer) in slice.iter().zip(answers) {
                    if answer == Retried::Pending {
                        shared.tell_changed(*id);
                    }
                }
            }
        }
        // What was retried, or was let in by what was cancelled.
        shared.tell_work();
        Ok(())
    }
}

impl Shared {
    /// Tells whom it concerns that a task was cancelled, or is to be.
    pub(crate) fn tell_cancelled(
        &self,
        id: TaskId,
        answer: Cancelled,
        cancels: &tokio::sync::mpsc::Sender<TaskId>,
    ) {
        match answer {
            Cancelled::AtOnce => self.tell_changed(id),
            Cancelled::Requested(worker) if worker == self.worker => {
                // If the channel is full, the next heartbeat finds the cancel.
                let _seen_later = cancels.try_send(id);
            }
            Cancelled::Requested(_elsewhere) => self.tell_changed(id),
            Cancelled::Final(_) | Cancelled::Unknown => {}
        }
    }
}
