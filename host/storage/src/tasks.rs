//! The changes of tasks and their answers.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::StorageError;
use cofferdam_domain::attempt::{Fence, Outcome, WorkerId};
use cofferdam_domain::batch::{BatchId, NewBatch};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::quota::TaskQuotas;
use cofferdam_domain::claim::{AttemptEnd, Claim};
use cofferdam_domain::module::Digest;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{BlobId, ClaimOrder, NewTask, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::{Beat, Worker};
use cofferdam_domain::workflow::WorkflowId;

/// How many tasks may wait once new ones are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Those of all tenants.
    pub pending_max: u64,
    /// What the tenant may have, whose the tasks of the call are.
    pub tenant: TaskQuotas,
}

impl From<u64> for Bounds {
    /// So many tasks of all tenants, whosever they are.
    fn from(pending_max: u64) -> Bounds {
        Bounds {
            pending_max,
            tenant: TaskQuotas::default(),
        }
    }
}

/// Who claims what ends release.
#[derive(Clone, Copy, Debug)]
pub struct Heir {
    /// The worker that told the ends.
    pub worker: WorkerId,
    /// How many tasks it takes at most.
    pub slots: u32,
    /// When it claims them.
    pub now: Timestamp,
}

/// What ends brought about.
#[derive(Debug, Default)]
pub struct Recorded {
    /// What became of each, in order.
    pub finished: Vec<Finished>,
    /// The heir's claims.
    pub claims: Vec<Claim>,
    /// Whether nodes were released that are there to be claimed by anybody.
    pub is_more: bool,
}

