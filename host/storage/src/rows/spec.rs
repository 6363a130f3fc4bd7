//! A task's spec, put together from the columns of its own row and its template, and its input as
//! columns.

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::template::Template;
use super::{from_json, to_json};
use crate::StorageError;
use cofferdam_domain::task::{Input, Priority, TaskSpec};

/// The metadata of a spec that has none; it is not stored.
pub(crate) const NO_METADATA: &str = "{}";

/// The columns that make a spec, read but not yet decoded.
pub(crate) struct SpecParts {
    pub(crate) input: Input,
    pub(crate) args: Option<String>,
    pub(crate) env: Option<String>,
    pub(crate) metadata: Option<String>,
}

/// The columns of an input, which is in the row or in a file.
pub(crate) struct InputColumns<'a> {
    pub(crate) content_type: &'a str,
    pub(crate) blob: Option<Uuid>,
    pub(crate) blob_bytes: Option<i64>,
    pub(crate) body: Option<&'a Bytes>,
}

impl InputColumns<'_> {
    /// The columns of this one.
    pub(crate) fn of(input: &Input) -> Result<InputColumns<'_>, StorageError> {
        Ok(match input {
            Input::Inline(payload) => InputColumns {
                content_type: &payload.content_type,
                blob: None,
                blob_bytes: None,
                body: Some(&payload.body),
            },
            Input::Spooled {
                content_type,
                blob,
                size_bytes,
            } => InputColumns {
                content_type,
                blob: Some(blob.0),
                blob_bytes: Some(i64::try_from(*size_bytes).map_err(StorageError::corrupt)?),
                body: None,
            },
        })
    }
}

/// A list as JSON; absent if it is empty.
pub(crate) fn list<T: Serialize>(items: &[T]) -> Result<Option<String>, StorageError> {
    (!items.is_empty()).then(|| to_json(&items)).transpose()
}

impl SpecParts {
    /// The spec, completed from the template.
    pub(crate) fn into_spec(
        self,
        template: &Template,
        priority: Priority,
    ) -> Result<TaskSpec, StorageError> {
        Ok(TaskSpec {
            module: template.module.clone(),
            digest: template.digest,
            input: self.input,
            args: self.args.map_or(Ok(Vec::new()), |text| from_json(&text))?,
            env: self.env.map_or(Ok(Vec::new()), |text| from_json(&text))?,
            priority,
            limits: template.limits,
            retry: template.retry.clone(),
            grants: template.grants.clone(),
            isolation: template.isolation,
            placement: template.placement.clone(),
            metadata: self.metadata.unwrap_or_else(|| NO_METADATA.to_owned()),
        })
    }
}
