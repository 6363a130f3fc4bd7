//! Schedules: the one door for their changes, and the service that fires them.
//!
//! Every host looks for instants that have come. The task or workflow of an instant has an id that is made of the
//! schedule and the instant, so that two hosts that fire the same one submit the same; whoever records the firing
//! first moves the schedule on. What a task may be is the queue's to say, each time anew; how its JSON is read
//! is the entry point's ([`Reader`]).

mod passing;
pub mod timetable;

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use self::timetable::{Readable, Unreadable};
use crate::access::Access;
use crate::queue::{QueueError, SharedQueue, Submission, Submitted};
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use crate::workflows::definitions::{Definition, DefinitionError, Definitions};
use crate::workflows::{WorkflowError, WorkflowSubmission};
use cofferdam_domain::caller::{Caller, Forbidden, Scope};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::said;
use cofferdam_domain::schedule::{
    Fired, Firing, Overlap, Plan, Schedule, ScheduleName, Scheduled, Work,
};
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::definition::DefinitionRef;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState};
use cofferdam_storage::{PutSchedule, Reads, SCHEDULES_MAX, Schedules as Kept, StorageError};

/// How often a host looks for instants that have come. A firing is late by this at most, on a host that has
/// time for it.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// The same after storage failed.
const FAILED_PAUSE: Duration = Duration::from_secs(2);
/// Schedules that are fired in one look.
const AT_ONCE_MAX: u32 = 100;
/// The bytes of a refusal's reason that are kept.
const REASON_BYTES_MAX: usize = 1024;

/// Reads what a schedule submits.
pub trait Reader: Send + Sync + 'static {
    /// The definition of workflows that the JSON names, if it does.
    fn definition(&self, what: &Scheduled) -> Result<Option<DefinitionRef>, String>;

    /// The submission that the JSON says, for the firing of that schedule at that instant, with what was put under
    /// the name.
    fn submission(
        &self,
        what: &Scheduled,
        definition: Option<&Definition>,
        schedule: &ScheduleName,
        at: Timestamp,
    ) -> Result<Submitting, String>;
}

/// What is submitted at an instant.
#[derive(Debug)]
pub enum Submitting {
    /// A task.
    Task(Box<Submission>),
    /// A workflow.
    Workflow(Box<WorkflowSubmission>),
}

impl Submitting {
    /// The same with an id of the schedule's.
    fn with_id(self, id: Uuid) -> Submitting {
        match self {
            Submitting::Task(task) => Submitting::Task(Box::new(Submission {
                task_id: Some(TaskId(id)),
                ..*task
            })),
            Submitting::Workflow(workflow) => Submitting::Workflow(Box::new(WorkflowSubmission {
                id: Some(WorkflowId(id)),
                ..*workflow
            })),
        }
    }
}

/// What schedules are made of.
pub struct Parts {
    /// Where they are kept.
    pub storage: Arc<dyn Kept>,
    /// Where tasks are looked at.
    pub reads: Arc<dyn Reads>,
    /// Where tasks are submitted.
    pub queue: SharedQueue,
    /// What their workflows may be submitted by.
    pub definitions: Arc<Definitions>,
    /// For whom they are submitted.
    pub access: Arc<Access>,
    /// How their JSON is read.
    pub reader: Box<dyn Reader>,
    /// The time of all hosts.
    pub clock: Clock,
    /// What firings are counted in.
    pub metrics: Arc<Metrics>,
}

/// The schedules of all tenants.
pub struct Schedules(Parts);