/// Changes of tasks, and queries of the services that run them.
///
/// A task, a batch and their keys belong to the tenant that they are stored for. Calls that name a task
/// say whose it must be: one of another tenant is unknown to them. The others are the host's own services,
/// and are about the tasks of every tenant.
///
/// Every method that writes returns only after its effect is durable (committed and synced).
/// Calls from one task are applied in the order they were made; calls of different tasks may share
/// one commit. `Err` means that nothing of the call happened, except for
/// [`StorageError::Unknown`].
#[async_trait]
pub trait Tasks: Send + Sync + 'static {
    /// Stores the tasks of one submission, all or none, whatever calls share its commit. A task
    /// whose idempotency key, id or held dedup key is already taken is not stored again; its entry
    /// in the answer names the earlier task. The same holds between the tasks of one call, in their
    /// order. An idempotency key is taken as long as its task is kept, a dedup key as long as its
    /// window lasts and its task is kept. Each tenant has keys of its own.
    /// [`StorageError::Conflict`] if one of them claims the id or idempotency key of a different request,
    /// in an earlier call or in this one, or the id of a task of another tenant.
    /// [`StorageError::ModuleGone`] if one of them is to run a version that is not kept.
    /// [`StorageError::TooManyPlacements`] if tasks would ask too many different things of workers.
    /// [`StorageError::OverBudget`] if the database is as large as it may be.
    /// [`StorageError::QueueFull`] if a new task would make more than the bound wait, pending
    /// and blocked ones together; [`StorageError::OverQuota`] if it would go beyond a quota of its tenant,
    /// whatever other hosts store at that moment, as long as they are told the same quota. A repetition of
    /// an earlier request is answered even then.
    async fn insert_tasks(
        &self,
        tasks: Vec<NewTask>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, StorageError>;

    /// Stores a batch with its tasks, by the rules of [`Tasks::insert_tasks`], all or none. If it has a
    /// bound, no more of its tasks than that are ever under way: run, or wait to be claimed, for the
    /// first time or again. The others wait for a place; who is due first gets the next one, in the
    /// transaction that makes it free. An earlier batch with the same idempotency key takes its
    /// place; [`StorageError::BatchConflict`] if that was a different request. The key is taken as
    /// long as a task of the batch is kept.
    async fn insert_batch(
        &self,
        batch: NewBatch,
        tasks: Vec<NewTask>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<InsertedBatch, StorageError>;

    /// Takes up to `slots` pending tasks whose `run_at` has come, by `order`, counts an attempt for each
    /// and gives each a fresh fence. Tenants take turns by their weights; the order is that inside a
    /// tenant. No more attempts of a module or a tenant are ever under way than
    /// [`ClaimRules`](crate::settings::ClaimRules) allow, whatever other hosts do; an attempt that
    /// is so counted holds a place. Every eighth turn of a tenant is for the oldest task that has waited
    /// for [`ClaimRules::ageing`](crate::settings::ClaimRules::ageing) behind higher priorities.
    /// A task that requires capabilities is for workers that have all of them, by what they told at their
    /// last heartbeat; one that prefers a worker is for others only once it was due for
    /// [`ClaimRules::preferred_grace`](crate::settings::ClaimRules::preferred_grace). Such tasks are in
    /// nobody else's way.
    /// [`StorageError::OverBudget`] if there is no room for the results of attempts.
    async fn claim(
        &self,
        worker: WorkerId,
        slots: u32,
        order: ClaimOrder,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StorageError>;

    /// Records how attempts ended. Each is fenced: only the current holder of a running task can
    /// end it; everybody else gets [`Finished::Stale`] and changes nothing. A task with a requested
    /// cancel ends cancelled, however its attempt ended; its result, if any, is kept. A retry whose
    /// attempts are used up ends failed. A retry after
    /// [`FailureKind::Lost`](cofferdam_domain::attempt::FailureKind::Lost), with which a host that
    /// ends gives a task back, is treated as a loss is by [`Tasks::rescue`].
    /// [`Next::GiveBack`](cofferdam_domain::claim::Next::GiveBack) takes the claim back: the
    /// attempt is neither counted nor recorded, and the task keeps its `run_at`.
    /// [`Next::Postpone`](cofferdam_domain::claim::Next::Postpone) does the same and sets `run_at`,
    /// if that is later. [`StorageError::TooLarge`], [`StorageError::Refused`],
    /// [`StorageError::Corrupt`] and [`StorageError::Full`] may concern a single end: the other
    /// ends are recorded if they are offered without it.
    ///
    /// With an heir, what these ends release of workflows is claimed for it in the same transaction, as far as it has
    /// slots and nothing else would have its turn before: if tasks of one tenant alone wait, nothing is bounded, and
    /// nothing of a higher priority waits.
    async fn record(
        &self,
        ends: Vec<AttemptEnd>,
        heir: Option<Heir>,
    ) -> Result<Recorded, StorageError>;

    /// The same without an heir.
    async fn finish(&self, ends: Vec<AttemptEnd>) -> Result<Vec<Finished>, StorageError> {
        Ok(self.record(ends, None).await?.finished)
    }

    /// Records the newest progress of running attempts; stale fences are ignored.
    async fn report_progress(
        &self,
        reports: Vec<Progress>,
        now: Timestamp,
    ) -> Result<(), StorageError>;

    /// Asks for the end of a task: a blocked or pending one is cancelled at once, a running one is
    /// marked for its worker.
    async fn cancel(
        &self,
        whose: &Whose,
        id: TaskId,
        now: Timestamp,
    ) -> Result<Cancelled, StorageError>;

    /// Makes a failed or cancelled task pending again, with as many further attempts as it had at
    /// first and its losses forgotten.
    async fn retry(
        &self,
        whose: &Whose,
        id: TaskId,
        now: Timestamp,
    ) -> Result<Retried, StorageError>;

    /// [`Tasks::cancel`] for several tasks, in one or two commits.
    async fn cancel_all(
        &self,
        whose: &Whose,
        ids: Vec<TaskId>,
        now: Timestamp,
    ) -> Result<Vec<Cancelled>, StorageError>;

    /// [`Tasks::retry`] for several tasks, in one commit.
    async fn retry_all(
        &self,
        whose: &Whose,
        ids: Vec<TaskId>,
        now: Timestamp,
    ) -> Result<Vec<Retried>, StorageError>;

    /// The running tasks of `worker` with a requested cancel, from any host.
    async fn cancel_requests(&self, worker: WorkerId) -> Result<Vec<TaskId>, StorageError>;

    /// Every running task of `worker`, with the fence of its claim.
    async fn held(&self, worker: WorkerId) -> Result<Vec<HeldTask>, StorageError>;

    /// The earliest moment, past or future, at which `worker` may claim a pending task; one that has no room for now does not
    /// count. Where very many tenants or bounded modules wait, some may be left out.
    async fn next_run_at(&self, worker: WorkerId) -> Result<Option<Timestamp>, StorageError>;

    /// Records that a worker is alive and what it tells of itself, and returns what it was asked to do.
    async fn heartbeat(&self, beat: Beat, now: Timestamp) -> Result<Asked, StorageError>;

    /// Asks a worker to take no more tasks, or to take them again. It hears of that at its next
    /// heartbeat. `None` if there is no such worker.
    async fn ask_to_drain(
        &self,
        worker: WorkerId,
        drain: bool,
    ) -> Result<Option<Worker>, StorageError>;

    /// Counts what tenants have used of their CPU time on that day, a number of days since 1970, in microseconds,
    /// and returns what each has used on it at all hosts. Days before the last are forgotten.
    async fn use_cpu(
        &self,
        day: i64,
        used: Vec<(Tenant, u64)>,
    ) -> Result<Vec<(Tenant, u64)>, StorageError>;

    /// From now on no claim of this process takes tasks of these tenants, and those of all others as before; nor
    /// are they asked for by [`Tasks::next_run_at`]. Tells whether that is a change. It is kept in memory.
    fn hold_back(&self, tenants: HashSet<Tenant>) -> bool;

    /// Takes running tasks from workers that have ended or have not been heard of since `dead_before`
    /// (or ever), except from `me`. Each loss is recorded as an attempt that ended `lost`; the task becomes
    /// pending again, with one attempt more allowed, until it was lost more than its policy's
    /// `max_lost` times, then failed; one with a requested cancel ends cancelled.
    async fn rescue(
        &self,
        me: WorkerId,
        dead_before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Rescued>, StorageError>;

    /// Removes final tasks that finished before `finished_before`, oldest first, and those beyond
    /// the newest `keep_max`; then idempotency and dedup keys past their time, module versions that
    /// nothing refers to, and workers that have no task and have been silent for [`WORKERS_KEPT`]. At
    /// most `limit` tasks a call.
    async fn prune(
        &self,
        finished_before: Timestamp,
        keep_max: u64,
        limit: u32,
        now: Timestamp,
    ) -> Result<Pruned, StorageError>;

    /// Removes one final task at once, whatever its age: its result, its attempts and what they wrote.
    /// Its idempotency and dedup keys are free again.
    async fn purge(&self, whose: &Whose, id: TaskId) -> Result<Purged, StorageError>;

    /// Removes up to `limit` final tasks of a tenant, as [`Tasks::purge`] removes one.
    async fn purge_some(&self, tenant: &Tenant, limit: u32) -> Result<Pruned, StorageError>;

    /// The owners of files that storage does not know: inputs that no task refers to, and ids that
    /// no task has.
    async fn orphans(
        &self,
        blobs: Vec<BlobId>,
        tasks: Vec<TaskId>,
    ) -> Result<Orphans, StorageError>;
}

/// The result of inserting a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored.
    New,
    /// An earlier task takes its place: same id or idempotency key, same request.
    Repeated(TaskId),
    /// An earlier task holds its dedup key.
    Deduplicated(TaskId),
}

/// The result of inserting a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsertedBatch {
    /// The batch: the new one, or an earlier one that takes its place.
    pub id: BatchId,
    /// Its tasks in the order of the request. A task that an earlier one takes the place of is named
    /// by that one's id, and is not counted in the batch.
    pub tasks: Vec<TaskId>,
    /// How many tasks are new; none where an earlier batch was found.
    pub new_tasks: u32,
    /// Whether the batch is new.
    pub is_new: bool,
}

impl InsertedBatch {
    pub(crate) fn new(id: BatchId, asked: &[NewTask], inserted: &[Inserted]) -> InsertedBatch {
        let became = |(task, inserted): (&NewTask, &Inserted)| match inserted {
            Inserted::New => task.id,
            Inserted::Repeated(earlier) | Inserted::Deduplicated(earlier) => *earlier,
        };
        let new = inserted.iter().filter(|became| **became == Inserted::New);
        InsertedBatch {
            id,
            new_tasks: u32::try_from(new.count()).unwrap_or(u32::MAX),
            tasks: asked.iter().zip(inserted).map(became).collect(),
            is_new: true,
        }
    }

    pub(crate) fn earlier(id: BatchId, tasks: Vec<TaskId>) -> InsertedBatch {
        InsertedBatch {
            id,
            tasks,
            new_tasks: 0,
            is_new: false,
        }
    }
}

/// How long a worker is listed after it was last heard of.
pub const WORKERS_KEPT: Duration = Duration::from_secs(60 * 60);

/// What a worker was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// It shall take no more tasks.
    pub drain: bool,
}

