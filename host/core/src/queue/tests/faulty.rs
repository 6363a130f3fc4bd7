//! A storage over the real one that fails where a plan says: before a call takes effect, after it
//! did, late, out of order, for one row of a batch, or for want of room.

mod reads;

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::batch::NewBatch;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::{AttemptEnd, Claim};
use cofferdam_domain::task::{BlobId, ClaimOrder, NewTask, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::{Beat, Worker};
use cofferdam_storage::{
    Asked, Bounds, Cancelled, Heir, HeldTask, Inserted, InsertedBatch, Orphans, Progress, Pruned,
    Purged, Reads, Recorded, Rescued, Retried, StorageError, Tasks,
};

/// The calls that a plan can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    Insert,
    Claim,
    Finish,
    Progress,
    Cancel,
    Retry,
    CancelRequests,
    Held,
    NextRunAt,
    Heartbeat,
    Rescue,
    Purge,
    Task,
}

impl Call {
    pub(super) const ALL: [Call; 13] = [
        Call::Insert,
        Call::Claim,
        Call::Finish,
        Call::Progress,
        Call::Cancel,
        Call::Retry,
        Call::CancelRequests,
        Call::Held,
        Call::NextRunAt,
        Call::Heartbeat,
        Call::Rescue,
        Call::Purge,
        Call::Task,
    ];

    fn writes(self) -> bool {
        match self {
            Call::Insert
            | Call::Claim
            | Call::Finish
            | Call::Progress
            | Call::Cancel
            | Call::Retry
            | Call::Heartbeat
            | Call::Rescue
            | Call::Purge => true,
            Call::CancelRequests | Call::Held | Call::NextRunAt | Call::Task => false,
        }
    }
}

/// What befalls a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing of it happens.
    Fails,
    /// It happens, and its answer is lost.
    Unanswered,
    /// It happens so many milliseconds late: what is called after it happens before.
    Delayed(u64),
    /// It happens once nothing fails any more.
    Waits,
    /// It happens at once and is answered so many milliseconds late.
    AnsweredLate(u64),
    /// The disk has no room for it and so many further calls that write.
    Full(u32),
    /// One end of its batch is refused, and that many more times. A call without a batch fails.
    Refused(u32),
}

/// A fault of the call that comes after so many others of its kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) call: Call,
    pub(super) after: u32,
    pub(super) fault: Fault,
}

/// The faults that are to come. They befall every host that uses the storage.
pub(super) struct Plan {
    course: Mutex<Course>,
    stopped: CancellationToken,
}

#[derive(Default)]
struct Course {
    planned: Vec<Planned>,
    made: BTreeMap<Call, u32>,
    full_for: u32,
    refused: Option<(TaskId, u32)>,
}

impl Plan {
    pub(super) fn of(planned: Vec<Planned>) -> Arc<Plan> {
        let course = Course {
            planned,
            ..Course::default()
        };
        Arc::new(Plan {
            course: Mutex::new(course),
            stopped: CancellationToken::new(),
        })
    }

    /// From now on nothing fails.
    pub(super) fn stop(&self) {
        let mut course = self.lock();
        *course = Course {
            made: std::mem::take(&mut course.made),
            ..Course::default()
        };
        self.stopped.cancel();
    }

    /// Plans a fault of the next call of that kind.
    pub(super) fn next(&self, call: Call, fault: Fault) {
        self.later(call, 0, fault);
    }

    /// Plans a fault of the call that comes after so many more of that kind.
    pub(super) fn later(&self, call: Call, others: u32, fault: Fault) {
        let mut course = self.lock();
        let after = others + course.made.get(&call).copied().unwrap_or(0);
        course.planned.push(Planned { call, after, fault });
    }

    /// How many calls of a kind were made.
    pub(super) fn made(&self, call: Call) -> u32 {
        self.lock().made.get(&call).copied().unwrap_or(0)
    }

