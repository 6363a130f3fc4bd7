//! The durable layer: tasks, attempts and modules, behind one trait that two databases implement.
//!
//! The docs of [`Storage`] are the contract and `storage/conformance.rs` holds it for every
//! backend. What is not here: no policy (who may submit, what is retried when), no clock (`now` is
//! always an argument), no guest. Large bytes that belong in files are in [`files`].

pub mod backup;
mod blobs;
#[cfg(test)]
pub(crate) mod conformance;
pub mod files;
pub mod settings;
pub mod sqlite;

use async_trait::async_trait;
use bytes::Bytes;

use cofferdam_domain::attempt::{Attempt, Captured, Fence, Payload, Stream, WorkerId};
use cofferdam_domain::claim::{AttemptEnd, Claim};
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleName, ModuleRef};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{BlobId, ClaimOrder, NewTask, Priority, Task, TaskId, TaskSpec};
use cofferdam_domain::time::Timestamp;

/// What the queue, the registry and the readers need of a database.
///
/// Every method that writes returns only after its effect is durable (committed and synced).
/// Calls from one task are applied in the order they were made; calls of different tasks may share
/// one commit. `Err` means that nothing of the call happened, except for
/// [`StorageError::Unknown`].
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Stores `wasm` under its digest and makes `name` mean it from now on.
    /// Twice the same bytes: [`PutModule::Unchanged`], and nothing is written.
    async fn put_module(
        &self,
        name: &ModuleName,
        info: &ModuleInfo,
        wasm: Bytes,
        now: Timestamp,
    ) -> Result<PutModule, StorageError>;

    /// The module a name means now, or the pinned version if that version was ever put under this
    /// name and is still kept.
    async fn find_module(
        &self,
        reference: &ModuleRef,
    ) -> Result<Option<StoredModule>, StorageError>;

    /// Modules by name, ascending, after `after`.
    async fn list_modules(
        &self,
        after: Option<&ModuleName>,
        limit: u32,
    ) -> Result<Vec<StoredModule>, StorageError>;

    /// Every version ever put under `name` that is still kept, newest first.
    async fn module_versions(&self, name: &ModuleName) -> Result<Vec<StoredModule>, StorageError>;

    /// What is known of a version, whatever its name.
    async fn module_info(&self, digest: &Digest) -> Result<Option<ModuleInfo>, StorageError>;

    /// The bytes as uploaded.
    async fn module_wasm(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError>;

    /// Forgets `name` and its versions. Versions that tasks still refer to stay loadable by
    /// digest until those tasks are pruned. False if there was no such name.
    async fn remove_module(&self, name: &ModuleName) -> Result<bool, StorageError>;

    /// Stores the tasks of one submission, all or none, whatever calls share its commit. A task
    /// whose idempotency key, id or held dedup key is taken already is not stored again; its place
    /// in the answer says which task stands for it. The same holds between the tasks of one call,
    /// in their order. An idempotency key is taken as long as its task is kept, a dedup key as long
    /// as its window lasts and its task is kept.
    /// [`StorageError::Conflict`] if one of them claims the id or idempotency key of a different
    /// request, be it of an earlier call or of this one.
    /// [`StorageError::ModuleGone`] if one of them is to run a version that is not kept.
    /// [`StorageError::OverBudget`] if the database is as large as it may be.
    /// [`StorageError::QueueFull`] if a new task would make more than `pending_max` wait, pending
    /// and blocked ones together; what repeats an earlier request is answered even then.
    async fn insert_tasks(
        &self,
        tasks: Vec<NewTask>,
        pending_max: u64,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, StorageError>;

    /// One task.
    async fn task(&self, id: TaskId) -> Result<Option<Task>, StorageError>;

    /// What was submitted.
    async fn task_spec(&self, id: TaskId) -> Result<Option<TaskSpec>, StorageError>;

    /// Tasks, newest first (or, with `since`, oldest change first). Newest is what was stored last.
    /// A page may be short or empty although there is a next one: what no index finds is looked
    /// for among so many tasks a call. Each change that was committed before a call is in that
    /// answer or one of its next pages, unless the task has changed again since.
    async fn tasks(&self, filter: &TaskFilter, limit: u32) -> Result<TaskPage, StorageError>;

    /// The output of a completed task; `None` for any other.
    async fn result(&self, id: TaskId) -> Result<Option<Payload>, StorageError>;

    /// A stream of one finished attempt, the newest if `attempt` is absent.
    async fn stream(
        &self,
        id: TaskId,
        attempt: Option<u32>,
        stream: Stream,
    ) -> Result<Option<Captured>, StorageError>;

    /// Every finished attempt, in order.
    async fn attempts(&self, id: TaskId) -> Result<Vec<Attempt>, StorageError>;

    /// Takes up to `slots` pending tasks whose `run_at` has come, in priority order and inside one
    /// priority by `order`, counts an attempt for each and gives each a fresh fence.
    /// [`StorageError::OverBudget`] if what the attempts would give has no place any more.
    async fn claim(
        &self,
        worker: WorkerId,
        slots: u32,
        order: ClaimOrder,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StorageError>;

    /// Records how attempts ended. Each is fenced: only the current holder of a running task is
    /// heard, everybody else gets [`Finished::Stale`] and changes nothing. A task that was asked to
    /// be cancelled ends cancelled, whatever its attempt came to; a result is not kept then. A
    /// retry whose attempts are used up ends failed. A retry after [`FailureKind::Lost`](cofferdam_domain::attempt::FailureKind::Lost), with
    /// which a host that ends gives a task back, is treated as a loss is by [`Storage::rescue`].
    /// [`Next::GiveBack`](cofferdam_domain::claim::Next::GiveBack) takes the claim back: the attempt
    /// is neither counted nor recorded, and the task keeps its `run_at`.
    /// [`StorageError::TooLarge`], [`StorageError::Refused`], [`StorageError::Corrupt`] and
    /// [`StorageError::Full`] may concern a single end: the others are recorded if they are offered
    /// without it.
    async fn finish(&self, ends: Vec<AttemptEnd>) -> Result<Vec<Finished>, StorageError>;

    /// Records the newest progress of running attempts; stale fences are ignored.
    async fn report_progress(
        &self,
        reports: Vec<Progress>,
        now: Timestamp,
    ) -> Result<(), StorageError>;

    /// Asks for the end of a task: a blocked or pending one is cancelled at once, a running one is
    /// marked for its worker.
    async fn cancel(&self, id: TaskId, now: Timestamp) -> Result<Cancelled, StorageError>;

    /// Makes a failed or cancelled task pending again, with as many further attempts as it had at
    /// first and its losses forgotten.
    async fn retry(&self, id: TaskId, now: Timestamp) -> Result<Retried, StorageError>;

    /// The running tasks of `worker` that were asked to be cancelled, by whichever host.
    async fn cancel_requests(&self, worker: WorkerId) -> Result<Vec<TaskId>, StorageError>;

    /// The earliest `run_at` of a pending task, past or future.
    async fn next_run_at(&self) -> Result<Option<Timestamp>, StorageError>;

    /// Says that this incarnation is alive.
    async fn heartbeat(&self, worker: WorkerId, now: Timestamp) -> Result<(), StorageError>;

    /// Takes running tasks from workers that have not been heard of since `dead_before` (or ever),
    /// except from `me`. Each loss is recorded as an attempt that ended `lost`; the task becomes
    /// pending again, with one attempt more allowed, until it was lost more than its policy's
    /// `max_lost` times, then failed; one that was asked to be cancelled ends cancelled.
    async fn rescue(
        &self,
        me: WorkerId,
        dead_before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Rescued>, StorageError>;

    /// Removes final tasks that finished before `finished_before`, oldest first, and those beyond
    /// the newest `keep_max`; then idempotency and dedup keys past their time and module versions
    /// nothing refers to. At most `limit` tasks a call.
    async fn prune(
        &self,
        finished_before: Timestamp,
        keep_max: u64,
        limit: u32,
        now: Timestamp,
    ) -> Result<Pruned, StorageError>;

    /// Removes one final task at once, whatever its age: its result, its attempts and what they wrote.
    /// Its idempotency and dedup keys are free again.
    async fn purge(&self, id: TaskId) -> Result<Purged, StorageError>;

    /// Of these files' owners, those it does not know: inputs no task refers to, and tasks there
    /// are none of.
    async fn orphans(
        &self,
        blobs: Vec<BlobId>,
        tasks: Vec<TaskId>,
    ) -> Result<Orphans, StorageError>;

    /// How many tasks there are in each state; kept as counters, not counted.
    async fn counts(&self) -> Result<Counts, StorageError>;

    /// Whether the database answers and can write.
    async fn ping(&self) -> Result<(), StorageError>;
}

/// Why a call to storage gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// An id or idempotency key belongs to a different request already.
    #[error("an earlier, different request has this id or idempotency key: task {0}")]
    Conflict(TaskId),
    /// As many tasks wait as are allowed to.
    #[error("{pending} tasks wait already; the limit is {limit}")]
    QueueFull {
        /// Tasks waiting.
        pending: u64,
        /// The most that may.
        limit: u64,
    },
    /// The version that a task was to run was removed since its name was looked up.
    #[error("the module {0} is no longer kept")]
    ModuleGone(Digest),
    /// What was to be written is larger than a row may be; no room makes up for that.
    #[error("too large to be stored: {0}")]
    TooLarge(String),
    /// What was to be written contradicts a rule of the schema. That is a bug of this host, and it
    /// concerns this one row.
    #[error("the database refuses this: {0}")]
    Refused(String),
    /// The disk, or the budget for the data directory, has no room left.
    #[error("storage is full: {0}")]
    Full(String),
    /// The database has as many bytes as it may.
    #[error("the database has {used_bytes} bytes; the limit is {budget_bytes}")]
    OverBudget {
        /// Bytes in use.
        used_bytes: u64,
        /// The most that may be.
        budget_bytes: u64,
    },
    /// A read took longer than the operator allows.
    #[error("the read took too long and was given up")]
    TooSlow,
    /// The database cannot be reached or refuses to work.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// The answer to a commit was lost: the effect may or may not have happened.
    #[error("the outcome of the last commit is unknown: {0}")]
    Unknown(String),
    /// What was read makes no sense.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
}

/// What became of a module that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutModule {
    /// The name is new or means other bytes than before.
    Created,
    /// The name meant these bytes already.
    Unchanged,
}

/// A module version under a name.
#[derive(Clone, Debug)]
pub struct StoredModule {
    /// The name.
    pub name: ModuleName,
    /// The version.
    pub info: ModuleInfo,
    /// When it was put under this name.
    pub created_at: Timestamp,
}

/// What became of a task that was inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored.
    New,
    /// An earlier task stands for it: same id or idempotency key, same request.
    Repeated(TaskId),
    /// An earlier task holds its dedup key.
    Deduplicated(TaskId),
}