/// A task that a worker runs, as storage has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldTask {
    /// The task.
    pub task_id: TaskId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The claim it runs under.
    pub fence: Fence,
}

/// The result of recording an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It is the attempt's one recorded outcome; the task is in this state.
    Recorded(TaskState),
    /// Another worker holds the task, or it is final.
    Stale,
}

/// How far a running attempt has come.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The task.
    pub task_id: TaskId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The claim it runs under.
    pub fence: Fence,
    /// 0 to 1.
    pub fraction: f64,
    /// The guest's note.
    pub note: String,
}

impl Progress {
    /// The fraction as it is kept: from 0 to 1, and 0 in place of what is not a number.
    pub(crate) fn kept_fraction(&self) -> f64 {
        match self.fraction.is_finite() {
            true => self.fraction.clamp(0.0, 1.0),
            false => 0.0,
        }
    }
}

/// The answer to a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It had not begun, and will not begin.
    AtOnce,
    /// It runs, and is marked for its worker.
    Requested(WorkerId),
    /// It was already final.
    Final(TaskState),
    /// There is no such task.
    Unknown,
}

/// The answer to a retry by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It is pending again.
    Pending,
    /// Only a failed or cancelled task can be retried.
    NotFailed(TaskState),
    /// It has had as many attempts as storage can number.
    Exhausted,
    /// It is a node of that workflow, which is tried again instead.
    OfWorkflow(WorkflowId),
    /// There is no such task.
    Unknown,
}

