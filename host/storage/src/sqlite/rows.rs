//! The JSON texts inside rows, and their conversion to and from the domain. Only this backend reads
//! them; a field added later needs a default, because old rows stay as they are.

mod attempt;
mod module;
mod settings;

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::StorageError;

pub(super) use self::attempt::{ArtifactsRow, FailureRow};
pub(super) use self::module::InfoRow;
pub(super) use self::settings::Settings;

/// Writes a row's text.
pub(super) fn to_json(value: &impl Serialize) -> Result<String, StorageError> {
    serde_json::to_string(value).map_err(StorageError::corrupt)
}

/// Reads a row's text.
pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StorageError> {
    serde_json::from_str(text).map_err(StorageError::corrupt)
}

/// A duration in milliseconds.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
