//! Modules as callers see them.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::intake::time::Time;
use cofferdam::breaker::Held;
use cofferdam_domain::module::{Descriptor, ModuleInfo, ModuleName};
use cofferdam_storage::StoredModule;

/// A module.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ModuleJson {
    name: String,
    /// `sha256:` and 64 hexadecimal digits.
    digest: String,
    /// `task` or `command`.
    kind: &'static str,
    size_bytes: u64,
    imports: Vec<String>,
    /// The grants without which some imports only answer "denied".
    needs: Vec<String>,
    descriptor: Option<DescriptorJson>,
    compiled_ms: u64,
    /// When it was put under this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Time>,
    /// Why and for how long this host holds it back; only if one module is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) held: Option<HeldJson>,
    /// Every version still kept, newest first; only if one module is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) versions: Option<Vec<VersionJson>>,
}

/// A module that a host holds back, because it failed again and again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct HeldJson {
    /// `open`: it waits. `half_open`: an attempt is being tried.
    state: &'static str,
    /// Until the next attempt may be tried.
    wait_ms: u64,
    /// Its failures in a row.
    failures: u32,
    /// The kind and the message of the last.
    reason: String,
}

impl From<Held> for HeldJson {
    fn from(held: Held) -> HeldJson {
        HeldJson {
            state: if held.on_trial { "half_open" } else { "open" },
            wait_ms: u64::try_from(held.wait.as_millis()).unwrap_or(u64::MAX),
            failures: held.failures,
            reason: held.reason,
        }
    }
}

/// A task module's description of itself.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DescriptorJson {
    summary: String,
    #[schema(value_type = Option<Object>)]
    input_schema: Option<Box<RawValue>>,
    #[schema(value_type = Option<Object>)]
    output_schema: Option<Box<RawValue>>,
}

/// A version of a module.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct VersionJson {
    digest: String,
    size_bytes: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
}

/// The length of the module's own texts in a list.
pub(super) fn text_bytes(module: &StoredModule) -> usize {
    let descriptor = module.info.descriptor.as_ref();
    let of_descriptor = descriptor.map_or(0, |descriptor| {
        let schemas = [&descriptor.input_schema, &descriptor.output_schema];
        let schemas = schemas
            .into_iter()
            .flatten()
            .map(String::len)
            .sum::<usize>();
        descriptor.summary.len() + schemas
    });
    let imports: usize = module.info.imports.iter().map(String::len).sum();
    of_descriptor + imports
}

impl ModuleJson {
    pub(super) fn new(name: &ModuleName, info: &ModuleInfo) -> ModuleJson {
        ModuleJson {
            name: name.to_string(),
            digest: info.digest.to_string(),
            kind: info.kind.as_str(),
            size_bytes: info.size_bytes,
            imports: info.imports.clone(),
            needs: info.needs.clone(),
            descriptor: info.descriptor.as_ref().map(DescriptorJson::from),
            compiled_ms: info.compiled_ms,
            created_at: None,
            held: None,
            versions: None,
        }
    }

    pub(super) fn stored(stored: &StoredModule) -> ModuleJson {
        let created_at = Some(Time(stored.created_at));
        ModuleJson {
            created_at,
            ..ModuleJson::new(&stored.name, &stored.info)
        }
    }
}

impl From<&Descriptor> for DescriptorJson {
    fn from(descriptor: &Descriptor) -> DescriptorJson {
        // The upload refused every schema that is not JSON.
        let schema = |text: &Option<String>| {
            text.clone()
                .and_then(|text| RawValue::from_string(text).ok())
        };
        DescriptorJson {
            summary: descriptor.summary.clone(),
            input_schema: schema(&descriptor.input_schema),
            output_schema: schema(&descriptor.output_schema),
        }
    }
}

impl From<&StoredModule> for VersionJson {
    fn from(stored: &StoredModule) -> VersionJson {
        VersionJson {
            digest: stored.info.digest.to_string(),
            size_bytes: stored.info.size_bytes,
            created_at: Time(stored.created_at),
        }
    }
}
