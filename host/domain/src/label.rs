//! The finer word for where a task stands: its state, and what the state leaves open.
//!
//! A label is never stored. It follows from the state, the attempts so far, the earliest moment of
//! the next one and the time at which somebody asks.

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
    /// No attempt is left.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl Label {
    /// Every label, in the order of a task's life.
    pub const ALL: [Label; 9] = [
        Label::Blocked,
        Label::Scheduled,
        Label::Retrying,
        Label::Pending,
        Label::Running,
        Label::Cancelling,
        Label::Completed,
        Label::Failed,
        Label::Cancelled,
    ];

    /// The word of the API. Where the state leaves nothing open it is the state's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Label::Scheduled => "scheduled",
            Label::Retrying => "retrying",
            Label::Cancelling => "cancelling",
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
            Label::Failed => TaskState::Failed,
            Label::Cancelled => TaskState::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
