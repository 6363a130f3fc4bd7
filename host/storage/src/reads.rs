//! Queries about tasks: one task, lists of them, their results and their counts.

use async_trait::async_trait;

use crate::StorageError;
use cofferdam_domain::attempt::{Attempt, Captured, FailureKind, Payload, Stream, WorkerId};
use cofferdam_domain::batch::BatchId;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::label::Label;
use cofferdam_domain::module::ModuleName;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Priority, Task, TaskId, TaskSpec};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::Worker;

/// Queries about tasks. What belongs to another tenant than a call says is as if it did not exist; workers
/// belong to nobody. A caller whose change was answered reads its own write.
#[async_trait]
pub trait Reads: Send + Sync + 'static {
    /// One task.
    async fn task(&self, whose: &Whose, id: TaskId) -> Result<Option<Task>, StorageError>;

    /// Those of these tasks that there are, in any order, whosever they are.
    async fn some_tasks(&self, ids: Vec<TaskId>) -> Result<Vec<Task>, StorageError>;

    /// What was submitted.
    async fn task_spec(&self, whose: &Whose, id: TaskId) -> Result<Option<TaskSpec>, StorageError>;

    /// Tasks of a tenant, newest first (or, with `since`, oldest change first). The newest task is the one
    /// stored last. A page may be short or empty although there is a next one: a filter without an
    /// index searches a bounded number of tasks in each call. Each change that was committed before
    /// a call is in that answer or one of its next pages, unless the task has changed again since,
    /// or the answer's `as_of` is below its `newest`: then a list from `as_of` on has it.
    async fn tasks(
        &self,
        tenant: &Tenant,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<TaskPage, StorageError>;

    /// The ids of tasks of a tenant, newest first; a page may be short or empty as one of [`Reads::tasks`]. The
    /// filter's `since` is ignored.
    async fn task_ids(
        &self,
        tenant: &Tenant,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<IdPage, StorageError>;

    /// One batch, with its tasks counted; at most as many as a batch can have.
    async fn batch(&self, whose: &Whose, id: BatchId) -> Result<Option<Batch>, StorageError>;

    /// The tasks of a batch that are not final. Those that wait for a place come first: cancelled in
    /// this order, they let none in.
    async fn open_tasks(&self, whose: &Whose, id: BatchId) -> Result<Vec<TaskId>, StorageError>;

    /// The output of a completed task, or of a cancelled one whose guest still gave it; `None` for
    /// any other.
    async fn result(&self, whose: &Whose, id: TaskId) -> Result<Option<Payload>, StorageError>;

    /// A stream of one finished attempt, the newest if `attempt` is absent.
    async fn stream(
        &self,
        whose: &Whose,
        id: TaskId,
        attempt: Option<u32>,
        stream: Stream,
    ) -> Result<Option<Captured>, StorageError>;

    /// One finished attempt, the newest if `number` is absent.
    async fn attempt(
        &self,
        whose: &Whose,
        id: TaskId,
        number: Option<u32>,
    ) -> Result<Option<Attempt>, StorageError>;

    /// The first `limit` finished attempts after that of the number `after`, in order. Each can be
    /// large: it has the paths of all files that it left.
    async fn attempts(
        &self,
        whose: &Whose,
        id: TaskId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Attempt>, StorageError>;

    /// One worker.
    async fn worker(&self, id: WorkerId) -> Result<Option<Worker>, StorageError>;

    /// The first `limit` workers after the one with the id `after`, in the order of their ids; those
    /// that have ended are among them for [`WORKERS_KEPT`](crate::WORKERS_KEPT).
    async fn workers(
        &self,
        after: Option<WorkerId>,
        limit: u32,
    ) -> Result<Vec<Worker>, StorageError>;

    /// How many tasks there are in each state, from stored counters.
    async fn counts(&self, whose: &Whose) -> Result<Counts, StorageError>;

    /// What a tenant has, from stored counters.
    async fn holdings(&self, tenant: &Tenant) -> Result<Holdings, StorageError>;

    /// Bytes of the database and of what is beside it, and the most that may be; `None` where no setting bounds them.
    async fn database_bytes(&self) -> Result<Option<(u64, u64)>, StorageError>;

    /// Whether the database answers, and can be written to.
    async fn ping(&self) -> Result<(), StorageError>;
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
    /// Only those that have one of these labels.
    pub labels: Option<Labelled>,
    /// Only those that show a failure of one of these kinds, that of their newest attempt which has
    /// ended; any and none if empty.
    pub error_kinds: Vec<FailureKind>,
    /// Only those whose metadata has all of these members: a name, and the value as text. A member
    /// that is a text is compared as it is, a number, `true`, `false` and `null` as JSON writes them,
    /// and an array or an object is never equal.
    pub metadata: Vec<(String, String)>,
    /// Only those changed since, oldest change first.
    pub since: Option<Since>,
    /// Only those after this place in the list.
    pub after: Option<ListPosition>,
}

/// Labels, and the moment at which tasks have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// Any of these.
    pub any: Vec<Label>,
    /// At this moment.
    pub now: Timestamp,
}

/// From where on changes are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Those after this one.
    Change(ChangeNumber),
    /// Those dated at this instant or later. The caller of a change dates it a moment before it is
    /// committed, so a client that must not miss a change asks by number.
    Time(Timestamp),
}

/// The number of a change: greater for each change of any task, in an order in which no change is
/// ever added before one that was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeNumber(pub i64);

/// A place in a list of tasks; it is valid only for the same kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPosition(pub i64);

/// Some tasks of a list.
#[derive(Clone, Debug)]
pub struct TaskPage {
    /// The tasks, in order.
    pub tasks: Vec<Task>,
    /// Where the next page begins; absent on the last.
    pub next: Option<ListPosition>,
    /// Every change up to this one that passes the filter is in this answer or the earlier pages.
    /// It is below `newest` if another transaction may still add a change before that one.
    pub as_of: ChangeNumber,
    /// The newest change of any task, whosever it is.
    pub newest: ChangeNumber,
}

/// Some ids of a list.
#[derive(Clone, Debug)]
pub struct IdPage {
    /// The tasks, in order.
    pub ids: Vec<TaskId>,
    /// Where the next page begins; absent on the last.
    pub next: Option<ListPosition>,
}

/// A batch as it is known.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// How many of its tasks may be under way at once; any number if absent.
    pub parallelism: Option<u32>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// How many new tasks it brought; those that were removed since are in no count.
    pub tasks: u64,
    /// How many of them there are in each state.
    pub counts: Counts,
}

/// What a tenant has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Tasks that wait.
    pub waiting: u64,
    /// Bytes of its modules, and of the inputs and what is left of its tasks.
    pub kept_bytes: u64,
}

/// How many tasks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting for parents.
    pub blocked: u64,
    /// Waiting to be claimed, now or later.
    pub pending: u64,
    /// Claimed by a worker.
    pub running: u64,
    /// Final.
    pub completed: u64,
    /// Final.
    pub failed: u64,
    /// Final.
    pub cancelled: u64,
}

impl Counts {
    /// The count of one state, to be changed.
    pub(crate) fn of_mut(&mut self, state: TaskState) -> &mut u64 {
        match state {
            TaskState::Blocked => &mut self.blocked,
            TaskState::Pending => &mut self.pending,
            TaskState::Running => &mut self.running,
            TaskState::Completed => &mut self.completed,
            TaskState::Failed => &mut self.failed,
            TaskState::Cancelled => &mut self.cancelled,
        }
    }

    /// How many there are in all.
    pub fn all(&self) -> u64 {
        TaskState::ALL.iter().map(|state| self.of(*state)).sum()
    }

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
