//! A task's spec, put together from the columns of its own row and its template, and its input as
//! columns.

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::template::Template;
use super::{from_json, to_json};
use crate::StorageError;
use cofferdam_domain::task::{Input, NewTask, Priority, TaskSpec};

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

/// The bytes that are kept for a task as it was submitted, whose arguments and environment are these texts.
pub(crate) fn submitted_bytes(task: &NewTask, texts: [Option<&String>; 2]) -> u64 {
    let spec = &task.spec;
    let input = match &spec.input {
        Input::Inline(payload) => payload.body.len() as u64,
        Input::Spooled { size_bytes, .. } => *size_bytes,
    };
    let metadata = match spec.metadata.as_str() {
        NO_METADATA => 0,
        metadata => metadata.len(),
    };
    let texts = texts.into_iter().flatten().map(String::len).sum::<usize>() + metadata;
    input.saturating_add(texts as u64)
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
            cache_ttl: template.cache_ttl,
            placement: template.placement.clone(),
            metadata: self.metadata.unwrap_or_else(|| NO_METADATA.to_owned()),
        })
    }
}
