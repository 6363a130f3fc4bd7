//! Tasks as existing pools send them.
//!
//! Field names are those of the pools. A pool may choose any id: an id that is not a UUID is mapped
//! to one by its hash, and kept in the task's metadata.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::intake::callback;
use crate::intake::code::{ExecRequest, Megabytes};
use crate::intake::fingerprint::fingerprint;
use crate::intake::grants::GrantsJson;
use crate::intake::json::{self, Whole};
use crate::intake::refused::Refused;
use crate::intake::words;
use cofferdam::interpreters::request::Files;
use cofferdam::queue::Submission;
use cofferdam::runner::Runner;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::ModuleRef;
use cofferdam_domain::task::{Input, TaskId};

/// The longest id of a pool, in bytes.
const ID_BYTES_MAX: usize = 255;
/// The pools' name for code that comes with its task.
const CODE_TASK_TYPE: &str = "sandboxed_execution";
/// The longest time-out a pool may ask for, in seconds: no ceiling is higher.
const TIMEOUT_S_MAX: f64 = 1e9;

/// A task as a pool sends it.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecuteRequest<'a> {
    /// The pool's own id; a UUID that this host makes if absent.
    pub(crate) task_id: Option<String>,
    /// The module.
    task_type: String,
    /// The module's input.
    #[serde(borrow)]
    #[schema(value_type = Option<Value>)]
    payload: Option<&'a RawValue>,
    priority: Option<String>,
    /// Where its end is posted, at a host that the operator lists.
    callback_url: Option<String>,
}

/// The payload of code.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolCode<'a> {
    #[serde(borrow)]
    code: &'a RawValue,
    #[serde(default)]
    language: Option<Cow<'a, str>>,
    /// Seconds.
    timeout: Option<f64>,
    memory_limit_mb: Option<Megabytes>,
}

impl ExecuteRequest<'_> {
    /// What the queue takes; `body` is the text this was read from.
    pub(crate) fn into_submission(
        self,
        body: &Bytes,
        tenant: &Tenant,
        runner: &Runner,
    ) -> Result<Submission, Refused> {
        let said = self.task_id.as_deref();
        let task_id = said.map(|said| task_id(tenant, said)).transpose()?;
        let priority = words::priority(self.priority.as_deref())?;
        let callback = self.callback_url.as_deref().map(callback::of_pool);
        let callback = callback.transpose()?;
        let metadata = match &self.task_id {
            Some(said) => json!({ "pool_task_id": said }).to_string(),
            None => "{}".to_owned(),
        };
        let payload = self.payload.map_or("{}", RawValue::get);
        let submission = match self.task_type == CODE_TASK_TYPE {
            true => {
                let code = json::parse::<PoolCode<'_>>(payload.as_bytes())?.into_request()?;
                let code = code.into_code(runner.admission())?;
                code.into_submission(runner)?
            }
            false => Submission::new(ModuleRef::parse(&self.task_type)?, self.input(body)),
        };
        Ok(Submission {
            task_id,
            priority,
            metadata,
            callback,
            fingerprint: fingerprint(body),
            ..submission
        })
    }

    fn input(&self, body: &Bytes) -> Input {
        let payload = match self.payload {
            Some(payload) => body.slice_ref(payload.get().as_bytes()),
            None => Bytes::from_static(b"{}"),
        };
        Input::Inline(Payload {
            content_type: "application/json".into(),
            body: payload,
        })
    }
}

impl<'a> PoolCode<'a> {
    /// The same request in this API's form. The default language is Python.
    fn into_request(self) -> Result<ExecRequest<'a>, Refused> {
        let timeout_ms = match self.timeout {
            None => None,
            Some(seconds) if seconds > 0.0 && seconds <= TIMEOUT_S_MAX => {
                let millis = Duration::from_secs_f64(seconds).as_millis();
                Some(Whole(u64::try_from(millis).unwrap_or(u64::MAX).max(1)))
            }
            Some(seconds) => {
                let detail = format_args!("{seconds} is not a number of seconds above 0");
                return Err(Refused::field("payload.timeout", detail));
            }
        };
        Ok(ExecRequest {
            language: self.language.unwrap_or(Cow::Borrowed("python")),
            code: self.code,
            stdin: None,
            args: Vec::new(),
            files: Files::new(),
            packages: None,
            timeout_ms,
            cpu_ms: None,
            memory_limit_mb: self.memory_limit_mb,
            grants: GrantsJson::default(),
            isolation: None,
            callback: None,
            cache: None,
        })
    }
}

/// The id in storage for an id of a tenant's pool. Pools of different tenants may choose the same.
pub(crate) fn task_id(tenant: &Tenant, said: &str) -> Result<TaskId, Refused> {
    if let Some(id) = words::task_id(said) {
        return Ok(id);
    }
    if !(1..=ID_BYTES_MAX).contains(&said.len()) || said.chars().any(char::is_control) {
        let detail = format_args!("1 to {ID_BYTES_MAX} bytes without control characters");
        return Err(Refused::field("task_id", detail));
    }
    let hash = match *tenant == Tenant::DEFAULT {
        true => Sha256::new().chain_update(b"cofferdam pool task id\0"),
        false => Sha256::new()
            .chain_update(b"cofferdam pool task id of a tenant\0")
            .chain_update(tenant.as_str())
            .chain_update(b"\0"),
    };
    let hash = hash.chain_update(said).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Ok(TaskId(uuid::Builder::from_custom_bytes(bytes).into_uuid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::refused::Kind;

    #[test]
    fn any_id_of_a_pools_names_one_task() {
        let task_id = |said: &str| task_id(&Tenant::DEFAULT, said);
        let uuid = "0190f0c2-7a3b-7def-8123-456789abcdef";
        assert_eq!(task_id(uuid).unwrap().to_string(), uuid);
        let derived = task_id("job-17").unwrap();
        assert_eq!(derived, task_id("job-17").unwrap());
        assert_ne!(derived, task_id("job-18").unwrap());
        assert_eq!(derived.0.get_version_num(), 8);
        for bad in [String::new(), "a\n".to_owned(), "x".repeat(256)] {
            let mistake = task_id(&bad).unwrap_err().expect_mistake();
            assert_eq!(mistake.kind, Kind::Field, "{bad:?}");
        }
    }

    #[test]
    fn pools_of_two_tenants_choose_the_same_ids() {
        let [a, b] = ["a", "b"].map(|name| Tenant::parse(name).unwrap());
        let tenants = [&Tenant::DEFAULT, &a, &b];
        let [ours, of_a, of_b] = tenants.map(|tenant| task_id(tenant, "job-17").unwrap());
        assert!(ours != of_a && ours != of_b && of_a != of_b);
        assert_eq!(task_id(&a, "job-17").unwrap(), of_a);
    }

    #[test]
    fn a_pools_input_is_kept_letter_by_letter() {
        let body = Bytes::from_static(
            br#"{"task_id":"job-17","task_type":"resize","payload":{"w": 3},"priority":"medium","callback_url":null}"#,
        );
        let request: ExecuteRequest<'_> = json::parse(&body).unwrap();
        let Input::Inline(input) = request.input(&body) else {
            panic!("inline")
        };
        assert_eq!(input.body, r#"{"w": 3}"#);
    }
}
