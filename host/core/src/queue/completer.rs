//! Records the ends of attempts, in batches that share a commit, and then wakes the waiters.
//!
//! A batch has the ends that arrived during the previous commit: a lone end is recorded at once,
//! and many in as few commits as the limit allows; where there are ends of several tenants, each has a few
//! of its own in it, so that none waits for what another has. If storage refuses a batch for its contents, the
//! batch is halved until the refused end is found; that end is recorded in a form that cannot be
//! refused, so that no attempt prevents others from ending.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::queue::executor::Ended;
use crate::queue::shared::Shared;
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Streams};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::{AttemptEnd, Next};
use cofferdam_domain::label::is_dead;
use cofferdam_domain::state::TaskState;
use cofferdam_storage::{Finished, StorageError, Tasks};

/// Ends on the way to storage; one more makes its attempt wait.
pub(crate) const QUEUED_MAX: usize = 1024;
/// Ends recorded in one call.
const BATCH_MAX: usize = 1024;
/// Ends of one tenant in one call in which there are several tenants'.
const OF_EACH_MAX: usize = 32;
/// The first and the longest wait before refused ends are offered again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long an end waits for room on the disk before it is recorded without its large parts.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);
/// How long storage may refuse once the host shuts down. The next start rescues the tasks of ends
/// that are given up.
const PATIENCE_AT_SHUTDOWN: Duration = Duration::from_secs(1);
/// How long each of the other batches may take once that has passed.
const LAST_OFFER: Duration = Duration::from_millis(200);

/// Records ends. Storage implements it; tests replace it.
#[async_trait]
pub(crate) trait Ends: Send + Sync {
    /// See [`Tasks::finish`].
    async fn finish(&self, ends: Vec<AttemptEnd>) -> Result<Vec<Finished>, StorageError>;
}

#[async_trait]
impl Ends for Arc<dyn Tasks> {
    async fn finish(&self, ends: Vec<AttemptEnd>) -> Result<Vec<Finished>, StorageError> {
        Tasks::finish(&**self, ends).await
    }
}

/// Records until every executor is gone, then signals that all is settled.
pub(crate) async fn serve(shared: Arc<Shared>, mut ends: mpsc::Receiver<Ended>) {
    let settled = shared.settled.clone().drop_guard();
    let storage = Arc::clone(&shared.storage);
    let mut recorder = Recorder::new(&shared, &storage);
    let mut waiting = Vec::with_capacity(BATCH_MAX);
    while receive(&mut ends, &mut waiting).await {
        let mut batch = next_batch(&mut waiting);
        recorder.record(&mut batch).await;
    }
    drop(settled);
}

/// Adds the ends that have come to those that wait; false if there is none and none will come.
async fn receive(ends: &mut mpsc::Receiver<Ended>, waiting: &mut Vec<Ended>) -> bool {
    if waiting.is_empty() && ends.recv_many(waiting, BATCH_MAX).await == 0 {
        return false;
    }
    while waiting.len() < BATCH_MAX
        && let Ok(ended) = ends.try_recv()
    {
        waiting.push(ended);
    }
    true
}

/// Takes out what is recorded next: everything of a lone tenant, a few ends of each of several.
fn next_batch(waiting: &mut Vec<Ended>) -> Vec<Ended> {
    let is_alone = |pair: &[Ended]| pair[0].end.tenant == pair[1].end.tenant;
    if waiting.windows(2).all(is_alone) {
        return std::mem::take(waiting);
    }
    let mut taken: HashMap<Tenant, usize> = HashMap::new();
    let is_next = |ended: &mut Ended| {
        let of_tenant = taken.entry(ended.end.tenant.clone()).or_default();
        *of_tenant += 1;
        *of_tenant <= OF_EACH_MAX
    };
    waiting.extract_if(.., is_next).collect()
}

/// The result of offering ends to storage.
enum Offered {
    Recorded,
    /// Storage works, but does not take these.
    Refused(StorageError),
    /// The host is shutting down and storage accepts nothing.
    GivenUp,
}

