//! Workers as every database keeps them: a number for the state, a JSON array for the capabilities.

use super::{from_json, to_json};
use crate::StorageError;
use cofferdam_domain::worker::{Capability, WorkerState};

/// The number of a worker's state.
pub(crate) fn worker_state_number(state: WorkerState) -> u8 {
    match state {
        WorkerState::Idle => 0,
        WorkerState::Running => 1,
        WorkerState::Draining => 2,
        WorkerState::Error => 3,
        WorkerState::Terminated => 4,
    }
}

/// The state with that number.
pub(crate) fn worker_state_of(number: u8) -> Result<WorkerState, StorageError> {
    WorkerState::ALL
        .into_iter()
        .find(|state| worker_state_number(*state) == number)
        .ok_or_else(|| StorageError::corrupt(format!("{number} is no state of a worker")))
}

/// Capabilities as a row's text.
pub(crate) fn capabilities_text(capabilities: &[Capability]) -> Result<String, StorageError> {
    let names: Vec<&str> = capabilities.iter().map(Capability::as_str).collect();
    to_json(&names)
}

/// The capabilities in a row's text.
pub(crate) fn capabilities_of(text: &str) -> Result<Vec<Capability>, StorageError> {
    let names: Vec<String> = from_json(text)?;
    let capabilities = names.iter().map(|name| Capability::parse(name));
    let capabilities: Result<_, _> = capabilities.collect();
    capabilities.map_err(StorageError::corrupt)
}
