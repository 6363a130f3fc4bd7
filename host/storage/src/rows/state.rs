//! States as numbers, which every database keeps.

use crate::StorageError;
use cofferdam_domain::state::TaskState;

/// A state as a number in the database.
pub(crate) const fn state_number(state: TaskState) -> u8 {
    match state {
        TaskState::Blocked => 0,
        TaskState::Pending => 1,
        TaskState::Running => 2,
        TaskState::Completed => 3,
        TaskState::Failed => 4,
        TaskState::Cancelled => 5,
    }
}

/// The numbers of states as SQL lists them.
pub(crate) fn state_numbers(states: &[TaskState]) -> String {
    let numbers: Vec<String> = states
        .iter()
        .map(|state| state_number(*state).to_string())
        .collect();
    numbers.join(", ")
}

/// The state of that number.
pub(crate) fn state_of(number: u8) -> Result<TaskState, StorageError> {
    TaskState::ALL
        .into_iter()
        .find(|state| state_number(*state) == number)
        .ok_or_else(|| StorageError::corrupt(format_args!("{number} is not the number of a state")))
}
