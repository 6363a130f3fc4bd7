//! `GET /v1/tasks/{id}/request`: what a task was submitted with, in the form in which it can be submitted again.
//!
//! Limits and the retry policy are those that it got, defaults among them. Keys of the submission are left
//! out: with them the same request would give the same task.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::path::{PathParts, unknown_task};
use crate::http::tasks::callback_state::CallbackAsked;
use crate::http::{AppState, json};
use crate::intake::query::Query;
use crate::intake::task::TaskRequest;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::callback::event::Subject;
use cofferdam_domain::grants::http::{HttpGrant, SecretHeader};
use cofferdam_domain::grants::{Access, DirGrant, Grants};
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::said;
use cofferdam_domain::task::{Input, TaskSpec};
use cofferdam_domain::whose::Whose;

/// What a task was submitted with.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct RequestJson {
    /// The body of `POST /v1/tasks` that makes another task like it, of whatever version its module has by then.
    #[schema(value_type = TaskRequest<'static>)]
    request: Asked,
    /// The version of the module that the task runs.
    digest: String,
    /// The length of its input.
    input_bytes: u64,
    /// Whether the input is left out of the request, because it is too large for JSON.
    input_left_out: bool,
}

#[derive(Debug, Serialize)]
struct Asked {
    module: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_base64: Option<String>,
    content_type: String,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    priority: &'static str,
    limits: LimitsJson,
    retry: RetryJson,
    grants: GrantsJson,
    isolation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<CacheJson>,
    requires: Vec<String>,
    preferred_worker: Option<String>,
    callback: Option<CallbackAsked>,
    metadata: Box<RawValue>,
}

#[derive(Debug, Serialize)]
struct LimitsJson {
    timeout_ms: u64,
    cpu_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel: Option<u64>,
    memory_bytes: u64,
    table_elements: u64,
    disk_bytes: u64,
    disk_files: u64,
    output_bytes: u64,
}

#[derive(Debug, Serialize)]
struct CacheJson {
    ttl_ms: u64,
}

#[derive(Debug, Serialize)]
struct RetryJson {
    max_attempts: u32,
    max_lost: u32,
    base_ms: u64,
    factor: f64,
    max_ms: u64,
    jitter: bool,
}

#[derive(Debug, Serialize)]
struct GrantsJson {
    dirs: Vec<DirJson>,
    http: Vec<HttpJson>,
}

#[derive(Debug, Serialize)]
struct DirJson {
    name: String,
    at: String,
    access: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct HttpJson {
    host: String,
    methods: Vec<String>,
    headers: BTreeMap<String, HeaderJson>,
}

/// A header into which the host puts a secret, by the secret's name.
#[derive(Debug, Serialize)]
struct HeaderJson {
    secret: String,
    prefix: String,
}

/// Get what a task was submitted with
#[utoipa::path(
    get, path = "/v1/tasks/{id}/request", operation_id = "get_task_request", tag = "Tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses((status = 200, description = "A request that makes another task like it", body = RequestJson)),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let id = path.task()?;
    let spec = services.storage.task_spec(&Whose::of(&caller), id).await?;
    let spec = spec.ok_or_else(|| unknown_task(id))?;
    let whose = Whose::of(&caller);
    let callback = services.callbacks.of(&whose, Subject::Task(id)).await?;
    let mut request = RequestJson::from(spec);
    request.request.callback = callback.map(|(callback, _)| CallbackAsked::from(&callback));
    Ok(json::answer(StatusCode::OK, &request))
}

