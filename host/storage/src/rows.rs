//! Rows as every backend keeps them, and their way to and from the domain: the JSON texts inside
//! rows, states as numbers, what is put together from several columns. A field that is added to a text
//! later needs a default, because old rows stay as they are.

mod access;
mod attempt;
mod batch;
mod callback;
mod class;
mod ended;
mod module;
mod placement;
mod schedule;
mod settings;
mod spec;
mod state;
mod template;
mod tenant;
mod worker;
mod workflow;

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::StorageError;

pub(crate) use self::access::{rate_of, rules_of, rules_text, scopes_number, scopes_of};
pub(crate) use self::attempt::{ArtifactsRow, FailureRow};
pub(crate) use self::batch::{pack, unpack};
pub(crate) use self::callback::{DeliveryRow, ToldRow, TriedRow, callback_of};
pub(crate) use self::class::{CLASSES_MAX, Class, class_text};
pub(crate) use self::ended::{EndedRow, Ending, egress_of, truncated_of};
pub(crate) use self::module::InfoRow;
pub(crate) use self::schedule::{firing_of, firing_text, plan_of, plan_text};
pub(crate) use self::settings::{Asked, Settings};
pub(crate) use self::spec::{InputColumns, NO_METADATA, SpecParts, list, submitted_bytes};
pub(crate) use self::state::{state_number, state_numbers, state_of};
pub(crate) use self::template::{KeptTemplates, Numbers, OPEN, Template, TemplateRow};
pub(crate) use self::tenant::tenant_of;
pub(crate) use self::worker::{
    capabilities_of, capabilities_text, worker_state_number, worker_state_of,
};
pub(crate) use self::workflow::{
    Ends, INSTANCES, NOTHING, SIGNAL, WorkflowRow, final_state, is_skipped, kids,
    on_failure_number, places_bytes, places_of, waits_of, workflow_bytes, workflow_state_number,
    workflow_state_of,
};

/// Writes a row's text.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, StorageError> {
    serde_json::to_string(value).map_err(StorageError::corrupt)
}

/// Reads a row's text.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StorageError> {
    serde_json::from_str(text).map_err(StorageError::corrupt)
}

/// A duration in milliseconds.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
