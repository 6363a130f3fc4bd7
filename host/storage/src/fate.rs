//! Decides what becomes of a task whose attempt ended, whether its worker or the rescue reports it: one
//! rule for every database. Each backend writes it in its own way.

use crate::StorageError;
use cofferdam_domain::attempt::{Failure, FailureKind};
use cofferdam_domain::callback::Ends;
use cofferdam_domain::claim::{AttemptEnd, Next};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

/// The highest number of an attempt; the schemas enforce it too.
pub(crate) const ATTEMPT_MAX: u32 = 1_048_575;

/// The columns of a running task that its end needs.
pub(crate) struct Running {
    pub(crate) seq: i64,
    pub(crate) tenant: String,
    pub(crate) template: i64,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) lost: u32,
    pub(crate) cancel_requested: bool,
    pub(crate) worker: [u8; 16],
    pub(crate) claimed_at: i64,
    pub(crate) place: Option<Place>,
    pub(crate) node: Option<NodeAt>,
    /// The ends that somebody is told, where no trigger of the database knows them.
    pub(crate) told: Option<Ends>,
}

/// A task's place in its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) batch: [u8; 16],
    /// How many are under way at once, if that is bounded.
    pub(crate) bound: Option<u32>,
}

/// A node, by the number of its workflow and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeAt {
    pub(crate) workflow: i64,
    pub(crate) place: u32,
}

/// The `run_at` of a task that has no place in its batch yet: the end of time, so that nothing finds it
/// that looks for what is due. Its own is kept beside.
pub(crate) const NO_PLACE_YET: i64 = i64::MAX;

/// What becomes of a task whose attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It stays in this final state.
    Final(TaskState),
    /// It is pending again, from this instant on, or with its previous `run_at`.
    Again(Option<Timestamp>),
}

/// What an end does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The attempt is recorded and the task moves on.
    Settled {
        /// Where to.
        after: After,
        /// Whether it counts as a loss, which is not charged to a task that goes on.
        is_loss: bool,
        /// What is recorded in place of what the worker told.
        instead: Option<Failure>,
    },
    /// The claim is taken back, as if it had never been made; the task waits until this instant.
    GivenBack(Option<Timestamp>),
}

impl After {
    /// How many attempts more a task may have that was lost.
    pub(crate) fn allowed_more(self) -> u32 {
        match self {
            After::Final(_) => 0,
            After::Again(_) => 1,
        }
    }

    /// The rule for a failed attempt that may be repeated.
    fn retry(task: &Running, run_at: Timestamp) -> After {
        if task.attempt >= task.max_attempts {
            After::Final(TaskState::Failed)
        } else {
            After::Again(Some(run_at))
        }
    }

    /// The rule for an attempt whose host died.
    fn loss(task: &Running, max_lost: u32, run_at: Option<Timestamp>) -> After {
        if task.cancel_requested {
            After::Final(TaskState::Cancelled)
        } else if task.lost >= max_lost || task.max_attempts >= ATTEMPT_MAX {
            After::Final(TaskState::Failed)
        } else {
            After::Again(run_at)
        }
    }
}

/// What the end does that the holder of `task` tells. `max_lost`, how often the task may be lost, is
/// asked for only where it matters.
pub(crate) fn of_end(
    task: &Running,
    end: &AttemptEnd,
    max_lost: impl FnOnce() -> Result<u32, StorageError>,
) -> Result<Fate, StorageError> {
    let is_loss = is_loss(end);
    if task.cancel_requested {
        return Ok(of_cancelled(end.next, is_loss));
    }
    let settled = |after, is_loss| Fate::Settled {
        after,
        is_loss,
        instead: None,
    };
    Ok(match end.next {
        Next::Complete => settled(After::Final(TaskState::Completed), false),
        Next::Fail => settled(After::Final(TaskState::Failed), false),
        Next::Cancel => settled(After::Final(TaskState::Cancelled), false),
        Next::RetryAt(run_at) if is_loss => {
            settled(After::loss(task, max_lost()?, Some(run_at)), true)
        }
        Next::RetryAt(run_at) => settled(After::retry(task, run_at), false),
        Next::GiveBack => Fate::GivenBack(None),
        Next::Postpone(run_at) => Fate::GivenBack(Some(run_at)),
    })
}