impl From<TaskSpec> for RequestJson {
    fn from(spec: TaskSpec) -> RequestJson {
        let (content_type, input_bytes, body) = match spec.input {
            Input::Inline(Payload { content_type, body }) => {
                (content_type.to_string(), length(body.len()), Some(body))
            }
            Input::Spooled {
                content_type,
                size_bytes,
                ..
            } => (content_type, size_bytes, None),
        };
        let input_left_out = body.is_none();
        let body = body.filter(|body| !body.is_empty());
        let is_json = said::is_json(&content_type);
        let input: Option<Box<RawValue>> = body
            .as_ref()
            .filter(|_| is_json)
            .and_then(|body| serde_json::from_slice(body).ok());
        let input_base64 = match (&input, body) {
            (None, Some(body)) => Some(STANDARD.encode(body)),
            (Some(_), _) | (None, None) => None,
        };
        let words = |one: &cofferdam_domain::worker::Capability| one.as_str().to_owned();
        let preferred = spec.placement.preferred();
        let request = Asked {
            module: spec.module.to_string(),
            input,
            input_base64,
            content_type,
            args: spec.args,
            env: spec.env.into_iter().collect(),
            priority: spec.priority.as_str(),
            limits: LimitsJson::from(spec.limits),
            retry: RetryJson::from(spec.retry),
            grants: GrantsJson::from(spec.grants),
            isolation: spec.isolation.map(Isolation::as_str),
            cache: spec.cache_ttl.map(|ttl| CacheJson {
                ttl_ms: millis(ttl),
            }),
            requires: spec.placement.requires().iter().map(words).collect(),
            preferred_worker: preferred.map(|preferred| preferred.as_str().to_owned()),
            callback: None,
            metadata: RawValue::from_string(spec.metadata)
                .unwrap_or_else(|_unreadable| RawValue::NULL.to_owned()),
        };
        RequestJson {
            request,
            digest: spec.digest.to_string(),
            input_bytes,
            input_left_out,
        }
    }
}

impl From<Limits> for LimitsJson {
    fn from(limits: Limits) -> LimitsJson {
        LimitsJson {
            timeout_ms: millis(limits.timeout),
            cpu_ms: millis(limits.cpu),
            fuel: limits.fuel,
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            disk_bytes: limits.disk_bytes,
            disk_files: limits.disk_files,
            output_bytes: limits.output_bytes,
        }
    }
}

impl From<RetryPolicy> for RetryJson {
    fn from(policy: RetryPolicy) -> RetryJson {
        RetryJson {
            max_attempts: policy.max_attempts,
            max_lost: policy.max_lost,
            base_ms: millis(policy.base),
            factor: policy.factor,
            max_ms: millis(policy.max),
            jitter: policy.jitter,
        }
    }
}

impl From<Grants> for GrantsJson {
    fn from(grants: Grants) -> GrantsJson {
        let dir = |dir: DirGrant| DirJson {
            name: dir.name,
            at: dir.at,
            access: dir.access.map(Access::as_str),
        };
        let header = |header: &SecretHeader| {
            let (secret, prefix) = (header.secret().as_str(), header.prefix());
            let (secret, prefix) = (secret.to_owned(), prefix.to_owned());
            (header.name().to_owned(), HeaderJson { secret, prefix })
        };
        let http = |grant: HttpGrant| HttpJson {
            host: grant.hosts().to_string(),
            methods: grant.methods().to_vec(),
            headers: grant.headers().iter().map(header).collect(),
        };
        GrantsJson {
            dirs: grants.dirs.into_iter().map(dir).collect(),
            http: grants.http.into_iter().map(http).collect(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use cofferdam_domain::secret::SecretName;

    #[test]
    fn grants_are_said_again_with_the_names_of_their_secrets() {
        let secret = SecretName::parse("token").unwrap();
        let header = SecretHeader::new("Authorization", secret, "Bearer ").unwrap();
        let grant = HttpGrant::new("*.example.org:8443", &["GET".to_owned()]).unwrap();
        let dir = DirGrant {
            name: "dataset".to_owned(),
            at: "/data".to_owned(),
            access: Some(Access::Read),
        };
        let grants = Grants {
            dirs: vec![dir],
            http: vec![grant.with_headers(vec![header]).unwrap()],
        };
        let said = serde_json::to_value(GrantsJson::from(grants)).unwrap();
        let expected = json!({
            "dirs": [{"name": "dataset", "at": "/data", "access": "read"}],
            "http": [{
                "host": "*.example.org:8443", "methods": ["GET"],
                "headers": {"authorization": {"secret": "token", "prefix": "Bearer "}},
            }],
        });
        assert_eq!(said, expected);
    }
}
