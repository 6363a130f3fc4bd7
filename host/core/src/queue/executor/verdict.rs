//! Decides what an attempt's end means for its task, as a pure function.

use crate::queue::running::Stop;
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome};
use cofferdam_domain::claim::{Claim, Next};
use cofferdam_domain::retry::is_worth_retrying;
use cofferdam_domain::time::Timestamp;

/// The outcome to record and the task's next state. `dice` is uniform in 0..1.
pub(crate) fn verdict(
    claim: &Claim,
    outcome: Outcome,
    stop: Option<Stop>,
    now: Timestamp,
    dice: f64,
) -> (Outcome, Next) {
    match (stop, outcome) {
        // If the guest still gave an output, it is kept with the cancelled task.
        (Some(Stop::Cancel), Outcome::Completed(payload)) => {
            (Outcome::Completed(payload), Next::Cancel)
        }
        (Some(Stop::Cancel), Outcome::Failed(_)) => {
            let failure = Failure::new(
                FailureKind::Cancelled,
                "the task was cancelled while it ran",
            );
            (Outcome::Failed(failure), Next::Cancel)
        }
        (_, Outcome::Completed(payload)) => (Outcome::Completed(payload), Next::Complete),
        // Storage ignores the end of an attempt that is no longer this host's.
        (Some(stop @ (Stop::Drain | Stop::Disowned | Stop::Fenced)), Outcome::Failed(_)) => {
            let failure = Failure::new(FailureKind::Lost, why_lost(stop));
            (Outcome::Failed(failure), after_loss(claim, now))
        }
        (None, Outcome::Failed(failure)) => {
            let next = after_failure(claim, &failure, now, dice);
            (Outcome::Failed(failure), next)
        }
    }
}

fn why_lost(stop: Stop) -> &'static str {
    match stop {
        Stop::Cancel | Stop::Drain | Stop::Disowned => "the host shut down under the attempt",
        Stop::Fenced => "the host ended the attempt because it could not reach storage",
    }
}

/// A loss is not charged as an attempt, but a task may be lost only so often.
fn after_loss(claim: &Claim, run_at: Timestamp) -> Next {
    match claim.lost < claim.spec.retry.max_lost {
        true => Next::RetryAt(run_at),
        false => Next::Fail,
    }
}

