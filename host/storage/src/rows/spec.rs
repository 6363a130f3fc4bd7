//! A task's spec, put together from the columns of its own row and its template.

use super::from_json;
use super::template::Template;
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
            metadata: self.metadata.unwrap_or_else(|| NO_METADATA.to_owned()),
        })
    }
}