/// What became of a recorded end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It is the attempt's one recorded outcome; the task is in this state now.
    Recorded(TaskState),
    /// Somebody else holds the task, or it is final.
    Stale,
}

/// How far a running attempt has come.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The task.
    pub task_id: TaskId,
    /// The claim it runs under.
    pub fence: Fence,
    /// 0 to 1.
    pub fraction: f64,
    /// The guest's note.
    pub note: String,
}

/// The answer to a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It had not begun, and never will.
    AtOnce,
    /// It runs; its worker was told.
    Requested(WorkerId),
    /// It was final already.
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
    /// There is no such task.
    Unknown,
}

/// A task taken from a dead worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescued {
    /// The task.
    pub task_id: TaskId,
    /// Where it stands now: pending, failed or cancelled.
    pub state: TaskState,
}

/// What a prune removed.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// The tasks, whose artifacts can go.
    pub tasks: Vec<TaskId>,
    /// Spooled inputs nothing refers to any more.
    pub blobs: Vec<BlobId>,
    /// Module versions nothing refers to any more.
    pub modules: Vec<Digest>,
}

/// The answer to a purge.
#[derive(Clone, Debug)]
pub enum Purged {
    /// It is gone; its files can go too.
    Removed(Pruned),
    /// It waits or runs.
    NotFinal(TaskState),
    /// There is no such task.
    Unknown,
}