/// Records batches, one after another.
pub(crate) struct Recorder<'a> {
    shared: &'a Shared,
    ends: &'a dyn Ends,
    /// The deadline for storage, once the host shuts down.
    give_up_at: Option<Instant>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(shared: &'a Shared, ends: &'a dyn Ends) -> Recorder<'a> {
        Recorder {
            shared,
            ends,
            give_up_at: None,
        }
    }

    /// Records every end of `batch` that storage accepts in any form.
    pub(crate) async fn record(&mut self, batch: &mut [Ended]) {
        self.shared.recording.begun();
        let mut all_taken = true;
        let whole = 0..batch.len();
        let mut parts: Vec<Range<usize>> = std::iter::once(whole).collect();
        while let Some(part) = parts.pop() {
            match self.offer(&batch[part.clone()]).await {
                Offered::Recorded => {}
                Offered::GivenUp => {
                    let ends = part.len();
                    tracing::error!(
                        ends,
                        "ends of attempts were given up; the next start runs these tasks again"
                    );
                    all_taken = false;
                }
                Offered::Refused(error) if part.len() > 1 => {
                    tracing::warn!(%error, ends = part.len(), "ends were refused; offering halves");
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
                Offered::Refused(error) => {
                    if self.shrink(&mut batch[part.start], &error) {
                        parts.push(part);
                    } else {
                        all_taken = false;
                    }
                }
            }
        }
        self.shared.recording.ended(all_taken);
    }

    /// Removes from an end what storage could refuse; false if there is nothing left to remove.
    fn shrink(&self, ended: &mut Ended, error: &StorageError) -> bool {
        let id = ended.end.task_id;
        if ended.shrunk {
            tracing::error!(task.id = %id, %error, "this attempt's end cannot be recorded");
            return false;
        }
        tracing::error!(task.id = %id, %error, "this attempt's output cannot be stored");
        let message = format!("what this attempt left could not be stored: {error}");
        let failure = Failure::new(FailureKind::HostError, message);
        ended.shrunk = true;
        ended.end = AttemptEnd {
            outcome: Outcome::Failed(failure),
            streams: Streams::default(),
            artifacts: Vec::new(),
            next: Next::Fail,
            ..ended.end.clone()
        };
        true
    }

    /// Offers ends until storage has answered. The fence makes a second offer harmless if the first
    /// one took effect.
    async fn offer(&mut self, part: &[Ended]) -> Offered {
        let begun = Instant::now();
        let mut wait = RETRY_WAIT.0;
        loop {
            let error = match self.finish(part).await {
                Ok(finished) => {
                    self.shared.recording.got_on();
                    for (ended, finished) in part.iter().zip(finished) {
                        publish(self.shared, ended, finished);
                    }
                    return Offered::Recorded;
                }
                Err(error) => error,
            };
            if may_concern_one(&error, part, begun.elapsed()) {
                return Offered::Refused(error);
            }
            let ends = part.len();
            tracing::error!(%error, ends, "attempts could not be recorded; they are offered again");
            if self.has_given_up() {
                return Offered::GivenUp;
            }
            self.pause(wait).await;
            wait = (wait * 2).min(RETRY_WAIT.1);
        }
    }

    async fn finish(&self, part: &[Ended]) -> Result<Vec<Finished>, StorageError> {
        let ends = part.iter().map(|ended| ended.end.clone()).collect();
        let finish = self.ends.finish(ends);
        match self.give_up_at {
            None => finish.await,
            Some(at) => tokio::time::timeout_at(at.max(Instant::now() + LAST_OFFER), finish)
                .await
                .unwrap_or_else(|_elapsed| {
                    Err(StorageError::Unknown("no answer in time".to_owned()))
                }),
        }
    }

    /// Whether the host shuts down and has waited for storage long enough.
    fn has_given_up(&mut self) -> bool {
        if !self.shared.shutdown.is_requested() {
            return false;
        }
        let now = Instant::now();
        now >= *self.give_up_at.get_or_insert(now + PATIENCE_AT_SHUTDOWN)
    }

    /// Waits, but never long once the host shuts down.
    async fn pause(&self, wait: Duration) {
        if self.shared.shutdown.is_requested() {
            return tokio::time::sleep(wait.min(PATIENCE_AT_SHUTDOWN / 5)).await;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.shared.shutdown.requested() => {}
        }
    }
}