    fn fault(&self, call: Call) -> Option<Fault> {
        let mut course = self.lock();
        let made = course.made.entry(call).or_default();
        let number = *made;
        *made += 1;
        if call.writes() && course.full_for > 0 {
            course.full_for -= 1;
            return Some(Fault::Full(0));
        }
        let mut planned = course.planned.iter();
        let found = planned.find(|planned| planned.call == call && planned.after == number);
        let fault = found?.fault;
        if let Fault::Full(calls) = fault {
            course.full_for = calls;
        }
        Some(fault)
    }

    /// Whether one of these ends is to be refused. `anew` names the first of them for so many times.
    fn refuses(&self, ends: &[AttemptEnd], anew: Option<u32>) -> bool {
        let mut course = self.lock();
        let lowest = ends.iter().map(|end| end.task_id).min();
        if let (Some(times), Some(id)) = (anew, lowest) {
            course.refused = Some((id, times));
        }
        let Some((id, left)) = course.refused else {
            return false;
        };
        if left == 0 || ends.iter().all(|end| end.task_id != id) {
            return false;
        }
        course.refused = Some((id, left - 1));
        true
    }

    fn lock(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap()
    }
}

/// One host's way to the storage.
pub(super) struct Faulty {
    pub(super) plan: Arc<Plan>,
    /// Set when that host is dead: none of its calls happens any more.
    dead: AtomicBool,
    tasks: Arc<dyn Tasks>,
    reads: Arc<dyn Reads>,
}

impl Faulty {
    pub(super) fn over(plan: &Arc<Plan>, tasks: &Arc<dyn Tasks>, reads: &Arc<dyn Reads>) -> Faulty {
        Faulty {
            plan: Arc::clone(plan),
            dead: AtomicBool::new(false),
            tasks: Arc::clone(tasks),
            reads: Arc::clone(reads),
        }
    }

    /// The host has died.
    pub(super) fn cut(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    async fn through<T>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StorageError>> + Send,
    ) -> Result<T, StorageError> {
        self.befall(self.plan.fault(call), work).await
    }

    async fn befall<T>(
        &self,
        fault: Option<Fault>,
        work: impl Future<Output = Result<T, StorageError>> + Send,
    ) -> Result<T, StorageError> {
        let why = || "as the plan says".to_owned();
        if self.is_cut() {
            return Err(StorageError::Unavailable("the host is dead".to_owned()));
        }
        match fault {
            None => work.await,
            Some(Fault::Fails | Fault::Refused(_)) => Err(StorageError::Unavailable(why())),
            Some(Fault::Full(_)) => Err(StorageError::Full(why())),
            Some(Fault::Unanswered) => match work.await {
                Ok(_lost) => Err(StorageError::Unknown(why())),
                Err(error) => Err(error),
            },
            Some(Fault::Delayed(ms)) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                match self.is_cut() {
                    true => Err(StorageError::Unavailable("the host is dead".to_owned())),
                    false => work.await,
                }
            }
            Some(Fault::Waits) => {
                self.plan.stopped.cancelled().await;
                work.await
            }
            Some(Fault::AnsweredLate(ms)) => {
                let answer = work.await;
                tokio::time::sleep(Duration::from_millis(ms)).await;
                answer
            }
        }
    }
}

