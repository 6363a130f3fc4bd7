//! `POST /v1/exec`: runs source text and returns its result.
//!
//! Code that fails is not a failed request: every outcome of the sandbox is answered with 200 and
//! `status: "failed"`. Only an error before the code begins is a problem.

pub(crate) mod files;
pub(crate) mod stream;
pub(crate) mod wire;

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::exec::wire::ExecAnswer;
use crate::http::run::tell_cache;
use crate::http::tasks::one;
use crate::http::tasks::submit::idempotency_key;
use crate::http::tasks::{find, location, task_status};
use crate::http::{AppState, Services, json};
use crate::intake::code::{Code, ExecRequest};
use crate::intake::fingerprint::fingerprint;
use crate::intake::json::parse;
use crate::intake::query::Query;
use cofferdam::executions;
use cofferdam::interpreters::answer::Answer;
use cofferdam::queue::{Submission, Submitted};
use cofferdam::runner::Executed;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::state::TaskState;

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
        (
            status = 200, description = "The result of the code", body = ExecAnswer,
            headers(("Cofferdam-Cache" = String, description = "Where the result came from, if the cache was asked: hit, miss or joined")),
        ),
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
    let mut query = Query::of(parts.uri.query())?;
    let later = query.parsed("async", "true or false", |text| text.parse::<bool>().ok())?;
    query.done()?;
    let body = json::body(&services, &parts.headers, body).await?;
    let runner = &services.runner;
    let code = parse::<ExecRequest<'_>>(&body)?.into_code(runner.admission())?;
    if later == Some(true) {
        let key = idempotency_key(&parts.headers)?;
        return submit(&services, &caller, code, key, &body).await;
    }
    let streams = wants_events(&parts.headers);
    let code = code.into_request(runner)?;
    if streams {
        return Ok(stream::answer(services, caller, code));
    }
    let executed = services.runner.execute(&caller, code).await?;
    let cache = executed.cache;
    let answer = finish(&services, &caller, executed).await?;
    let mut response = json::answer(StatusCode::OK, &answer);
    tell_cache(response.headers_mut(), cache);
    Ok(response)
}

pub(crate) fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/event-stream"))
}

/// Keeps the files and writes the answer.
async fn finish(
    services: &Services,
    caller: &Caller,
    executed: Executed,
) -> Result<Answer, ApiError> {
    let now = services.clock.now();
    Ok(executions::keep(&services.files, caller, now, executed)
        .await?
        .answer)
}

async fn submit(
    services: &Services,
    caller: &Caller,
    code: Code<'_>,
    idempotency_key: Option<String>,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let submission = Submission {
        idempotency_key,
        fingerprint: fingerprint(body),
        ..code.into_submission(&services.runner)?
    };
    let (id, state) = match one(services.queue.submit(caller, vec![submission]).await?)? {
        Submitted::New(id) => (id, TaskState::Pending),
        Submitted::Existing(id) => (id, find(services, caller, id, Duration::ZERO).await?.state),
    };
    let status = task_status(id, state);
    Ok(json::answer_at(
        StatusCode::ACCEPTED,
        &location(id),
        &status,
    ))
}