/// Why a schedule could not be changed or fired.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The caller has no right to it.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Its instants cannot be read.
    #[error(transparent)]
    Timetable(#[from] Unreadable),
    /// What it submits cannot be read.
    #[error("{why}")]
    Unreadable {
        /// The field that says it.
        field: &'static str,
        /// Why.
        why: String,
    },
    /// Its task could not be submitted.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Its workflow could not be submitted.
    #[error(transparent)]
    Workflow(#[from] WorkflowError),
    /// The definition that it names is not there.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// There is none of that name.
    #[error("there is no schedule {}", .0.as_str())]
    Unknown(ScheduleName),
    /// The tenant has as many as it may.
    #[error("a tenant may have {SCHEDULES_MAX} schedules")]
    TooMany,
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Schedules {
    /// The schedules, which nobody fires yet.
    pub fn new(parts: Parts) -> Arc<Schedules> {
        Arc::new(Schedules(parts))
    }

    /// Fires them until the host drains.
    pub fn follow(self: &Arc<Self>, shutdown: &Shutdown) {
        let (own, stop) = (Arc::clone(self), shutdown.clone());
        shutdown.spawn("schedules", async move {
            loop {
                let pause = match own.look().await {
                    Ok(()) => LOOK_INTERVAL,
                    Err(error) => {
                        tracing::warn!(%error, "schedules could not be looked at");
                        FAILED_PAUSE
                    }
                };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.requested() => return,
                }
            }
        });
    }

    /// Keeps a schedule, or replaces what was said of it; true if it is new. Its task is checked as if it were
    /// submitted now.
    pub async fn put(
        &self,
        caller: &Caller,
        name: &ScheduleName,
        plan: &Plan,
    ) -> Result<bool, ScheduleError> {
        caller.may(Scope::Run)?;
        let now = self.0.clock.now();
        let readable = Readable::of(&plan.timetable)?;
        let first = readable.next(now).ok_or(Unreadable::Never)?;
        match self.read(caller, &plan.what, name, first).await? {
            Submitting::Task(task) => {
                self.0.queue.check(caller, *task, now).await?;
            }
            Submitting::Workflow(workflow) => {
                self.0.queue.check_workflow(caller, *workflow).await?;
            }
        }
        let next_at = (!plan.paused).then_some(first);
        let storage = &self.0.storage;
        let put = storage.put_schedule(caller.tenant(), name, plan, next_at, now);
        match put.await? {
            PutSchedule::Created => Ok(true),
            PutSchedule::Replaced => Ok(false),
            PutSchedule::TooMany => Err(ScheduleError::TooMany),
        }
    }

    /// One of the caller's schedules.
    pub async fn find(
        &self,
        caller: &Caller,
        name: &ScheduleName,
    ) -> Result<Schedule, ScheduleError> {
        let found = self.0.storage.find_schedule(caller.tenant(), name).await?;
        found.ok_or_else(|| ScheduleError::Unknown(name.clone()))
    }

    /// The caller's schedules behind `after`, by their names.
    pub async fn list(
        &self,
        caller: &Caller,
        after: Option<&ScheduleName>,
        limit: u32,
    ) -> Result<Vec<Schedule>, ScheduleError> {
        let storage = &self.0.storage;
        Ok(storage
            .list_schedules(caller.tenant(), after, limit)
            .await?)
    }

    /// Removes a schedule. Tasks that it submitted stay.
    pub async fn remove(&self, caller: &Caller, name: &ScheduleName) -> Result<(), ScheduleError> {
        caller.may(Scope::Run)?;
        let storage = &self.0.storage;
        match storage.remove_schedule(caller.tenant(), name).await? {
            true => Ok(()),
            false => Err(ScheduleError::Unknown(name.clone())),
        }
    }

    /// Submits the schedule's task now, whatever its timetable, its pause and its overlap say.
    pub async fn run_now(
        &self,
        caller: &Caller,
        name: &ScheduleName,
    ) -> Result<Work, ScheduleError> {
        caller.may(Scope::Run)?;
        let schedule = self.find(caller, name).await?;
        let now = self.0.clock.now();
        let submission = self.read(caller, &schedule.plan.what, name, now);
        let submission = submission.await?;
        let work = self.submit(caller, submission).await?;
        let last = Firing {
            at: now,
            outcome: Fired::Submitted(work),
        };
        // If an instant came meanwhile, that is the last.
        let _was_recorded = self
            .0
            .storage
            .fired(&schedule, Some(last), schedule.next_at)
            .await?;
        Ok(work)
    }

    async fn read(
        &self,
        caller: &Caller,
        what: &Scheduled,
        name: &ScheduleName,
        at: Timestamp,
    ) -> Result<Submitting, ScheduleError> {
        let field = match what {
            Scheduled::Task(_) => "task",
            Scheduled::Workflow(_) => "workflow",
        };
        let unreadable = |why| ScheduleError::Unreadable { field, why };
        let reader = &self.0.reader;
        let named = reader.definition(what).map_err(unreadable)?;
        let definition = self.0.definitions.named(caller, named.as_ref()).await?;
        let read = reader.submission(what, definition.as_ref(), name, at);
        read.map_err(unreadable)
    }

    /// Fires what has come.
    async fn look(&self) -> Result<(), StorageError> {
        let now = self.0.clock.now();
        for schedule in self.0.storage.due_schedules(now, AT_ONCE_MAX).await? {
            self.fire(schedule, now).await?;
        }
        Ok(())
    }

    async fn fire(&self, schedule: Schedule, now: Timestamp) -> Result<(), StorageError> {
        let Some(planned) = schedule.next_at else {
            return Ok(());
        };
        let readable = match Readable::of(&schedule.plan.timetable) {
            Ok(readable) => readable,
            // This version reads what another one kept, or time zones have changed.
            Err(unreadable) => {
                let last = refused(planned, &unreadable.to_string());
                self.0.storage.fired(&schedule, Some(last), None).await?;
                return Ok(());
            }
        };
        let due = readable.due(planned, now, schedule.plan.catch_up);
        let mut last = schedule.last.clone();
        for at in due.fire {
            match self.fire_at(&schedule, last.as_ref(), at).await {
                Ok(firing) => {
                    self.0.metrics.fired(firing.outcome.as_str());
                    last = Some(firing);
                }
                // The instant is still due, here later or at another host.
                Err(NotNow) => return Ok(()),
            }
        }
        let last = (last != schedule.last).then_some(last).flatten();
        let storage = &self.0.storage;
        // Somebody else may have recorded the same.
        let _was_first = storage.fired(&schedule, last, due.next).await?;
        Ok(())
    }

    async fn fire_at(
        &self,
        schedule: &Schedule,
        last: Option<&Firing>,
        at: Timestamp,
    ) -> Result<Firing, NotNow> {
        let caller = self.0.access.on_behalf_of(&schedule.tenant);
        let id = id_of(schedule, at);
        let running = last.and_then(|last| last.outcome.work());
        // A firing that was not recorded has submitted already.
        let running = running.filter(|work| match work {
            Work::Task(task) => task.0 != id,
            Work::Workflow(workflow) => workflow.0 != id,
        });
        if let Some(running) = self.goes_on(&caller, running).await? {
            match schedule.plan.overlap {
                Overlap::Allow => {}
                Overlap::Skip => {
                    let outcome = Fired::Skipped(running);
                    return Ok(Firing { at, outcome });
                }
                Overlap::Cancel => self.cancel(&caller, running).await.map_err(|error| {
                    tracing::warn!(%error, "what a schedule submitted could not be cancelled");
                    NotNow
                })?,
            }
        }
        let submitted = async {
            let what = &schedule.plan.what;
            let submission = self.read(&caller, what, &schedule.name, at).await?;
            self.submit(&caller, submission.with_id(id)).await
        };
        match submitted.await {
            Ok(work) => Ok(Firing {
                at,
                outcome: Fired::Submitted(work),
            }),
            Err(error) if error.may_pass() => {
                // It is tried at the next look, many times a second.
                tracing::debug!(schedule = schedule.name.as_str(), %error, "a schedule waits");
                Err(NotNow)
            }
            Err(error) => Ok(refused(at, &error.to_string())),
        }
    }

    /// What was submitted, if it is not final.
    async fn goes_on(&self, caller: &Caller, work: Option<Work>) -> Result<Option<Work>, NotNow> {
        let Some(work) = work else { return Ok(None) };
        let is_final = self.is_final(caller, work).await.map_err(|error| {
            tracing::warn!(%error, "what a schedule submitted last could not be looked at");
            NotNow
        })?;
        Ok((!is_final).then_some(work))
    }

    /// What is gone is final, too.
    async fn is_final(&self, caller: &Caller, work: Work) -> Result<bool, StorageError> {
        let whose = Whose::of(caller);
        Ok(match work {
            Work::Task(id) => {
                let task = self.0.reads.task(&whose, id).await?;
                task.is_none_or(|task| task.state.is_final())
            }
            Work::Workflow(id) => {
                let state = self.0.queue.workflows().workflow_state(&whose, id).await?;
                state.is_none_or(WorkflowState::is_final)
            }
        })
    }

    async fn cancel(&self, caller: &Caller, work: Work) -> Result<(), QueueError> {
        match work {
            Work::Task(id) => {
                self.0.queue.cancel(caller, id).await?;
            }
            Work::Workflow(id) => {
                self.0.queue.cancel_workflow(caller, id).await?;
            }
        }
        Ok(())
    }

    async fn submit(&self, caller: &Caller, what: Submitting) -> Result<Work, ScheduleError> {
        let queue = &self.0.queue;
        match what {
            Submitting::Task(task) => match queue.submit(caller, vec![*task]).await?.first() {
                Some(Submitted::New(id) | Submitted::Existing(id)) => Ok(Work::Task(*id)),
                None => Err(StorageError::Unavailable("a submit had no answer".to_owned()).into()),
            },
            Submitting::Workflow(workflow) => {
                let inserted = queue.submit_workflow(caller, *workflow).await?;
                Ok(Work::Workflow(inserted.id))
            }
        }
    }
}

/// It cannot be fired at the moment.
struct NotNow;

fn refused(at: Timestamp, why: &str) -> Firing {
    let why = said::cut(why.to_owned(), REASON_BYTES_MAX);
    Firing {
        at,
        outcome: Fired::Refused(why),
    }
}

/// The id of what is submitted at that instant: the same, whichever host fires it.
fn id_of(schedule: &Schedule, at: Timestamp) -> Uuid {
    let mut hash = Sha256::new();
    for part in [schedule.tenant.as_str(), schedule.name.as_str()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(schedule.revision.to_be_bytes());
    hash.update(at.as_millis().to_be_bytes());
    let hash = hash.finalize();
    let mut random = [0; 10];
    random.copy_from_slice(&hash[..10]);
    at.uuid(&random)
}