#[async_trait]
impl Tasks for Faulty {
    async fn insert_tasks(
        &self,
        tasks: Vec<NewTask>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, StorageError> {
        let work = self.tasks.insert_tasks(tasks, bounds, now);
        self.through(Call::Insert, work).await
    }

    async fn insert_batch(
        &self,
        batch: NewBatch,
        tasks: Vec<NewTask>,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<InsertedBatch, StorageError> {
        let work = self.tasks.insert_batch(batch, tasks, bounds, now);
        self.through(Call::Insert, work).await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        slots: u32,
        order: ClaimOrder,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StorageError> {
        let work = self.tasks.claim(worker, slots, order, now);
        self.through(Call::Claim, work).await
    }

    async fn record(
        &self,
        ends: Vec<AttemptEnd>,
        heir: Option<Heir>,
    ) -> Result<Recorded, StorageError> {
        let fault = self.plan.fault(Call::Finish);
        let anew = if let Some(Fault::Refused(times)) = fault {
            Some(times)
        } else {
            None
        };
        if !self.is_cut() && self.plan.refuses(&ends, anew) {
            return Err(StorageError::Refused("as the plan says".to_owned()));
        }
        let record = self.tasks.record(ends, heir);
        self.befall(fault.filter(|_| anew.is_none()), record).await
    }

    async fn use_cpu(
        &self,
        day: i64,
        used: Vec<(Tenant, u64)>,
    ) -> Result<Vec<(Tenant, u64)>, StorageError> {
        self.befall(None, self.tasks.use_cpu(day, used)).await
    }

    fn hold_back(&self, tenants: HashSet<Tenant>) -> bool {
        self.tasks.hold_back(tenants)
    }

    async fn report_progress(
        &self,
        reports: Vec<Progress>,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let work = self.tasks.report_progress(reports, now);
        self.through(Call::Progress, work).await
    }

    async fn cancel(
        &self,
        whose: &Whose,
        id: TaskId,
        now: Timestamp,
    ) -> Result<Cancelled, StorageError> {
        self.through(Call::Cancel, self.tasks.cancel(whose, id, now))
            .await
    }

    async fn retry(
        &self,
        whose: &Whose,
        id: TaskId,
        now: Timestamp,
    ) -> Result<Retried, StorageError> {
        self.through(Call::Retry, self.tasks.retry(whose, id, now))
            .await
    }

    async fn cancel_all(
        &self,
        whose: &Whose,
        ids: Vec<TaskId>,
        now: Timestamp,
    ) -> Result<Vec<Cancelled>, StorageError> {
        self.through(Call::Cancel, self.tasks.cancel_all(whose, ids, now))
            .await
    }

    async fn retry_all(
        &self,
        whose: &Whose,
        ids: Vec<TaskId>,
        now: Timestamp,
    ) -> Result<Vec<Retried>, StorageError> {
        self.through(Call::Retry, self.tasks.retry_all(whose, ids, now))
            .await
    }

    async fn cancel_requests(&self, worker: WorkerId) -> Result<Vec<TaskId>, StorageError> {
        let work = self.tasks.cancel_requests(worker);
        self.through(Call::CancelRequests, work).await
    }

    async fn held(&self, worker: WorkerId) -> Result<Vec<HeldTask>, StorageError> {
        self.through(Call::Held, self.tasks.held(worker)).await
    }

    async fn next_run_at(&self, worker: WorkerId) -> Result<Option<Timestamp>, StorageError> {
        self.through(Call::NextRunAt, self.tasks.next_run_at(worker))
            .await
    }

    async fn heartbeat(&self, beat: Beat, now: Timestamp) -> Result<Asked, StorageError> {
        let work = self.tasks.heartbeat(beat, now);
        self.through(Call::Heartbeat, work).await
    }

    async fn ask_to_drain(
        &self,
        worker: WorkerId,
        drain: bool,
    ) -> Result<Option<Worker>, StorageError> {
        let work = self.tasks.ask_to_drain(worker, drain);
        self.befall(None, work).await
    }

    async fn rescue(
        &self,
        me: WorkerId,
        dead_before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Rescued>, StorageError> {
        let work = self.tasks.rescue(me, dead_before, limit, now);
        self.through(Call::Rescue, work).await
    }

    async fn prune(
        &self,
        finished_before: Timestamp,
        keep_max: u64,
        limit: u32,
        now: Timestamp,
    ) -> Result<Pruned, StorageError> {
        let work = self.tasks.prune(finished_before, keep_max, limit, now);
        self.befall(None, work).await
    }

    async fn purge(&self, whose: &Whose, id: TaskId) -> Result<Purged, StorageError> {
        self.through(Call::Purge, self.tasks.purge(whose, id)).await
    }

    async fn purge_some(&self, tenant: &Tenant, limit: u32) -> Result<Pruned, StorageError> {
        self.befall(None, self.tasks.purge_some(tenant, limit))
            .await
    }

    async fn orphans(
        &self,
        blobs: Vec<BlobId>,
        tasks: Vec<TaskId>,
    ) -> Result<Orphans, StorageError> {
        self.befall(None, self.tasks.orphans(blobs, tasks)).await
    }
}
