//! Errors as callers see them: RFC 9457 `application/problem+json` with a stable `code`.
//!
//! The caller's text and the log's text are two fields, so that a leak cannot happen by accident.
//! The enums of the inner layers know no HTTP; each is mapped in [`convert`], by matches without a
//! wildcard.
//!
//! The codes, besides the failure kinds (`FailureKind`), which come with 422 for a failed run:
//!
//! | status | codes |
//! |---|---|
//! | 400 | `invalid_json` `invalid_field` `unknown_parameter` `invalid_parameter` `invalid_header` `invalid_path` `invalid_module_name` `invalid_cursor` `limit_above_ceiling` `grant_refused` `too_many_matches` `body_aborted` `invalid_encoding` `invalid_workflow` `callback_refused` `keys_differ` `key_in_query` |
//! | 401 | `key_missing` `key_unknown` `key_expired` `key_revoked` |
//! | 403 | `forbidden` `host_refused` `origin_refused` `forwarding_refused` |
//! | 404 | `not_found` `module_not_found` `task_not_found` `attempt_not_found` `artifact_not_found` `result_not_found` `batch_not_found` `workflow_not_found` `workflow_definition_not_found` `schedule_not_found` `worker_not_found` `session_not_found` `snapshot_not_found` `key_not_found` `tenant_not_found` `secret_not_found` |
//! | 405, 408 | `method_not_allowed`, `body_timeout` |
//! | 409 | `conflict` `task_final` `task_not_failed` `task_not_final` `task_exhausted` `workflow_final` `workflow_not_final` `nothing_to_retry` `callback_not_due` `matches_grew` `worker_terminated` `first_key` `keys_full` `tenants_full` `secrets_full` `schedules_full` `workflow_definitions_full` `tenant_not_empty` `tenant_default` `tenant_own` |
//! | 410 | `session_ended` `session_lost` |
//! | 413 | `body_too_large` `module_too_large` `schema_check_too_large` |
//! | 415 | `unsupported_media_type` `unsupported_content_encoding` |
//! | 421 | `not_this_host` |
//! | 422 | `module_refused` `compile_limit` `invalid_input` `schema_check_limit` `schema_refused`, and every failure kind |
//! | 429 | `session_busy` `signals_full` `rate_limited` `quota_exceeded` |
//! | 500 | `internal` `compiler_failed` `storage_corrupt` `encryption_key_missing` `storage_refused` `outcome_unknown` |
//! | 501 | `interpreter_not_installed` `sessions_disabled` `secrets_disabled` |
//! | 503 | `audit_unavailable` `draining` `queue_full` `placements_full` `queue_timeout` `disk_full` `storage_unavailable` `blobs_unavailable` `read_timeout` `compiler_busy` `interpreter_warming_up` `interpreter_failed` `sessions_full` `schema_checks_busy` `connections_full` `memory_busy` `memory_short` `bulk_busy` `forwards_busy` `host_unreachable` |
//! | 507 | `storage_full` |

pub(crate) mod convert;
mod modules;
mod refused;

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::http::rates;
use cofferdam_domain::caller::quota::OverQuota;
use cofferdam_domain::said;

/// Seconds after which a full queue may have room.
const FULL_RETRY_S: u32 = 1;
/// Seconds after which a busy or unreachable database may answer.
const UNAVAILABLE_RETRY_S: u32 = 2;

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    problem: Problem,
    retry_after_s: Option<u32>,
    /// The values of `RateLimit` and `RateLimit-Policy`.
    limit: Option<(String, String)>,
    internal: Option<String>,
}

/// The code of an answer that is an error, beside its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code(pub(crate) &'static str);

/// The body of every answer that is an error.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Problem {
    /// `urn:cofferdam:error:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The HTTP status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The stable, machine-readable code.
    code: &'static str,
    /// One or two sentences for people.
    detail: String,
    /// Further members, by code: `field`, `ceiling`, `usage`, `stdout`, `stderr` …
    #[serde(flatten)]
    #[schema(value_type = Object)]
    members: Map<String, Value>,
}

