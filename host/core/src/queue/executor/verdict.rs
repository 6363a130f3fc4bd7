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
        // Storage ignores the end of a disowned attempt.
        (Some(Stop::Drain | Stop::Disowned), Outcome::Failed(_)) => {
            let failure = Failure::new(FailureKind::Lost, "the host shut down under the attempt");
            let again = claim.lost < claim.spec.retry.max_lost;
            let next = if again {
                Next::RetryAt(now)
            } else {
                Next::Fail
            };
            (Outcome::Failed(failure), next)
        }
        (None, Outcome::Failed(failure)) => {
            let next = after_failure(claim, &failure, now, dice);
            (Outcome::Failed(failure), next)
        }
    }
}

fn after_failure(claim: &Claim, failure: &Failure, now: Timestamp, dice: f64) -> Next {
    if failure.kind == FailureKind::Cancelled {
        return Next::Cancel;
    }
    if is_worth_retrying(failure) && claim.attempt < claim.max_attempts {
        // Losses are not the task's fault and do not lengthen its waits.
        let charged = claim.attempt.saturating_sub(claim.lost);
        Next::RetryAt(now.plus(claim.spec.retry.wait_after(charged, dice)))
    } else {
        Next::Fail
    }
}
