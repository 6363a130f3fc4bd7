//! One attempt, from claim to recorded outcome, as a straight sequence of steps.

mod node;
mod observer;
mod verdict;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::nodes::Given;
use crate::queue::allowance;
use crate::queue::ends::{Ended, Ways};
use crate::queue::executor::node::Course;
use crate::queue::executor::observer::Told;
use crate::queue::executor::verdict::verdict;
use crate::queue::hands::Taken;
use crate::queue::running::{Attempting, Entry, Stop};
use crate::queue::shared::Shared;
use crate::runner::NotYet;
use cofferdam_domain::attempt::{Artifact, Failure, FailureKind, LeftOut, Outcome, Streams, Usage};
use cofferdam_domain::claim::{AttemptEnd, Claim, Next};
use cofferdam_domain::said;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::{OutputFiles, Report};

/// Runs the guest of a claim. The runner implements it; tests replace it.
pub(crate) trait Attempts: Send + Sync + 'static {
    /// Runs one attempt to its end and returns a report, whatever happens, unless this host cannot
    /// begin it yet. A node is run with what it was given.
    fn run(
        &self,
        claim: &Claim,
        given: Option<Box<Given>>,
        control: Control,
    ) -> impl Future<Output = Result<Report, NotYet>> + Send;

    /// Keeps the files that an attempt left, and returns them.
    fn keep(
        &self,
        task_id: TaskId,
        attempt: u32,
        files: OutputFiles,
    ) -> impl Future<Output = Result<Vec<Artifact>, String>> + Send;
}

/// Executes claims. Every holder may send ends; when the last holder is gone, all are sent.
pub(crate) struct Executor<A> {
    shared: Arc<Shared>,
    attempts: Arc<A>,
    ends: Ways,
}

impl<A: Attempts> Executor<A> {
    pub(crate) fn new(shared: Arc<Shared>, attempts: Arc<A>, ends: Ways) -> Executor<A> {
        Executor {
            shared,
            attempts,
            ends,
        }
    }

    /// The state that executors share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Executes one claim that was entered as `attempting`. `slot` is held until its end is on the
    /// way to storage, so a slow database slows down the guests, and ends do not pile up.
    pub(crate) async fn execute(
        self: Arc<Self>,
        taken: Taken,
        entry: Entry,
        slot: OwnedSemaphorePermit,
    ) {
        let shared = &*self.shared;
        // A reader may have counted it twice while it moved from ready to running.
        shared.room_was_made();
        shared
            .events
            .status(taken.task_id, TaskState::Running, taken.attempt);
        let ended = match self.course(&taken).await {
            Ok(Course::Run(given)) => match self.run(&taken, given, &entry).await {
                Ok(report) => Some(self.end(taken, &entry, report).await),
                Err(not_yet) => Some(self.postpone(taken, &entry, &not_yet)),
            },
            Ok(Course::End(outcome)) => Some(self.end_without_run(taken, &entry, outcome).await),
            Ok(Course::Skip(reason)) => Some(self.skipped(taken, &reason)),
            Ok(Course::Cancel) => {
                let now = shared.clock.now();
                Some(never_began(
                    taken,
                    Next::Cancel,
                    FailureKind::Cancelled,
                    now,
                ))
            }
            Ok(Course::Park(park)) => self.park(taken, &entry, park).await,
            Err(not_yet) => Some(self.postpone(taken, &entry, &not_yet)),
        };
        if let Some(ended) = ended {
            self.send(ended).await;
        }
        drop((entry, slot));
        shared.room_was_made();
    }

    /// Gives back a claim that did not begin.
    pub(crate) async fn give_back(&self, taken: Taken) {
        tracing::debug!(task.id = %taken.task_id, "a claim is given back before it began");
        let now = self.shared.clock.now();
        self.send(never_began(taken, Next::GiveBack, FailureKind::Lost, now))
            .await;
    }

    /// The end of an attempt that this host could not begin; it is not counted.
    fn postpone(&self, taken: Taken, attempting: &Attempting, not_yet: &NotYet) -> Ended {
        let now = self.shared.clock.now();
        if attempting.stopped() == Some(Stop::Cancel) {
            return never_began(taken, Next::Cancel, FailureKind::Cancelled, now);
        }
        tracing::debug!(%not_yet, "a claim is given back for a while");
        // Reported before it is recorded, so that the next attempt's start cannot be reported
        // before it.
        self.shared.events.not_begun(taken.task_id, taken.attempt);
        let postponing = &self.shared.postponing;
        let unable = || postponing.wait(std::time::Instant::now());
        let wait = not_yet.wait.unwrap_or_else(unable);
        never_began(
            taken,
            Next::Postpone(now.plus(wait)),
            FailureKind::Lost,
            now,
        )
    }