/// The caller was promised the cancel, so neither a loss nor a returned claim starts the task again. If
/// the guest still gave a result, it is kept.
fn of_cancelled(next: Next, is_loss: bool) -> Fate {
    let after = After::Final(TaskState::Cancelled);
    match next {
        Next::GiveBack | Next::Postpone(_) => {
            let why = "the task was cancelled before this attempt began";
            Fate::Settled {
                after,
                is_loss: false,
                instead: Some(Failure::new(FailureKind::Cancelled, why)),
            }
        }
        Next::Complete | Next::Fail | Next::Cancel | Next::RetryAt(_) => Fate::Settled {
            after,
            is_loss,
            instead: None,
        },
    }
}

/// Whether a worker tells that the task was lost.
pub(crate) fn is_loss(end: &AttemptEnd) -> bool {
    end.outcome.failure_kind() == Some(FailureKind::Lost)
}

/// What becomes of a task whose host died, and what is recorded of the attempt.
pub(crate) fn of_dead_host(task: &Running, max_lost: u32) -> (After, Failure) {
    let after = After::loss(task, max_lost, None);
    let message = match after {
        After::Final(TaskState::Failed) => format!(
            "the host running this attempt died; that happened to this task {} times, and its \
             retry policy allows {max_lost}",
            task.lost + 1
        ),
        After::Final(_) | After::Again(_) => "the host running this attempt died".to_owned(),
    };
    (after, Failure::new(FailureKind::Lost, message))
}

/// How often a lost task may be lost, by its template. A task whose template cannot be read cannot run
/// again, and it must not keep the others from being rescued.
pub(crate) fn max_lost_of(
    task: &Running,
    known: Result<u32, StorageError>,
) -> Result<u32, StorageError> {
    match known {
        Err(StorageError::Corrupt(why)) => {
            let seq = task.seq;
            tracing::error!(seq, why, "a lost task's stored data cannot be read");
            Ok(0)
        }
        known => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(7);

    fn running(attempt: u32, max_attempts: u32, lost: u32) -> Running {
        Running {
            seq: 1,
            tenant: String::new(),
            template: 1,
            attempt,
            max_attempts,
            lost,
            cancel_requested: false,
            worker: [0; 16],
            claimed_at: 0,
            place: None,
            node: None,
            told: None,
        }
    }

    #[test]
    fn a_failure_uses_up_an_attempt_and_a_loss_does_not() {
        let failed = After::Final(TaskState::Failed);
        let again = After::Again(Some(AT));
        assert_eq!(After::retry(&running(1, 2, 0), AT), again);
        assert_eq!(After::retry(&running(2, 2, 0), AT), failed);
        assert_eq!(After::retry(&running(3, 2, 0), AT), failed);
        assert_eq!(After::loss(&running(2, 2, 1), 2, Some(AT)), again);
        assert_eq!(After::loss(&running(1, 2, 1), 2, None), After::Again(None));
        assert_eq!(After::loss(&running(1, 2, 2), 2, Some(AT)), failed);
        assert_eq!(After::loss(&running(1, 2, 3), 2, Some(AT)), failed);
    }

    #[test]
    fn attempts_are_counted_no_further_than_their_column_goes() {
        let loss = |max_attempts: u32| After::loss(&running(1, max_attempts, 0), 5, None);
        assert_eq!(loss(ATTEMPT_MAX - 1), After::Again(None));
        assert_eq!(loss(ATTEMPT_MAX), After::Final(TaskState::Failed));
        let cancelled = Running {
            cancel_requested: true,
            ..running(1, ATTEMPT_MAX, 9)
        };
        let loss = After::loss(&cancelled, 5, Some(AT));
        assert_eq!(loss, After::Final(TaskState::Cancelled));
    }
}
