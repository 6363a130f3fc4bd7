//! Callbacks as callers see them: the messages that are sent, and sending them again.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::path::{PathParts, unknown_batch, unknown_task, unknown_workflow};
use crate::http::tasks::batch::BatchJson;
use crate::http::tasks::callback_state::DeliveryJson;
use crate::http::tasks::location;
use crate::http::tasks::value::value_of;
use crate::http::tasks::wire::TaskJson;
use crate::http::workflows::wire::WorkflowSummary;
use crate::http::{AppState, Services, json};
use crate::intake::query::Query;
use crate::intake::time::Time;
use cofferdam::callbacks::{End, Ended};
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::callback::event::{EventId, Subject};
use cofferdam_domain::caller::Caller;
use cofferdam_domain::said;
use cofferdam_domain::task::Task;
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::ToldAgain;

/// The longest message and the longest backtrace of a failure that are sent, in bytes.
const MESSAGE_BYTES_MAX: usize = 4096;
const BACKTRACE_BYTES_MAX: usize = 16 * 1024;

/// Send a task's callback again
///
/// The newest end that is told is due at once, whatever became of it, for as long as at first. What is being
/// sent at this moment is left alone.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/callback/redeliver", operation_id = "redeliver_callback", tag = "Tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 202, description = "It is due, or being sent", body = DeliveryJson),
        (status = 409, description = "The task has no callback, or has not ended in a way that is told", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn redeliver(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    again(&services, &caller, Subject::Task(path.task()?)).await
}

/// Send a batch's callback again
///
/// As for a task.
#[utoipa::path(
    post, path = "/v1/batches/{id}/callback/redeliver", operation_id = "redeliver_batch_callback", tag = "Tasks",
    params(("id" = String, Path, description = "The batch's id")),
    responses(
        (status = 202, description = "It is due, or being sent", body = DeliveryJson),
        (status = 409, description = "The batch has no callback, or has not ended in a way that is told", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn redeliver_of_batch(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    again(&services, &caller, Subject::Batch(path.batch()?)).await
}

/// Send a workflow's callback again
///
/// As for a task.
#[utoipa::path(
    post, path = "/v1/workflows/{id}/callback/redeliver", operation_id = "redeliver_workflow_callback", tag = "Workflows",
    params(("id" = String, Path, description = "The workflow's id")),
    responses(
        (status = 202, description = "It is due, or being sent", body = DeliveryJson),
        (status = 409, description = "The workflow has no callback, or has not ended in a way that is told", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn redeliver_of_workflow(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    again(&services, &caller, Subject::Workflow(path.workflow()?)).await
}

async fn again(services: &Services, caller: &Caller, of: Subject) -> Result<Response, ApiError> {
    let not_due = |why: String| ApiError::new(StatusCode::CONFLICT, "callback_not_due", why);
    match services.callbacks.tell_again(caller, of).await?? {
        ToldAgain::Due(told) | ToldAgain::UnderWay(told) => Ok(json::answer(
            StatusCode::ACCEPTED,
            &DeliveryJson::from(told),
        )),
        ToldAgain::Nothing(None) => Err(not_due(format!(
            "{of} has no callback, or has not ended in a way that is told"
        ))),
        ToldAgain::Nothing(Some(state)) => {
            let state = state.as_str();
            let why = format!("{of} is {state} and has no callback for that");
            Err(not_due(why).with("task_status", state))
        }
        ToldAgain::Unknown => Err(match of {
            Subject::Task(id) => unknown_task(id),
            Subject::Batch(id) => unknown_batch(id),
            Subject::Workflow(id) => unknown_workflow(id),
        }),
    }
}

/// An end, as it is posted to its callback.
#[derive(Debug, Serialize)]
struct EndJson<T> {
    /// `task`, `batch` or `workflow`, and `completed`, `failed` or `cancelled`, as in `task.completed`.
    #[serde(rename = "type")]
    kind: String,
    /// The name of this end: the same in every try, and that of the header `webhook-id`.
    event_id: String,
    /// Counts the ends of this task, batch or workflow that are told; messages may arrive in another order.
    sequence: u32,
    /// When it ended.
    timestamp: Time,
    #[serde(flatten)]
    of: T,
}

/// The task of an end, as it is shown, and its result.
#[derive(Debug, Serialize)]
struct TaskEndJson {
    #[serde(flatten)]
    task: TaskJson,
    content_type: Option<String>,
    /// The result, if it is short: JSON as it is, other text as a string, other bytes as `{"base64": …}`.
    result: Option<Box<RawValue>>,
    /// Where the result is, below the address of the host.
    result_url: Option<String>,
}

/// Writes the message of an end.
pub(crate) fn message(end: End) -> Bytes {
    let event = end.event;
    match end.of {
        Ended::Task { task, result } => {
            let ended_at = task.finished_at.unwrap_or(task.updated_at);
            let kind = format!("task.{}", task.state.as_str());
            written(event, kind, ended_at, of_task(*task, result.as_ref()))
        }
        Ended::Batch {
            batch,
            state,
            finished_at,
        } => {
            let kind = format!("batch.{}", state.as_str());
            written(event, kind, finished_at, BatchJson::new(batch, None))
        }
        Ended::Workflow(workflow) => {
            let kind = format!("workflow.{}", workflow.state.as_str());
            let ended_at = workflow.finished_at.unwrap_or(workflow.updated_at);
            written(event, kind, ended_at, WorkflowSummary::from(workflow))
        }
    }
}

fn written<T: Serialize>(event: EventId, kind: String, at: Timestamp, of: T) -> Bytes {
    let end = EndJson {
        kind,
        event_id: event.to_string(),
        sequence: event.number,
        timestamp: Time(at),
        of,
    };
    let text = serde_json::to_vec(&end).expect("it is plain JSON");
    Bytes::from(text)
}

fn of_task(task: Task, result: Option<&Payload>) -> TaskEndJson {
    let ended_at = task.finished_at.unwrap_or(task.updated_at);
    let failure = task.failure.map(|mut failure| {
        failure.message = said::cut(failure.message, MESSAGE_BYTES_MAX);
        let backtrace = failure.backtrace.take();
        failure.backtrace = backtrace.map(|text| said::cut(text, BACKTRACE_BYTES_MAX));
        failure
    });
    let task = Task { failure, ..task };
    let has_result = task.result_bytes.is_some();
    TaskEndJson {
        result_url: has_result.then(|| format!("{}/result", location(task.id))),
        content_type: result.map(|result| result.content_type.to_string()),
        result: result.map(value_of),
        task: TaskJson::new(task, ended_at, std::time::Duration::ZERO, None, None),
    }
}
