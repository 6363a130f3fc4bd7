//! A task as a caller submits it: from JSON, or from a query beside a raw body ([`raw`]), to the
//! queue's [`Submission`].
//!
//! Mistakes that do not depend on this host's modules, ceilings and directories are refused here,
//! with the name of the field.

pub(crate) mod raw;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::intake::cache::CacheJson;
use crate::intake::callback::CallbackJson;
use crate::intake::fingerprint::fingerprint;
use crate::intake::grants::GrantsJson;
use crate::intake::json::{UniqueMap, Whole, present};
use crate::intake::limits::LimitsJson;
use crate::intake::placement::placement;
use crate::intake::refused::Refused;
use crate::intake::retry::RetryJson;
use crate::intake::time::Time;
use crate::intake::words;
use cofferdam::queue::Submission;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::module::ModuleRef;
use cofferdam_domain::said::{self, OCTET_STREAM};
use cofferdam_domain::task::Input;

/// The longest delay of a task: a year.
const DELAY_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1000;
/// The largest metadata, as JSON text.
const METADATA_BYTES_MAX: usize = 16 * 1024;
/// How deep metadata may nest, including its own braces.
const METADATA_DEPTH_MAX: usize = 32;

/// The body of `POST /v1/tasks`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskRequest<'a> {
    /// A name, or name@sha256:…
    #[schema(pattern = "^[a-z0-9][a-z0-9._/-]{0,127}(@sha256:[0-9a-f]{64})?$")]
    pub(super) module: String,
    /// Any JSON.
    #[serde(default, borrow, deserialize_with = "present")]
    #[schema(value_type = Option<Value>)]
    pub(super) input: Option<&'a RawValue>,
    /// Any bytes, instead of `input`.
    pub(super) input_base64: Option<String>,
    /// `application/json` for `input` if absent.
    pub(super) content_type: Option<String>,
    /// Arguments, for commands.
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// Environment variables.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub(super) env: UniqueMap,
    /// `critical`, `high`, `normal` or `low`.
    #[schema(pattern = "^(critical|high|normal|medium|low)$")]
    pub(super) priority: Option<String>,
    /// How long it must wait first.
    #[schema(value_type = Option<u64>, minimum = 0)]
    pub(super) delay_ms: Option<Whole<0, DELAY_MS_MAX>>,
    /// The earliest moment it may run.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) run_at: Option<Time>,
    /// At most one task has it within the host's window.
    #[schema(min_length = 1, max_length = 255)]
    pub(super) dedup_key: Option<String>,
    /// A UUID that the caller chose.
    #[schema(pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
    pub(super) task_id: Option<String>,
    #[serde(default)]
    pub(super) limits: LimitsJson,
    #[serde(default)]
    pub(super) retry: RetryJson,
    #[serde(default)]
    pub(super) grants: GrantsJson,
    /// `shared`, `process` or `dedicated`: whether it runs in the host's process, in a jailed one, or in one
    /// for itself, where its loops have no checks; the host decides
    /// if absent. The host may want more than is asked for.
    #[schema(pattern = "^(shared|process|dedicated)$")]
    pub(super) isolation: Option<String>,
    /// Capabilities the worker must have, all of them; `group:NAME` for a group that it must belong to.
    #[serde(default)]
    #[schema(max_items = 16)]
    pub(super) requires: Vec<String>,
    /// The id or the name of the worker that the task is for at first; any other that has what is
    /// required takes it once it has waited for `queue.preferred_grace_ms`.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub(super) preferred_worker: Option<String>,
    /// For how long its result may be another's.
    pub(super) cache: Option<CacheJson>,
    /// Whom its end is told.
    pub(super) callback: Option<CallbackJson>,
    /// The caller's own object, kept with the task.
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    pub(super) metadata: Option<&'a RawValue>,
}

impl TaskRequest<'_> {
    /// What the queue takes; `body` is the text this was read from.
    pub(crate) fn into_submission(self, body: &Bytes) -> Result<Submission, Refused> {
        let input = input(body, self.input, self.input_base64, self.content_type)?;
        words::check(&self.args, &self.env.0)?;
        let placement = placement(self.requires, self.preferred_worker, |name, why| {
            Refused::field(name, why)
        })?;
        let task_id = self
            .task_id
            .map(|id| words::task_id(&id).ok_or_else(|| Refused::field("task_id", "not a UUID")));
        Ok(Submission {
            task_id: task_id.transpose()?,
            args: self.args,
            env: self.env.0,
            priority: words::priority(self.priority.as_deref())?,
            delay: Duration::from_millis(self.delay_ms.map_or(0, |delay| delay.0)),
            run_at: self.run_at.map(|time| time.0),
            limits: self.limits.into(),
            retry: self.retry.into_policy()?,
            grants: self.grants.into_grants()?,
            isolation: words::isolation(self.isolation.as_deref())?,
            cache_ttl: self.cache.map(CacheJson::ttl),
            placement,
            dedup_key: self.dedup_key.map(words::dedup_key).transpose()?,
            callback: self.callback.map(CallbackJson::into_callback).transpose()?,
            metadata: metadata(self.metadata)?,
            fingerprint: fingerprint(body),
            ..Submission::new(ModuleRef::parse(&self.module)?, input)
        })
    }
}

/// The input, as a part of `body` if it contains the input verbatim.
fn input(
    body: &Bytes,
    json: Option<&RawValue>,
    base64: Option<String>,
    content_type: Option<String>,
) -> Result<Input, Refused> {
    let (body, default_type) = match (json, base64) {
        (Some(_), Some(_)) => {
            return Err(Refused::field("input_base64", "given together with input"));
        }
        (None, None) => (Bytes::new(), OCTET_STREAM),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64);
            let bytes = bytes.map_err(|error| Refused::field("input_base64", error))?;
            (Bytes::from(bytes), OCTET_STREAM)
        }
        (Some(json), None) if content_type.as_deref().is_none_or(said::is_json) => {
            (body.slice_ref(json.get().as_bytes()), "application/json")
        }
        (Some(json), None) => {
            let text: String = serde_json::from_str(json.get()).map_err(|_not_a_string| {
                Refused::field("input", "must be a string if content_type is not JSON")
            })?;
            (Bytes::from(text), OCTET_STREAM)
        }
    };
    let content_type = content_type.as_deref().unwrap_or(default_type).into();
    Ok(Input::Inline(Payload { content_type, body }))
}

/// Checks the whole object: lists of tasks contain it, and one value that a JSON reader cannot read
/// would break the whole list.
fn metadata(json: Option<&RawValue>) -> Result<String, Refused> {
    let text = json.map_or("{}", RawValue::get);
    let refused = |why: &dyn std::fmt::Display| {
        let detail = format!(
            "an object of at most {METADATA_BYTES_MAX} bytes and {METADATA_DEPTH_MAX} levels: {why}"
        );
        Refused::field("metadata", detail)
    };
    if text.len() > METADATA_BYTES_MAX {
        return Err(refused(&format_args!("it has {} bytes", text.len())));
    }
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|error| refused(&error))?;
    if 1 + object.values().map(depth).max().unwrap_or(0) > METADATA_DEPTH_MAX {
        return Err(refused(&"it is deeper"));
    }
    Ok(text.to_owned())
}

/// How deep a value nests; the parser has bounded it.
fn depth(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
