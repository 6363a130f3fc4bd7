//! A task's result and its streams.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::error::convert::failure_problem;
use crate::http::path::PathParts;
use crate::http::tasks::{awaited, find, view};
use crate::http::{AppState, Services, guest, json};
use crate::intake::query::Query;
use cofferdam_domain::attempt::Stream;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::module::ModuleKind;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::Task;
use cofferdam_domain::whose::Whose;

const STATUS: HeaderName = HeaderName::from_static("cofferdam-status");
const TRUNCATED: HeaderName = HeaderName::from_static("cofferdam-truncated");

/// Get a task's result
#[utoipa::path(
    get, path = "/v1/tasks/{id}/result", operation_id = "get_task_result", tag = "Tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("wait_ms" = Option<u64>, Query, description = "Wait up to this long for it to be final"),
    ),
    responses(
        (
            status = 200, description = "The output, with its own content type",
            body = Vec<u8>, content_type = "application/octet-stream",
            headers(
                ("Cofferdam-Truncated" = String, description = "Names the streams that were cut off"),
                ("Cofferdam-Status" = String, description = "completed; or cancelled if the guest gave its result after the cancel"),
            ),
        ),
        (status = 202, description = "It is not final", body = super::TaskJson),
        (status = 422, description = "It failed, or was cancelled before it gave a result", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn result(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    let task = awaited(&services, &caller, &path, &uri).await?;
    match task.state {
        TaskState::Blocked | TaskState::Pending | TaskState::Running => Ok(json::answer(
            StatusCode::ACCEPTED,
            &view(&services, task).await?,
        )),
        TaskState::Failed => Err(not_completed(&task)),
        TaskState::Cancelled if task.result_bytes.is_none() => Err(not_completed(&task)),
        // A cancelled guest may still have given its result.
        TaskState::Cancelled | TaskState::Completed => completed(&services, &caller, &task).await,
    }
}

async fn completed(
    services: &Services,
    caller: &Caller,
    task: &Task,
) -> Result<Response, ApiError> {
    let held = services.room.take(task.result_bytes.unwrap_or(0)).await?;
    let whose = Whose::of(caller);
    let Some(output) = services.storage.result(&whose, task.id).await? else {
        let detail = format!("the result of task {} is no longer kept", task.id);
        return Err(ApiError::not_found("result_not_found", detail));
    };
    let answer = |body| guest::answer(&output.content_type, body);
    let mut response = held.answer(answer, output.body);
    let headers = response.headers_mut();
    tell_truncated(headers, task.truncated);
    headers.insert(STATUS, HeaderValue::from_static(task.state.as_str()));
    Ok(response)
}

/// Names the truncated streams. A command's output is its standard output, so no other field would
/// show that it was cut.
pub(crate) fn tell_truncated(headers: &mut HeaderMap, truncated: [bool; 3]) {
    let names = [Stream::Stdout, Stream::Stderr, Stream::Log].map(Stream::as_str);
    let cut: Vec<&str> = names
        .into_iter()
        .zip(truncated)
        .filter_map(|(name, truncated)| truncated.then_some(name))
        .collect();
    if let (false, Ok(cut)) = (cut.is_empty(), HeaderValue::from_str(&cut.join(", "))) {
        headers.insert(TRUNCATED, cut);
    }
}

fn not_completed(task: &Task) -> ApiError {
    let problem = match &task.failure {
        Some(failure) => failure_problem(failure),
        None => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "cancelled",
            format!("task {} was cancelled before it began", task.id),
        ),
    };
    problem
        .with("task_id", task.id.to_string())
        .with("task_status", task.state.as_str())
}

/// Get a task's logs
///
/// One stream of one finished attempt; empty while the first attempt still runs (see the events). A
/// completed command's standard output is its result.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/logs", operation_id = "get_task_logs", tag = "Tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("stream" = Option<String>, Query, description = "stdout (the default), stderr or log"),
        ("attempt" = Option<u32>, Query, minimum = 1, description = "The newest if absent"),
    ),
    responses((
        status = 200, description = "Text", body = String, content_type = "text/plain",
        headers(("Cofferdam-Truncated" = bool, description = "Whether the stream was cut off")),
    )),
)]
pub(crate) async fn logs(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    let id = path.task()?;
    let mut query = Query::of(uri.query())?;
    let stream = query.parsed("stream", "stdout, stderr or log", stream_of)?;
    let attempt = query.number("attempt", 1..=u64::from(u32::MAX))?;
    query.done()?;
    let task = find(&services, &caller, id, Duration::ZERO).await?;
    let attempt = attempt.and_then(|attempt| u32::try_from(attempt).ok());
    if let Some(attempt) = attempt.filter(|attempt| *attempt > task.attempt) {
        let newest = task.attempt;
        let detail = format!("task {id} has no attempt {attempt}; its newest is {newest}");
        return Err(ApiError::not_found("attempt_not_found", detail));
    }
    let (whose, stream) = (Whose::of(&caller), stream.unwrap_or(Stream::Stdout));
    let mut captured = services
        .storage
        .stream(&whose, id, attempt, stream)
        .await?
        .unwrap_or_default();
    let is_newest = attempt.is_none_or(|attempt| attempt == task.attempt);
    if stream == Stream::Stdout && is_newest && wrote_its_result(&services, &task).await? {
        let result = services.storage.result(&whose, id).await?;
        captured.bytes = result.map_or(captured.bytes, |result| result.body);
    }
    let mut response = guest::answer("text/plain; charset=utf-8", Body::from(captured.bytes));
    let truncated = if captured.truncated { "true" } else { "false" };
    response
        .headers_mut()
        .insert(TRUNCATED, HeaderValue::from_static(truncated));
    Ok(response)
}

/// Whether the result is the standard output, which is then not kept a second time.
async fn wrote_its_result(services: &Services, task: &Task) -> Result<bool, ApiError> {
    if !task.state.is_final() || task.result_bytes.is_none() {
        return Ok(false);
    }
    let info = services.modules.module_info(&task.digest).await?;
    Ok(info.is_some_and(|info| match info.kind {
        ModuleKind::Command | ModuleKind::CoreCommand => true,
        ModuleKind::Task | ModuleKind::Interpreter(_) | ModuleKind::Script(_) => false,
    }))
}

fn stream_of(word: &str) -> Option<Stream> {
    [Stream::Stdout, Stream::Stderr, Stream::Log]
        .into_iter()
        .find(|stream| stream.as_str() == word)
}