    async fn run(
        &self,
        claim: &Claim,
        given: Option<Box<Given>>,
        attempting: &Arc<Attempting>,
    ) -> Result<Report, NotYet> {
        let control = Control {
            cancel: attempting.cancel.clone(),
            kill: attempting.kill.clone(),
            observer: Some(Arc::new(Told::of(claim, Arc::clone(&self.shared)))),
        };
        // A panic costs one attempt, not the lane that runs it.
        match AssertUnwindSafe(self.attempts.run(claim, given, control))
            .catch_unwind()
            .await
        {
            Ok(ended) => ended,
            Err(_panic) => {
                tracing::error!("the host panicked under this attempt");
                let failure =
                    Failure::new(FailureKind::HostError, "the host failed under the attempt");
                Ok(failed(failure))
            }
        }
    }

    async fn end(&self, taken: Taken, attempting: &Attempting, report: Report) -> Ended {
        let claim: &Claim = &taken;
        let Report {
            mut outcome,
            usage,
            streams,
            files,
            isolation: _,
        } = allowance::held_to_quota(&self.shared, &claim.tenant, report).await;
        let (mut artifacts, mut left_out) = (Vec::new(), LeftOut::default());
        if let Some(files) = files {
            left_out = files.left_out();
            let keeping = self.attempts.keep(claim.task_id, claim.attempt, files);
            let kept = AssertUnwindSafe(keeping).catch_unwind().await;
            match kept.unwrap_or_else(|_panic| Err("the host panicked".to_owned())) {
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
                tenant: claim.tenant.clone(),
                attempt: claim.attempt,
                fence: claim.fence,
                workflow: claim.node.as_ref().map(|node| node.workflow),
                finished_at,
                outcome,
                usage,
                streams,
                artifacts,
                left_out,
                next,
            },
            created_at: claim.created_at,
            max_attempts: claim.max_attempts,
            holds_place: claim.holds_place,
            spec: Arc::clone(&claim.spec),
            wait: wait_of(claim),
            ran: true,
            shrunk: false,
            _hold: taken.into_hold(),
        }
    }

    async fn send(&self, ended: Ended) {
        // Only a killed completer refuses; then the next start rescues the task.
        if self.ends.send(ended).await.is_err() {
            tracing::error!("an attempt's end cannot be recorded: the completer is gone");
        }
    }
}

/// The end of a claim without a run.
pub(crate) fn never_began(taken: Taken, next: Next, kind: FailureKind, now: Timestamp) -> Ended {
    let claim: &Claim = &taken;
    Ended {
        end: AttemptEnd {
            task_id: claim.task_id,
            tenant: claim.tenant.clone(),
            attempt: claim.attempt,
            fence: claim.fence,
            workflow: claim.node.as_ref().map(|node| node.workflow),
            finished_at: now,
            outcome: Outcome::Failed(Failure::new(kind, "the attempt did not begin")),
            usage: Usage::default(),
            streams: Streams::default(),
            artifacts: Vec::new(),
            left_out: LeftOut::default(),
            next,
        },
        created_at: claim.created_at,
        max_attempts: claim.max_attempts,
        holds_place: claim.holds_place,
        spec: Arc::clone(&claim.spec),
        wait: wait_of(claim),
        ran: false,
        shrunk: false,
        _hold: taken.into_hold(),
    }
}

/// A report with only a failure.
pub(crate) fn failed(failure: Failure) -> Report {
    without_run(Outcome::Failed(failure))
}

/// The report of what ended without a guest.
fn without_run(outcome: Outcome) -> Report {
    Report {
        outcome,
        usage: Usage::default(),
        streams: Streams::default(),
        files: None,
        isolation: None,
    }
}

fn wait_of(claim: &Claim) -> Duration {
    claim.claimed_at.since(claim.run_at)
}

fn log_end(outcome: &Outcome, usage: &Usage, next: Next) {
    let duration_us = usage.duration_us();
    match outcome {
        Outcome::Completed(_) => tracing::debug!(duration_us, "the attempt completed"),
        Outcome::Failed(failure) => {
            // What a guest says is its tenant's, and not the log's.
            let is_ours = matches!(failure.kind, FailureKind::HostError | FailureKind::Lost);
            tracing::info!(
                duration_us,
                kind = failure.kind.as_str(),
                cause = is_ours.then(|| said::for_log(&failure.message)),
                ?next,
                "the attempt failed"
            );
        }
    }
}