/// Whether storage might accept some of these ends without the others, or a lone one in a smaller
/// form.
fn may_concern_one(error: &StorageError, part: &[Ended], waited: Duration) -> bool {
    match (error, part) {
        (StorageError::Full(_), [lone]) => !lone.shrunk && waited >= ROOM_PATIENCE,
        (error, _) => concerns_one(error),
    }
}

/// Whether storage works, but might refuse one of what it was offered together.
pub(crate) fn concerns_one(error: &StorageError) -> bool {
    match error {
        StorageError::TooLarge(_)
        | StorageError::Refused(_)
        | StorageError::Corrupt(_)
        | StorageError::Full(_) => true,
        StorageError::Unavailable(_)
        | StorageError::BlobsUnavailable(_)
        | StorageError::TooSlow
        | StorageError::Unknown(_)
        | StorageError::Conflict(_)
        | StorageError::BatchConflict(_)
        | StorageError::WorkflowConflict(_)
        | StorageError::QueueFull { .. }
        | StorageError::OverQuota(_)
        | StorageError::ModuleGone(_)
        | StorageError::TooManyPlacements(_)
        | StorageError::KeyMissing { .. }
        | StorageError::OverBudget { .. } => false,
    }
}

fn publish(shared: &Shared, ended: &Ended, finished: Finished) {
    let end = &ended.end;
    let untold = shared.progress.take(end.task_id, end.fence);
    match finished {
        Finished::Stale => {
            tracing::warn!(task.id = %end.task_id, attempt = end.attempt, "this end came too late");
            // Or it was recorded by a call whose answer was lost: storage knows what followed.
            shared.tell_work();
        }
        Finished::Recorded(state) => {
            if ended.ran {
                count_attempt(shared, ended);
            }
            if let Some(report) = untold {
                shared
                    .events
                    .progress(end.task_id, report.fraction, &report.note);
            }
            shared.events.status(end.task_id, state, attempts_made(end));
            if state.is_final() {
                count_task(shared, ended, state);
            }
            // Its place in a batch, or the task itself, is there to be claimed.
            if !state.is_final() || ended.holds_place {
                shared.tell_work();
            }
        }
    }
    shared.tell_changed(end.task_id);
}

/// How many attempts its task has had after this end.
fn attempts_made(end: &AttemptEnd) -> u32 {
    match end.next {
        Next::GiveBack | Next::Postpone(_) => end.attempt.saturating_sub(1),
        Next::Complete | Next::Fail | Next::Cancel | Next::RetryAt(_) => end.attempt,
    }
}

fn count_attempt(shared: &Shared, ended: &Ended) {
    let (end, failure) = (&ended.end, ended.end.outcome.failure_kind());
    shared
        .figures
        .ended(failure.is_none(), ended.wait, end.usage.duration);
    let module = ended.spec.module.as_str();
    shared
        .metrics
        .attempt_finished(module, failure, ended.wait, end.usage.duration);
}

fn count_task(shared: &Shared, ended: &Ended, state: TaskState) {
    let (end, module) = (&ended.end, ended.spec.module.as_str());
    let failure = end.outcome.failure_kind();
    if state == TaskState::Failed && is_dead(failure, end.attempt, ended.max_attempts) {
        shared.metrics.task_died();
    }
    let end_to_end = end.finished_at.since(ended.created_at);
    shared
        .metrics
        .task_finished(module, state, failure, end_to_end);
}