impl ApiError {
    /// An error with only the members of every problem.
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
    ) -> ApiError {
        ApiError(Box::new(Parts {
            problem: Problem {
                kind: format!("urn:cofferdam:error:{code}"),
                title: status.canonical_reason().unwrap_or("Error"),
                status: status.as_u16(),
                code,
                detail: said::cut(detail, said::REPEATED_BYTES_MAX),
                members: Map::new(),
            },
            retry_after_s: None,
            limit: None,
            internal: None,
        }))
    }

    /// The caller's mistake: 400.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// A value that `field` does not accept.
    pub(crate) fn field(field: &str, detail: impl std::fmt::Display) -> ApiError {
        let detail = said::repeated(format_args!("{field}: {detail}"));
        ApiError::bad_request("invalid_field", detail).with("field", said::repeated(field))
    }

    /// A value that the query parameter `name` does not accept.
    pub(crate) fn parameter(name: &str, detail: impl std::fmt::Display) -> ApiError {
        let detail = said::repeated(format_args!("{name}: {detail}"));
        ApiError::bad_request("invalid_parameter", detail).with("field", name)
    }

    /// The requested thing does not exist: 404.
    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// A body beyond its limit: 413.
    pub(crate) fn too_large(code: &'static str, what: &str, limit_bytes: u64) -> ApiError {
        let detail = format!("{what} is larger than the {limit_bytes} bytes this host takes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, code, detail).with("limit_bytes", limit_bytes)
    }

    /// The host's mistake: 500. The cause goes to the log only.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> ApiError {
        ApiError::host("internal", "the host failed to answer this request", cause)
    }

    /// The host's mistake, with its own code.
    fn host(code: &'static str, detail: &str, cause: impl std::fmt::Display) -> ApiError {
        let mut error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail);
        error.0.internal = Some(cause.to_string());
        error
    }

    /// The host cannot serve this at the moment: 503 with `Retry-After`.
    fn busy(code: &'static str, detail: impl Into<String>, retry_after_s: u32) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(retry_after_s)
    }

    /// Busy connections take every place: 503.
    pub(crate) fn connections_full() -> ApiError {
        let detail = "all connections of this host are busy (http.connections_max, \
                      http.connections_per_peer_max); try again";
        ApiError::busy("connections_full", detail, 1)
    }

    /// There is no room in memory for a body: 503.
    pub(crate) fn memory_busy() -> ApiError {
        let detail = "there is no room in memory for this body at present (http.bodies_bytes, \
                      sandbox.memory_budget_bytes); try again";
        ApiError::busy("memory_busy", detail, 2)
    }

    /// As many requests are passed on to other hosts as may be.
    pub(crate) fn forwards_busy() -> ApiError {
        let detail = "this host passes as many requests on to others as it may (http.forwards_max); \
                      try again, or ask another host";
        ApiError::busy("forwards_busy", detail, 1)
    }

    /// The host that has what is asked for lives, and cannot be asked.
    pub(crate) fn host_unreachable(detail: String) -> ApiError {
        ApiError::busy("host_unreachable", detail, convert::UNREACHABLE_RETRY_S)
    }

    /// The same, with the time after which a retry may succeed.
    fn retry_after(mut self, seconds: u32) -> ApiError {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// A quota of the caller's tenant would be exceeded: 429.
    fn over_quota(over: OverQuota) -> ApiError {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let (name, seconds) = (over.name.as_str(), rates::whole_seconds(over.wait).max(1));
        let mut error = ApiError::new(status, "quota_exceeded", over.to_string())
            .with("quota", name)
            .with("limit", over.limit)
            .with("used", over.used)
            .retry_after(seconds);
        let remaining = over.limit.saturating_sub(over.used);
        let limit = format!("\"{name}\";r={remaining};t={seconds}");
        error.0.limit = Some((limit, format!("\"{name}\";q={}", over.limit)));
        error
    }

    /// The host is draining.
    pub(crate) fn draining() -> ApiError {
        ApiError::busy(
            "draining",
            "this host is shutting down",
            convert::DRAIN_RETRY_S,
        )
    }

    /// The disk has no room for what is `missing`.
    pub(crate) fn disk_full(why: String, missing: Vec<&'static str>) -> ApiError {
        ApiError::busy("disk_full", why, UNAVAILABLE_RETRY_S).with("missing", missing)
    }

    /// Storage does not record anything.
    pub(crate) fn not_recording(since: Duration) -> ApiError {
        let detail = format!(
            "storage has recorded nothing for {} ms; this host takes work again when it does",
            since.as_millis()
        );
        ApiError::busy("storage_unavailable", detail, UNAVAILABLE_RETRY_S)
    }

    /// The same error with one more member.
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> ApiError {
        debug_assert!(
            !["type", "title", "status", "code", "detail"].contains(&member),
            "{member} would occur twice in the body"
        );
        self.0
            .problem
            .members
            .insert(member.to_owned(), value.into());
        self
    }

    /// The same error about a part of the request: `parent` goes before the field that it names.
    pub(crate) fn under(mut self, parent: &str) -> ApiError {
        let Problem {
            detail, members, ..
        } = &mut self.0.problem;
        match members.get("field").and_then(Value::as_str) {
            Some(field) => {
                let path = format!("{parent}.{field}");
                *detail = match detail.strip_prefix(field) {
                    Some(rest) => format!("{path}{rest}"),
                    None => format!("{path}: {detail}"),
                };
                members.insert("field".to_owned(), path.into());
            }
            None => *detail = format!("{parent}: {detail}"),
        }
        self
    }

    /// Whether this is a 404.
    pub(crate) fn is_not_found(&self) -> bool {
        self.0.problem.status == StatusCode::NOT_FOUND.as_u16()
    }

    /// Its body as an answer.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::to_value(&self.0.problem).unwrap_or_default()
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.problem.status).expect("the status was one before")
    }

    /// The code.
    pub(crate) fn code(&self) -> &'static str {
        self.0.problem.code
    }

    /// The text for people.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn detail(&self) -> &str {
        &self.0.problem.detail
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Parts {
            problem,
            retry_after_s,
            limit,
            internal,
        } = *self.0;
        if let Some(cause) = internal {
            tracing::error!(
                code = problem.code,
                cause = said::for_log(&cause),
                "a request failed on the host's side"
            );
        }
        let body = serde_json::to_vec(&problem).expect("a problem is plain JSON");
        let code = Code(problem.code);
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(problem.status).expect("the status was one before");
        response.extensions_mut().insert(code);
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if problem.status == StatusCode::UNAUTHORIZED.as_u16() {
            let challenge = HeaderValue::from_static("Bearer realm=\"cofferdam\"");
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((limit, policy)) = limit {
            rates::add(headers, &limit, &policy);
        }
        response
    }
}

/// The answer if no route matches.
pub(crate) async fn no_such_route(uri: Uri) -> ApiError {
    ApiError::not_found("not_found", format!("there is nothing at {}", uri.path()))
}

/// The answer if the route does not have the method; the router adds `Allow`.
pub(crate) async fn no_such_method(method: Method) -> ApiError {
    let detail = format!("{method} is not allowed here; the Allow header lists the methods");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