/// A task taken from a dead worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescued {
    /// The task.
    pub task_id: TaskId,
    /// Its state now: pending, failed or cancelled.
    pub state: TaskState,
}

/// What a prune removed.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// The tasks, whose artifacts can go.
    pub tasks: Vec<TaskId>,
    /// Spooled inputs that nothing refers to.
    pub blobs: Vec<BlobId>,
    /// Module versions that nothing refers to.
    pub modules: Vec<Digest>,
}

/// The answer to a purge.
#[derive(Clone, Debug)]
pub enum Purged {
    /// It is gone; its files can go too.
    Removed(Pruned),
    /// It waits or runs.
    NotFinal(TaskState),
    /// It is a node of that workflow, and goes with it.
    OfWorkflow(WorkflowId),
    /// There is no such task.
    Unknown,
}

/// Owners of files that storage does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Spooled inputs no task refers to.
    pub blobs: Vec<BlobId>,
    /// Ids that no task has.
    pub tasks: Vec<TaskId>,
}

/// An output is kept beside the rows from this length on.
const LARGE_OUTPUT_BYTES: usize = 1 << 20;

/// The output of an attempt, if it is too large for its row: recording such an end takes its time.
pub fn large_output(end: &AttemptEnd) -> Option<&Bytes> {
    match &end.outcome {
        Outcome::Completed(payload) => {
            Some(&payload.body).filter(|body| body.len() >= LARGE_OUTPUT_BYTES)
        }
        Outcome::Failed(_) => None,
    }
}
