//! What is to be told of tasks, batches and workflows that ended, and what became of telling it.

use async_trait::async_trait;

use crate::StorageError;
use cofferdam_domain::batch::BatchId;
use cofferdam_domain::callback::event::{EventId, Subject};
use cofferdam_domain::callback::{Callback, CallbackUrl, Lane, Told};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::secret::SecretName;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

/// Ends of one task, batch or workflow that are kept; each retry by hand makes another. PostgreSQL's functions know it too.
pub(crate) const ENDS_KEPT: u32 = 16;

/// The ends of tasks, batches and workflows that somebody is told. Whatever makes a task or a workflow final that has
/// a callback for that end also makes its delivery, in the same transaction; so does whatever makes the last task of a
/// batch final. A batch ends as the worst of its tasks. Deliveries go with what ended. Durable as
/// [`Tasks`](crate::Tasks) are.
#[async_trait]
pub trait Callbacks: Send + Sync + 'static {
    /// Up to `limit` lanes in which something is to be delivered, in their order, those behind `after`, and
    /// when the first of each is due. What somebody has taken is due when his time for it is over.
    async fn delivery_lanes(
        &self,
        after: Option<&Lane>,
        limit: u32,
    ) -> Result<Vec<(Lane, Timestamp)>, StorageError>;

    /// Takes up to `limit` deliveries of a lane that are due at `now`, longest due first. Nobody else
    /// gets them before `until`.
    async fn take_deliveries(
        &self,
        lane: &Lane,
        limit: u32,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Delivery>, StorageError>;

    /// Records what became of one that was taken; false, and nothing happens, if somebody else has taken
    /// it since, or what ended was removed.
    async fn settle_delivery(&self, hold: Hold, tried: Tried) -> Result<bool, StorageError>;

    /// A callback, and how far telling its newest end has come if there was such an end.
    async fn callback(
        &self,
        whose: &Whose,
        of: Subject,
    ) -> Result<Option<(Callback, Option<Told>)>, StorageError>;

    /// Has a newest end told again, whatever became of it, with as much time for it as at first.
    async fn tell_again(
        &self,
        whose: &Whose,
        of: Subject,
        now: Timestamp,
    ) -> Result<ToldAgain, StorageError>;

    /// How many ends are to be told, and how many were given up.
    async fn delivery_counts(&self, whose: &Whose) -> Result<DeliveryCounts, StorageError>;
}

/// One end to be told, taken by whoever has this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What settles it.
    pub hold: Hold,
    /// Its name.
    pub event: EventId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Where it is sent.
    pub url: CallbackUrl,
    /// The secret it is signed with.
    pub secret: Option<SecretName>,
    /// How the task or the workflow ended, or the worst of the batch's tasks.
    pub state: TaskState,
    /// The task's attempts until then; none for a batch; the number of the workflow's run.
    pub attempt: u32,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Since when it is told.
    pub since: Timestamp,
    /// Tries so far.
    pub tries: u32,
}

/// Who holds a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    pub(crate) seq: i64,
    pub(crate) number: u32,
    pub(crate) claim: i64,
}

/// The `seq` of a batch's callback: below 0, where no task's is. A batch's id has as many random bits.
pub(crate) fn seq_of(batch: BatchId) -> i64 {
    let (_, random) = batch.0.as_u64_pair();
    -1 - (random.cast_signed() & i64::MAX)
}

/// The `seq` of a workflow's callback is that of the workflow above this one, where no task's is. The statements of
/// both databases know it too.
pub(crate) const WORKFLOWS: i64 = 1 << 62;

/// What became of a delivery that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It was not tried; it is due then.
    Held(Timestamp),
    /// It arrived.
    Delivered {
        /// What was answered.
        status: u16,
    },
    /// It did not arrive.
    Missed {
        /// What was answered, if anything was.
        status: Option<u16>,
        /// Why it did not.
        error: String,
        /// When it is tried again; it is given up if never.
        next: Option<Timestamp>,
    },
}

/// The result of telling an end again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToldAgain {
    /// It is due.
    Due(Told),
    /// It is being told at this moment.
    UnderWay(Told),
    /// It has not ended in a way that is told, or has no callback; the state is a task's.
    Nothing(Option<TaskState>),
    /// There is no such task, batch or workflow.
    Unknown,
}

/// How many ends there are, each figure as far as [`DeliveryCounts::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Ends to be told.
    pub pending: u64,
    /// Ends that were given up, and whose tasks, batches and workflows are kept.
    pub failed: u64,
}

impl DeliveryCounts {
    /// No more are counted.
    pub const MAX: u32 = 100_000;
}
