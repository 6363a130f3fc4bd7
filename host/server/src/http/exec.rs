//! `POST /v1/exec`: source text in, what became of it out.
//!
//! Code that fails is no failed request: whatever the sandbox says of it is answered with 200 and
//! `status: "failed"`. Only what is wrong before it begins is a problem.

pub(crate) mod files;
pub(crate) mod stream;
pub(crate) mod wire;

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::exec::wire::{ExecAnswer, ExecRequest};
use crate::http::query::Query;
use crate::http::tasks::one;
use crate::http::tasks::submit::{fingerprint, idempotency_key, json_limit};
use crate::http::tasks::{find, task_status};
use crate::http::{AppState, Services, body, json};
use cofferdam::executions;
use cofferdam::interpreters::answer::Answer;
use cofferdam::queue::{Submission, Submitted};
use cofferdam::runner::{CodeRequest, Executed};
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::module::ModuleRef;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Input, Priority, TaskId};

/// Run code
///
/// The value of the last expression, or of the variable `result`, comes back as JSON. Code that
/// fails, or meets a limit, is answered with 200 and `status: "failed"`; `error.kind` is the failure
/// kind. With `Accept: text/event-stream`, `stdout` and `stderr` come while it runs and `result` at
/// the end. With `?async=true` it becomes a task.
#[utoipa::path(
    post, path = "/v1/exec", operation_id = "run_code", tag = "Code",
    params(
        ("async" = Option<bool>, Query, description = "Answer with a task instead of waiting"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "With async: 1 to 255 visible characters"),
    ),
    request_body(content = ExecRequest),
    responses(
        (status = 200, description = "What became of it", body = ExecAnswer),
        (
            status = 202, description = "With async: the task is stored", body = crate::http::tasks::TaskStatus,
            headers(("Location" = String, description = "Where the task is")),
        ),
        (status = 501, description = "No interpreter of that language is installed", body = crate::http::error::Problem),
        (status = 503, description = "The interpreter is being compiled", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn exec(
    State(services): State<AppState>,
    By(caller): By,
    request: Request,
) -> Result<Response, ApiError> {
    services.takes_work()?;
    let (parts, body) = request.into_parts();
    let mut query = Query::of(&parts.uri)?;
    let later = query.parsed("async", "true or false", |text| text.parse::<bool>().ok())?;
    query.done()?;
    json::require_json(&parts.headers)?;
    let body = body::collect(&parts.headers, body, json_limit(&services)).await?;
    let request = json::parse::<ExecRequest<'_>>(&body)?;
    if later == Some(true) {
        let key = idempotency_key(&parts.headers)?;
        return submit(&services, &caller, request, key, &body).await;
    }
    let streams = wants_events(&parts.headers);
    let code = code_request(&services, request)?;
    if streams {
        return Ok(stream::answer(services, caller, code));
    }
    let executed = services.runner.execute(&caller, code).await?;
    Ok(json::answer(
        StatusCode::OK,
        &finish(&services, executed).await?,
    ))
}

pub(crate) fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/event-stream"))
}

/// The request as the runner takes it.
fn code_request(services: &Services, request: ExecRequest<'_>) -> Result<CodeRequest, ApiError> {
    let parts = request.into_parts(services.runner.admission())?;
    let interpreters = services.runner.interpreters();
    // Said before a mistake in the request is: nothing else matters as long as nothing can be run.
    interpreters.get(parts.language)?;
    let prepared = parts
        .request
        .prepare(parts.language, interpreters.packages())
        .map_err(cofferdam::runner::RunError::from)?;
    Ok(CodeRequest {
        language: parts.language,
        prepared,
        limits: parts.limits,
        grants: parts.grants,
        watch: None,
    })
}

/// Keeps the files and writes the answer down.
async fn finish(services: &Services, executed: Executed) -> Result<Answer, ApiError> {
    let now = services.clock.now();
    Ok(executions::keep(&services.files, now, executed)
        .await?
        .answer)
}

async fn submit(
    services: &Services,
    caller: &Caller,
    request: ExecRequest<'_>,
    idempotency_key: Option<String>,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let identity = Identity {
        task_id: None,
        idempotency_key,
        priority: Priority::default(),
        metadata: "{}".to_owned(),
        fingerprint: fingerprint(body),
    };
    let submission = submission(services, request, identity)?;
    let (id, state) = match one(services.queue.submit(caller, vec![submission]).await?)? {
        Submitted::New(id) => (id, TaskState::Pending),
        Submitted::Existing(id) => (id, find(services, id, Duration::ZERO).await?.state),
    };
    let status = task_status(id, state);
    let mut response = json::answer(StatusCode::ACCEPTED, &status);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/tasks/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// What code is known by as a task.
pub(crate) struct Identity {
    pub(crate) task_id: Option<TaskId>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) priority: Priority,
    pub(crate) metadata: String,
    pub(crate) fingerprint: [u8; 16],
}

/// Code as a task: its module is the interpreter, its input the request. It is checked as it would
/// be if it ran at once.
pub(crate) fn submission(
    services: &Services,
    request: ExecRequest<'_>,
    identity: Identity,
) -> Result<Submission, ApiError> {
    let parts = request.into_parts(services.runner.admission())?;
    let interpreters = services.runner.interpreters();
    interpreters.get(parts.language)?;
    parts
        .request
        .prepare(parts.language, interpreters.packages())
        .map_err(cofferdam::runner::RunError::from)?;
    let input = serde_json::to_vec(&parts.request).map_err(ApiError::internal)?;
    Ok(Submission {
        task_id: identity.task_id,
        module: ModuleRef {
            name: parts.language.module(),
            digest: None,
        },
        input: Input::Inline(Payload {
            content_type: "application/json".into(),
            body: input.into(),
        }),
        args: Vec::new(),
        env: Vec::new(),
        priority: identity.priority,
        delay: Duration::ZERO,
        run_at: None,
        limits: parts.limits,
        retry: RetryPolicy::default(),
        grants: parts.grants,
        idempotency_key: identity.idempotency_key,
        dedup_key: None,
        metadata: identity.metadata,
        fingerprint: identity.fingerprint,
    })
}