/// Owners of files that storage does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Spooled inputs no task refers to.
    pub blobs: Vec<BlobId>,
    /// Tasks there are none of.
    pub tasks: Vec<TaskId>,
}

/// Which tasks to list.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// Only those in one of these states; all if empty.
    pub states: Vec<TaskState>,
    /// Only those of this module.
    pub module: Option<ModuleName>,
    /// Only those of this priority.
    pub priority: Option<Priority>,
    /// Only those changed since, oldest change first.
    pub since: Option<Since>,
    /// Only those after this place in the list.
    pub after: Option<ListPosition>,
}

/// From where on changes are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Those after this one.
    Change(ChangeNumber),
    /// Those dated at this instant or later. Changes are dated by whoever asks for them, a moment
    /// before they are committed: what must not be missed is asked for by number.
    Time(Timestamp),
}

/// The number of a change: one more for each change of any task, in the order of their commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeNumber(pub i64);

/// A place in a list of tasks; it means something to the same kind of list only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPosition(pub i64);

/// Some tasks of a list.
#[derive(Clone, Debug)]
pub struct TaskPage {
    /// The tasks, in order.
    pub tasks: Vec<Task>,
    /// Where the next page begins; absent on the last.
    pub next: Option<ListPosition>,
    /// Every change up to this one is in this answer or the earlier pages, as far as it was asked
    /// for.
    pub as_of: ChangeNumber,
    /// The newest change of any task.
    pub newest: ChangeNumber,
}

impl Counts {
    /// How many there are in one state.
    pub fn of(&self, state: TaskState) -> u64 {
        match state {
            TaskState::Blocked => self.blocked,
            TaskState::Pending => self.pending,
            TaskState::Running => self.running,
            TaskState::Completed => self.completed,
            TaskState::Failed => self.failed,
            TaskState::Cancelled => self.cancelled,
        }
    }
}

/// How many tasks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting for parents.
    pub blocked: u64,
    /// Waiting to be claimed, now or later.
    pub pending: u64,
    /// In the hands of a worker.
    pub running: u64,
    /// Final.
    pub completed: u64,
    /// Final.
    pub failed: u64,
    /// Final.
    pub cancelled: u64,
}
