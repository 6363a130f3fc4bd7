//! What workers do: claims, ends, reports, and what they find they hold.

use rand::Rng;
use rand::rngs::StdRng;

use super::super::Storage;
use super::super::fixture::*;
use super::known::Known;
use super::{Model, WORKERS};
use crate::{Finished, HeldTask, Progress};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::claim::{AttemptEnd, Claim, Next};
use cofferdam_domain::task::ClaimOrder;

/// The ways in which a worker can end an attempt.
pub(super) const ENDS: [fn(&Claim, i64) -> AttemptEnd; 11] = [
    |claim, now| completed(claim, at(now)),
    |claim, now| failed(claim, at(now), FailureKind::InvalidInput, Next::Fail),
    |claim, now| failed(claim, at(now), FailureKind::Trap, Next::RetryAt(at(now))),
    |claim, now| {
        failed(
            claim,
            at(now),
            FailureKind::Trap,
            Next::RetryAt(at(now + 6)),
        )
    },
    |claim, now| failed(claim, at(now), FailureKind::Cancelled, Next::Cancel),
    |claim, now| failed(claim, at(now), FailureKind::Lost, Next::RetryAt(at(now))),
    |claim, now| failed(claim, at(now), FailureKind::Lost, Next::Fail),
    |claim, now| given_back(claim, now),
    |claim, now| given_back(claim, now),
    |claim, now| {
        failed(
            claim,
            at(now),
            FailureKind::Lost,
            Next::Postpone(at(now - 9)),
        )
    },
    |claim, now| {
        failed(
            claim,
            at(now),
            FailureKind::Lost,
            Next::Postpone(at(now + 6)),
        )
    },
];

fn given_back(claim: &Claim, now: i64) -> AttemptEnd {
    failed(claim, at(now), FailureKind::Lost, Next::GiveBack)
}

impl Model {
    pub(super) async fn claim(
        &mut self,
        storage: &dyn Storage,
        worker: usize,
        random: &mut StdRng,
    ) {
        let slots = random.random_range(1..5);
        let order = match random.random_range(0..4) {
            0 => ClaimOrder::Fifo,
            1 => ClaimOrder::Lifo,
            _ => ClaimOrder::Priority,
        };
        let claims = storage
            .claim(WORKERS[worker], slots, order, at(self.now))
            .await
            .unwrap();
        // Which of two comes first that are equal in this, the contract leaves open.
        let turn = |task: &Known| match order {
            ClaimOrder::Priority => (task.priority.rank(), task.run_at),
            ClaimOrder::Fifo => (0, task.run_at),
            ClaimOrder::Lifo => (0, -task.run_at),
        };
        let due = self.tasks.values().filter(|task| task.is_due(self.now));
        let mut turns: Vec<(u8, i64)> = due.map(turn).collect();
        turns.sort_unstable();
        turns.truncate(self.room().min(usize::try_from(slots).unwrap()));
        let mut taken = Vec::new();
        for claim in &claims {
            let task = self.tasks.get_mut(&claim.task_id.0.as_u128()).unwrap();
            assert!(task.is_due(self.now), "{claim:?}: {task:?}");
            taken.push(turn(task));
            task.begin(WORKERS[worker], claim.fence);
            assert_eq!(
                (claim.attempt, claim.lost, claim.max_attempts),
                (task.seen.attempt, task.seen.lost, task.seen.max_attempts)
            );
        }
        assert_eq!(taken, turns);
        match random.random_bool(0.2) {
            true => self.unanswered.extend(claims),
            false => self.claims.extend(claims),
        }
    }

    /// Several ends in one call: of claims that are held and of some that are not any more.
    pub(super) async fn finish(&mut self, storage: &dyn Storage, random: &mut StdRng) {
        if self.claims.is_empty() {
            return;
        }
        let ends: Vec<AttemptEnd> = (0..random.random_range(1..4))
            .map(|_| {
                // The newest are more likely to be held.
                let newest = self.claims.len().saturating_sub(8);
                let from = if random.random_bool(0.8) { newest } else { 0 };
                let claim = &self.claims[random.random_range(from..self.claims.len())];
                ENDS[random.random_range(0..ENDS.len())](claim, self.now)
            })
            .collect();
        let expected: Vec<Finished> = ends.iter().map(|end| self.end(end)).collect();
        assert_eq!(storage.finish(ends.clone()).await.unwrap(), expected);
        // The answer to the commit was lost: the same ends are offered again, and change nothing.
        let stale = vec![Finished::Stale; ends.len()];
        assert_eq!(storage.finish(ends).await.unwrap(), stale);
    }

    fn end(&mut self, end: &AttemptEnd) -> Finished {
        let holds = |task: &&mut Known| {
            let fence = task.holder.map(|(_, fence)| fence);
            fence == Some(end.fence) && task.seen.attempt == end.attempt
        };
        let task = self.tasks.get_mut(&end.task_id.0.as_u128());
        match task.filter(holds) {
            Some(task) => Finished::Recorded(task.end(end, self.now)),
            None => Finished::Stale,
        }
    }

    /// A worker compares what storage says it holds with what it knows of.
    pub(super) async fn give_back_unanswered(&mut self, storage: &dyn Storage, worker: usize) {
        let held = storage.held(WORKERS[worker]).await.unwrap();
        let unanswered = std::mem::take(&mut self.unanswered);
        for claim in unanswered {
            // Fences may come again here: the backend's dice are the same at each start.
            let found = HeldTask {
                task_id: claim.task_id,
                attempt: claim.attempt,
                fence: claim.fence,
            };
            let is_held = held.contains(&found);
            let end = given_back(&claim, self.now);
            let task = self.tasks.get(&claim.task_id.0.as_u128());
            let holder = (WORKERS[worker], claim.fence);
            let is_own = task.is_some_and(|task| {
                task.holder == Some(holder) && task.seen.attempt == claim.attempt
            });
            assert_eq!(is_held, is_own);
            if is_held {
                let expected = self.end(&end);
                assert_eq!(finish_one(storage, end).await, expected);
            } else {
                // The other worker's, or rescued meanwhile.
                self.unanswered.push(claim);
            }
        }
    }

    /// Reports of which some are stale.
    pub(super) async fn report(&mut self, storage: &dyn Storage, random: &mut StdRng) {
        if self.claims.is_empty() {
            return;
        }
        let mut reports = Vec::new();
        for _ in 0..random.random_range(1..4) {
            let claim = &self.claims[random.random_range(0..self.claims.len())];
            if reports
                .iter()
                .any(|report: &Progress| report.fence == claim.fence)
            {
                continue;
            }
            let note = format!("{} of {}", reports.len(), self.now);
            let task = self.tasks.get_mut(&claim.task_id.0.as_u128());
            if let Some(task) = task
                && task.holder.is_some_and(|(_, fence)| fence == claim.fence)
            {
                task.note.clone_from(&note);
            }
            reports.push(Progress {
                task_id: claim.task_id,
                tenant: claim.tenant.clone(),
                fence: claim.fence,
                fraction: 0.5,
                note,
            });
        }
        storage
            .report_progress(reports, at(self.now))
            .await
            .unwrap();
    }
}
