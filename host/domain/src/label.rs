//! The finer word for where a task stands: its state, and what the state leaves open.
//!
//! A label is never stored. It follows from the state, the attempts so far, the earliest moment of
//! the next one and the time at which somebody asks.

use crate::attempt::FailureKind;
use crate::state::TaskState;

/// Where a task stands, to whoever asks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// Waits for parents in a workflow.
    Blocked,
    /// Waits for the moment of its first attempt.
    Scheduled,
    /// Waits for the moment of another attempt.
    Retrying,
    /// May be claimed.
    Pending,
    /// Claimed by a worker.
    Running,
    /// Claimed by a worker that was asked to end it.
    Cancelling,
    /// It gave a result.
    Completed,
    /// It failed, and nothing suggests that it was worth another attempt.
    Failed,
    /// It failed although it was tried again, or because its hosts died: a dead letter
    /// ([`is_dead`]).
    Dead,
    /// Somebody cancelled it.
    Cancelled,
    /// It is a node of a workflow and was not to run.
    Skipped,
}

impl Label {
    /// Every label, in the order of a task's life.
    pub const ALL: [Label; 11] = [
        Label::Blocked,
        Label::Scheduled,
        Label::Retrying,
        Label::Pending,
        Label::Running,
        Label::Cancelling,
        Label::Completed,
        Label::Failed,
        Label::Dead,
        Label::Cancelled,
        Label::Skipped,
    ];

    /// The word of the API. Where the state leaves nothing open it is the state's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Label::Scheduled => "scheduled",
            Label::Retrying => "retrying",
            Label::Cancelling => "cancelling",
            Label::Dead => "dead",
            Label::Skipped => "skipped",
            Label::Blocked
            | Label::Pending
            | Label::Running
            | Label::Completed
            | Label::Failed
            | Label::Cancelled => self.state().as_str(),
        }
    }

    /// The label of that name.
    pub fn parse(word: &str) -> Option<Label> {
        Label::ALL.into_iter().find(|label| label.as_str() == word)
    }

    /// The state of every task that has this label.
    pub const fn state(self) -> TaskState {
        match self {
            Label::Blocked => TaskState::Blocked,
            Label::Scheduled | Label::Retrying | Label::Pending => TaskState::Pending,
            Label::Running | Label::Cancelling => TaskState::Running,
            Label::Completed => TaskState::Completed,
            Label::Failed | Label::Dead => TaskState::Failed,
            Label::Cancelled | Label::Skipped => TaskState::Cancelled,
        }
    }
}

/// Whether a failed task is a dead letter: the policy that should have brought it through has given up.
/// Either it lost more hosts than it may, or it was allowed several attempts and has none left. A task
/// that had one attempt, or whose guest said that another is pointless, has failed and no more.
pub fn is_dead(failure: Option<FailureKind>, attempt: u32, max_attempts: u32) -> bool {
    failure == Some(FailureKind::Lost) || (attempt >= max_attempts && max_attempts > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_was_lost_too_often_or_has_used_up_several_attempts() {
        let trap = Some(FailureKind::Trap);
        assert!(is_dead(Some(FailureKind::Lost), 1, 1));
        assert!(is_dead(Some(FailureKind::Lost), 1, 3));
        assert!(is_dead(trap, 2, 2));
        assert!(is_dead(None, 3, 2));
        assert!(!is_dead(trap, 1, 1));
        assert!(!is_dead(trap, 1, 2));
        assert!(!is_dead(None, 1, 1));
    }

    #[test]
    fn words_round_trip_and_every_state_has_one() {
        for label in Label::ALL {
            assert_eq!(Label::parse(label.as_str()), Some(label));
        }
        for state in TaskState::ALL {
            let label = Label::parse(state.as_str()).unwrap();
            assert_eq!(label.state(), state);
        }
        assert_eq!(Label::parse("late"), None);
    }
}