fn after_failure(claim: &Claim, failure: &Failure, now: Timestamp, dice: f64) -> Next {
    if failure.kind == FailureKind::Cancelled {
        return Next::Cancel;
    }
    if failure.kind == FailureKind::Lost {
        // Its process died under it. It may be the one to blame, so it waits longer each time.
        let wait = claim.spec.retry.wait_after(claim.lost + 1, dice);
        return after_loss(claim, now.plus(wait));
    }
    if is_worth_retrying(failure) && claim.attempt < claim.max_attempts {
        // Losses are not the task's fault and do not lengthen its waits.
        let charged = claim.attempt.saturating_sub(claim.lost);
        Next::RetryAt(now.plus(claim.spec.retry.wait_after(charged, dice)))
    } else {
        Next::Fail
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use cofferdam_domain::attempt::{Fence, Payload};
    use cofferdam_domain::caller::Tenant;
    use cofferdam_domain::grants::Grants;
    use cofferdam_domain::limits::Limits;
    use cofferdam_domain::module::{Digest, ModuleName};
    use cofferdam_domain::placement::Placement;
    use cofferdam_domain::retry::RetryPolicy;
    use cofferdam_domain::task::{Input, Priority, TaskId, TaskSpec};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    /// The attempt of that number, of three that the task may have, after it was lost so often.
    fn claim(attempt: u32, lost: u32) -> Claim {
        let retry = RetryPolicy {
            max_attempts: 3,
            max_lost: 2,
            base: Duration::from_secs(1),
            factor: 2.0,
            jitter: false,
            ..RetryPolicy::default()
        };
        let spec = TaskSpec {
            module: ModuleName::parse("m").unwrap(),
            digest: Digest::from_bytes([0; 32]),
            input: Input::empty(),
            args: Vec::new(),
            env: Vec::new(),
            priority: Priority::Normal,
            limits: Limits::DEFAULT,
            retry,
            grants: Grants::none(),
            isolation: None,
            cache_ttl: None,
            placement: Placement::default(),
            metadata: "{}".to_owned(),
        };
        Claim {
            task_id: TaskId(Uuid::nil()),
            attempt,
            fence: Fence(1),
            max_attempts: 3 + lost,
            lost,
            created_at: NOW,
            run_at: NOW,
            claimed_at: NOW,
            holds_place: false,
            ahead: false,
            node: None,
            tenant: Tenant::DEFAULT,
            spec: Arc::new(spec),
        }
    }

    fn failed(kind: FailureKind) -> Outcome {
        Outcome::Failed(Failure::new(kind, "as it was"))
    }

    fn next(claim: &Claim, outcome: Outcome, stop: Option<Stop>) -> (Option<FailureKind>, Next) {
        let (outcome, next) = verdict(claim, outcome, stop, NOW, 0.5);
        (outcome.failure_kind(), next)
    }

    #[test]
    fn what_a_guest_gives_is_kept_however_it_was_stopped() {
        let Input::Inline(output) = Input::empty() else {
            panic!("it is with the task");
        };
        let completed = |output: &Payload| Outcome::Completed(output.clone());
        let cases = [
            (None, Next::Complete),
            (Some(Stop::Cancel), Next::Cancel),
            (Some(Stop::Drain), Next::Complete),
            (Some(Stop::Disowned), Next::Complete),
            (Some(Stop::Fenced), Next::Complete),
        ];
        for (stop, expected) in cases {
            let told = next(&claim(3, 0), completed(&output), stop);
            assert_eq!(told, (None, expected));
        }
    }

    #[test]
    fn a_stopped_attempt_is_cancelled_or_lost_whatever_the_guest_says() {
        let trap = || failed(FailureKind::Trap);
        let cancelled = next(&claim(1, 0), trap(), Some(Stop::Cancel));
        assert_eq!(cancelled, (Some(FailureKind::Cancelled), Next::Cancel));
        for stop in [Stop::Drain, Stop::Disowned, Stop::Fenced] {
            let again = next(&claim(2, 1), trap(), Some(stop));
            assert_eq!(again, (Some(FailureKind::Lost), Next::RetryAt(NOW)));
            let too_often = next(&claim(3, 2), trap(), Some(stop));
            assert_eq!(too_often, (Some(FailureKind::Lost), Next::Fail));
        }
    }

    #[test]
    fn a_task_whose_process_died_is_lost_and_waits_longer_each_time() {
        let lost = |attempt, lost| next(&claim(attempt, lost), failed(FailureKind::Lost), None).1;
        let after = |seconds: u64| Next::RetryAt(NOW.plus(Duration::from_secs(seconds)));
        assert_eq!([lost(1, 0), lost(2, 1)], [after(1), after(2)]);
        // It was lost as often as it may be, however many attempts it has left.
        assert_eq!(lost(3, 2), Next::Fail);
        // The last of its attempts was lost, which is no attempt at all.
        assert_eq!(lost(3, 0), after(1));
        let cancelled = next(&claim(1, 0), failed(FailureKind::Lost), Some(Stop::Cancel));
        assert_eq!(cancelled, (Some(FailureKind::Cancelled), Next::Cancel));
    }

    #[test]
    fn a_failure_is_tried_again_while_attempts_are_left_and_it_may_help() {
        let after = |seconds: u64| Next::RetryAt(NOW.plus(Duration::from_secs(seconds)));
        let told = |attempt: u32, lost: u32, kind: FailureKind| {
            let (told, next) = next(&claim(attempt, lost), failed(kind), None);
            assert_eq!(told, Some(kind));
            next
        };
        assert_eq!(told(1, 0, FailureKind::Timeout), after(1));
        assert_eq!(told(2, 0, FailureKind::Timeout), after(2));
        assert_eq!(told(3, 0, FailureKind::Timeout), Next::Fail);
        assert_eq!(told(4, 2, FailureKind::Timeout), after(2));
        assert_eq!(told(1, 0, FailureKind::InvalidInput), Next::Fail);
        assert_eq!(told(1, 0, FailureKind::Cancelled), Next::Cancel);
    }
}
