//! Claims that are nodes of workflows: what `nodes` decides of one is carried out here.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::{Attempts, Ended, Executor, never_began, without_run};
use crate::nodes::{Decision, Given};
use crate::queue::hands::Taken;
use crate::queue::running::Attempting;
use crate::runner::NotYet;
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome};
use cofferdam_domain::claim::{Claim, Next};
use cofferdam_storage::{Bounds, HeldNode, Park, Parking, WORKFLOW_NODES_MAX};

/// What becomes of a claim.
pub(super) enum Course {
    /// A guest runs.
    Run(Option<Box<Given>>),
    /// It ends so, without one.
    End(Outcome),
    /// It does not run, for that reason.
    Skip(String),
    /// It is cancelled.
    Cancel,
    /// It waits.
    Park(Park),
}

impl From<Decision> for Course {
    fn from(decision: Decision) -> Course {
        match decision {
            Decision::Run(given) => Course::Run(Some(given)),
            Decision::End(outcome) => Course::End(outcome),
            Decision::Skip(reason) => Course::Skip(reason),
            Decision::Cancel => Course::Cancel,
            Decision::Park(park) => Course::Park(park),
        }
    }
}

impl<A: Attempts> Executor<A> {
    /// What becomes of a claim. A task that is no node runs.
    pub(super) async fn course(&self, claim: &Claim) -> Result<Course, NotYet> {
        let Some(node) = &claim.node else {
            return Ok(Course::Run(None));
        };
        let now = self.shared.clock.now();
        let fresh = || self.shared.dice.task_id(now);
        let deciding = self.shared.nodes.decide(claim, node, now, &fresh);
        match AssertUnwindSafe(deciding).catch_unwind().await {
            Ok(Ok(decision)) => Ok(decision.into()),
            Ok(Err(error)) => Err(NotYet::because(error)),
            Err(_panic) => {
                tracing::error!("the host panicked over a node");
                let failure = Failure::new(FailureKind::HostError, "the host failed over the node");
                Ok(Course::End(Outcome::Failed(failure)))
            }
        }
    }

    /// The end of what ended without a guest: no attempt of it is counted.
    pub(super) async fn end_without_run(
        &self,
        taken: Taken,
        attempting: &Attempting,
        outcome: Outcome,
    ) -> Ended {
        let mut ended = self.end(taken, attempting, without_run(outcome)).await;
        ended.ran = false;
        ended
    }

    /// The end of a node that did not run.
    pub(super) fn skipped(&self, taken: Taken, reason: &str) -> Ended {
        let now = self.shared.clock.now();
        let mut ended = never_began(taken, Next::Cancel, FailureKind::Skipped, now);
        ended.end.outcome = Outcome::Failed(Failure::new(FailureKind::Skipped, reason));
        ended
    }

    /// Parks a node; its end, if it cannot be parked.
    pub(super) async fn park(
        &self,
        taken: Taken,
        attempting: &Attempting,
        park: Park,
    ) -> Option<Ended> {
        let shared = &*self.shared;
        let held = HeldNode::of(&taken)?;
        let rules = shared.admission.rules_of(&taken.tenant);
        let bounds = Bounds {
            pending_max: shared.config.pending_max,
            tenant: rules.map(|rules| rules.task_quotas()).unwrap_or_default(),
        };
        // As a claim that is put off is reported: before it may begin anew.
        shared.events.not_begun(taken.task_id, taken.attempt);
        let now = shared.clock.now();
        match shared.nodes.workflows().park(held, park, bounds, now).await {
            Ok(Parking::Parked(state)) => {
                tracing::debug!(state = state.as_str(), "a node is parked");
                shared.tell_changed(taken.task_id);
                shared.tell_work();
                None
            }
            Ok(Parking::CancelRequested) => Some(never_began(
                taken,
                Next::Cancel,
                FailureKind::Cancelled,
                now,
            )),
            Ok(Parking::TooManyNodes) => {
                let why = format!("its workflow would have more than {WORKFLOW_NODES_MAX} nodes");
                let outcome = Outcome::Failed(Failure::new(FailureKind::GuestError, why));
                Some(self.end_without_run(taken, attempting, outcome).await)
            }
            Ok(Parking::Stale) => None,
            Err(error) => Some(self.postpone(taken, attempting, &NotYet::because(error))),
        }
    }
}
