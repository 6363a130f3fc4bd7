//! Records a batch of ends, whatever storage says to it, and wakes the waiters.
//!
//! If storage refuses a batch for its contents, the batch is halved until the refused end is found; that end is
//! recorded in a form that cannot be refused, so that no attempt prevents others from ending. Which ends make a
//! batch is the completer's.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::queue::ends::Ended;
use crate::queue::hands::Reach;
use crate::queue::recording::Offering;
use crate::queue::shared::Shared;
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Streams};
use cofferdam_domain::claim::{AttemptEnd, Next};
use cofferdam_domain::label::is_dead;
use cofferdam_domain::state::TaskState;
use cofferdam_storage::{Finished, Heir, Recorded, StorageError, Tasks};

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
    /// See [`Tasks::record`].
    async fn record(
        &self,
        ends: Vec<AttemptEnd>,
        heir: Option<Heir>,
    ) -> Result<Recorded, StorageError>;
}

#[async_trait]
impl Ends for Arc<dyn Tasks> {
    async fn record(
        &self,
        ends: Vec<AttemptEnd>,
        heir: Option<Heir>,
    ) -> Result<Recorded, StorageError> {
        Tasks::record(&**self, ends, heir).await
    }
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
    /// The batch under way, as readiness sees it.
    offering: Option<Offering<'a>>,
    /// The deadline for storage, once the host shuts down.
    give_up_at: Option<Instant>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(shared: &'a Shared, ends: &'a dyn Ends) -> Recorder<'a> {
        Recorder {
            shared,
            ends,
            offering: None,
            give_up_at: None,
        }
    }

    /// Records every end of `batch` that storage accepts in any form. A storage that takes long for it is not well.
    pub(crate) async fn record(&mut self, batch: &mut [Ended]) {
        self.offering = Some(self.shared.recording.begun());
        self.record_long(batch).await;
    }

    /// The same for ends that take their time: only a storage that refuses them is not well.
    pub(crate) async fn record_long(&mut self, batch: &mut [Ended]) {
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
        if let Some(offering) = self.offering.take() {
            offering.ended(all_taken);
        }
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
                Ok((recorded, reach)) => {
                    self.shared.recording.got_on();
                    for (ended, finished) in part.iter().zip(&recorded.finished) {
                        publish(self.shared, ended, *finished);
                    }
                    pass_on(self.shared, recorded, reach);
                    return Offered::Recorded;
                }
                Err(error) => error,
            };
            if may_concern_one(&error, part, begun.elapsed()) {
                return Offered::Refused(error);
            }
            let recording = &self.shared.recording;
            self.offering.get_or_insert_with(|| recording.begun());
            let ends = part.len();
            tracing::error!(%error, ends, "attempts could not be recorded; they are offered again");
            if self.has_given_up() {
                return Offered::GivenUp;
            }
            self.pause(wait).await;
            wait = (wait * 2).min(RETRY_WAIT.1);
        }
    }

    /// Records ends; this host claims what they release, as far as it has room.
    async fn finish(&self, part: &[Ended]) -> Result<(Recorded, Option<Reach>), StorageError> {
        let ends: Vec<AttemptEnd> = part.iter().map(|ended| ended.end.clone()).collect();
        let of_workflows = ends.iter().any(|end| end.workflow.is_some());
        let heir = of_workflows.then(|| self.shared.heir()).flatten();
        let (heir, reach) = heir.unzip();
        let record = self.ends.record(ends, heir);
        let recorded = match self.give_up_at {
            None => record.await,
            Some(at) => tokio::time::timeout_at(at.max(Instant::now() + LAST_OFFER), record)
                .await
                .unwrap_or_else(|_elapsed| {
                    Err(StorageError::Unknown("no answer in time".to_owned()))
                }),
        };
        Ok((recorded?, reach))
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

/// Begins what ends released and this host claimed, and tells of the rest.
fn pass_on(shared: &Shared, recorded: Recorded, reach: Option<Reach>) {
    if !recorded.claims.is_empty() {
        shared.ready.push(shared.hands.take(recorded.claims));
    }
    if recorded.is_more {
        shared.tell_work();
    }
    if reach.is_some() {
        drop(reach);
        // Room that was kept for what did not come is there again.
        shared.room_was_made();
    }
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
