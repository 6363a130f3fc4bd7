//! One attempt, from claim to recorded outcome: a straight line of steps.

mod observer;
mod verdict;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::queue::executor::observer::Told;
use crate::queue::executor::verdict::verdict;
use crate::queue::running::Attempting;
use crate::queue::shared::Shared;
use cofferdam_domain::attempt::{Artifact, Failure, FailureKind, LeftOut, Outcome, Streams, Usage};
use cofferdam_domain::claim::{AttemptEnd, Claim, Next};
use cofferdam_domain::said;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{TaskId, TaskSpec};
use cofferdam_domain::time::Timestamp;
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::{OutputFiles, Report};

/// Runs the guest of a claim. The runner does; tests put something in its place.
pub(crate) trait Attempts: Send + Sync + 'static {
    /// Runs one attempt to its end, which is a report whatever happens.
    fn run(&self, claim: &Claim, control: Control) -> impl Future<Output = Report> + Send;

    /// Keeps the files an attempt left, and says which they are.
    fn keep(
        &self,
        task_id: TaskId,
        attempt: u32,
        files: OutputFiles,
    ) -> impl Future<Output = Result<Vec<Artifact>, String>> + Send;
}

/// Executes claims. Every holder may send ends; when the last one is gone, all are sent.
pub(crate) struct Executor<A> {
    shared: Arc<Shared>,
    attempts: Arc<A>,
    ends: mpsc::Sender<Ended>,
}

/// An attempt's end on its way to storage.
pub(crate) struct Ended {
    pub(crate) end: AttemptEnd,
    /// When its task was submitted.
    pub(crate) created_at: Timestamp,
    /// What was to be run.
    pub(crate) spec: Arc<TaskSpec>,
    /// How long it waited to be claimed.
    pub(crate) wait: Duration,
    /// Whether a guest ran.
    pub(crate) ran: bool,
    /// Whether what the attempt left was taken out, because storage refused it.
    pub(crate) shrunk: bool,
}

impl<A: Attempts> Executor<A> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        attempts: Arc<A>,
        ends: mpsc::Sender<Ended>,
    ) -> Executor<A> {
        Executor {
            shared,
            attempts,
            ends,
        }
    }

    /// What executors share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Executes one claim that was entered as `attempting`. `slot` is held until its end is on the
    /// way to storage, so that a slow database slows the guests and nothing piles up between them.
    pub(crate) async fn execute(
        self: Arc<Self>,
        claim: Claim,
        attempting: Arc<Attempting>,
        slot: OwnedSemaphorePermit,
    ) {
        let shared = &*self.shared;
        // Who looked while it moved from ready to running may have counted it twice.
        shared.room_was_made();
        shared
            .events
            .status(claim.task_id, TaskState::Running, claim.attempt);
        let report = self.run(&claim, &attempting).await;
        let ended = self.end(&claim, &attempting, report).await;
        self.send(ended).await;
        shared.running.end(claim.task_id, &attempting);
        drop(slot);
        shared.room_was_made();
    }

    /// Gives back a claim that never began.
    pub(crate) async fn give_back(&self, claim: Claim) {
        tracing::debug!(task.id = %claim.task_id, "given back before it began");
        let ended = never_began(
            &claim,
            Next::GiveBack,
            FailureKind::Lost,
            self.shared.clock.now(),
        );
        self.send(ended).await;
    }

    async fn run(&self, claim: &Claim, attempting: &Arc<Attempting>) -> Report {
        let control = Control {
            cancel: attempting.cancel.clone(),
            kill: attempting.kill.clone(),
            observer: Some(Arc::new(Told::of(claim, Arc::clone(&self.shared)))),
        };
        // A bug that panics costs one attempt, not the lane that runs it.
        match AssertUnwindSafe(self.attempts.run(claim, control))
            .catch_unwind()
            .await
        {
            Ok(report) => report,
            Err(_panic) => {
                tracing::error!("the host panicked under this attempt");
                let failure =
                    Failure::new(FailureKind::HostError, "the host failed under the attempt");
                failed(failure)
            }
        }
    }

    async fn end(&self, claim: &Claim, attempting: &Attempting, report: Report) -> Ended {
        let Report {
            mut outcome,
            usage,
            streams,
            files,
        } = report;
        let (mut artifacts, mut left_out) = (Vec::new(), LeftOut::default());
        if let Some(files) = files {
            left_out = files.left_out();
            match self
                .attempts
                .keep(claim.task_id, claim.attempt, files)
                .await
            {
                Ok(kept) => artifacts = kept,
                Err(why) => {
                    tracing::error!(cause = said::for_log(&why), "files could not be kept");
                    let message = "the files under /out could not be kept; the host's log says why";
                    outcome = Outcome::Failed(Failure::new(FailureKind::HostError, message));
                }
            }
        }
        let finished_at = self.shared.clock.now();
        let dice = self.shared.dice.fraction();
        let (outcome, next) = verdict(claim, outcome, attempting.stopped(), finished_at, dice);
        log_end(&outcome, &usage, next);
        Ended {
            end: AttemptEnd {
                task_id: claim.task_id,
                attempt: claim.attempt,
                fence: claim.fence,
                finished_at,
                outcome,
                usage,
                streams,
                artifacts,
                left_out,
                next,
            },
            created_at: claim.created_at,
            spec: Arc::clone(&claim.spec),
            wait: wait_of(claim),
            ran: true,
            shrunk: false,
        }
    }

    async fn send(&self, ended: Ended) {
        // Only a completer that was killed refuses; then the next start rescues the task.
        if self.ends.send(ended).await.is_err() {
            tracing::error!("an attempt's end cannot be recorded: the completer is gone");
        }
    }
}

/// The end of a claim that no guest ran for.
pub(crate) fn never_began(claim: &Claim, next: Next, kind: FailureKind, now: Timestamp) -> Ended {
    Ended {
        end: AttemptEnd {
            task_id: claim.task_id,
            attempt: claim.attempt,
            fence: claim.fence,
            finished_at: now,
            outcome: Outcome::Failed(Failure::new(kind, "the attempt never began")),
            usage: Usage::default(),
            streams: Streams::default(),
            artifacts: Vec::new(),
            left_out: LeftOut::default(),
            next,
        },
        created_at: claim.created_at,
        spec: Arc::clone(&claim.spec),
        wait: wait_of(claim),
        ran: false,
        shrunk: false,
    }
}

/// A report of nothing but a failure.
pub(crate) fn failed(failure: Failure) -> Report {
    Report {
        outcome: Outcome::Failed(failure),
        usage: Usage::default(),
        streams: Streams::default(),
        files: None,
    }
}

fn wait_of(claim: &Claim) -> Duration {
    claim.claimed_at.since(claim.run_at)
}

fn log_end(outcome: &Outcome, usage: &Usage, next: Next) {
    let duration_us = u64::try_from(usage.duration.as_micros()).unwrap_or(u64::MAX);
    match outcome {
        Outcome::Completed(_) => tracing::debug!(duration_us, "the attempt completed"),
        Outcome::Failed(failure) => {
            tracing::info!(
                duration_us,
                kind = failure.kind.as_str(),
                cause = said::for_log(&failure.message),
                ?next,
                "the attempt failed"
            );
        }
    }
}
