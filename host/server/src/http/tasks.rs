//! Tasks: look, cancel, try again. Submitting is in [`submit`], lists are in [`list`] and [`attempts`],
//! what a task left behind in [`output`] and [`artifacts`].

pub(crate) mod artifacts;
pub(crate) mod attempts;
pub(crate) mod batch;
pub(crate) mod bulk;
pub(crate) mod callback;
pub(crate) mod callback_state;
pub(crate) mod list;
pub(crate) mod output;
mod raw;
pub(crate) mod request;
pub(crate) mod submit;
pub(crate) mod value;
pub(crate) mod waiting;
pub(crate) mod wire;

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::path::{PathParts, unknown_task};
use crate::http::tasks::callback_state::CallbackStateJson;
use crate::http::tasks::waiting::Workers;
use crate::http::tasks::wire::TaskJson;
use crate::http::{AppState, Services, json};
use crate::intake::query::Query;
use cofferdam::queue::Submitted;
use cofferdam_domain::callback::event::Subject;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Task, TaskId};
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::WorkflowId;
use cofferdam_storage::{Cancelled, Purged, Retried};

/// The answer to a change of a task.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TaskStatus {
    pub(crate) task_id: String,
    pub(crate) status: &'static str,
    pub(crate) label: &'static str,
}

/// Look at a task
#[utoipa::path(
    get, path = "/v1/tasks/{id}", operation_id = "get_task", tag = "Tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("wait_ms" = Option<u64>, Query, description = "Wait up to this long for it to be final"),
    ),
    responses((status = 200, description = "The task", body = TaskJson)),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    let task = awaited(&services, &caller, &path, &uri).await?;
    Ok(json::answer(StatusCode::OK, &view(&services, task).await?))
}

/// Cancel a task, or remove one that is final
///
/// A task that has not begun is cancelled at once. A running one is asked to end, and killed after
/// the grace period. With `purge=true` a final task is removed at once, with its result, its
/// streams, its artifacts and its input.
#[utoipa::path(
    delete, path = "/v1/tasks/{id}", operation_id = "cancel_task", tag = "Tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("purge" = Option<bool>, Query, description = "Remove a final task instead of cancelling one"),
    ),
    responses(
        (status = 202, description = "It is cancelled, or will be", body = TaskStatus),
        (status = 204, description = "It is removed"),
        (status = 409, description = "The task is final; or, with purge, it is not", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn cancel(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let purge = query.parsed("purge", "true or false", |text| text.parse().ok())?;
    query.done()?;
    let id = path.task()?;
    if purge == Some(true) {
        return remove(&services, &caller, id).await;
    }
    let status = request_cancel(&services, &caller, id).await?;
    Ok(json::answer(StatusCode::ACCEPTED, &status))
}

async fn remove(services: &Services, caller: &Caller, id: TaskId) -> Result<Response, ApiError> {
    match services.queue.purge(caller, id).await? {
        Purged::Removed(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Purged::NotFinal(state) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "task_not_final",
            format!(
                "task {id} is {}; cancel it and remove it once it is final",
                state.as_str()
            ),
        )
        .with("task_status", state.as_str())),
        Purged::OfWorkflow(workflow) => Err(of_workflow(id, workflow)),
        Purged::Unknown => Err(unknown_task(id)),
    }
}

/// Retry a failed or cancelled task
#[utoipa::path(
    post, path = "/v1/tasks/{id}/retry", operation_id = "retry_task", tag = "Tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 202, description = "It is pending again", body = TaskStatus),
        (status = 409, description = "It is not failed or cancelled", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn retry(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let id = path.task()?;
    match services.queue.retry(&caller, id).await? {
        Retried::Pending => {
            let status = task_status(id, TaskState::Pending);
            Ok(json::answer(StatusCode::ACCEPTED, &status))
        }
        Retried::NotFailed(state) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "task_not_failed",
            format!(
                "task {id} is {}; only a failed or cancelled one can be retried",
                state.as_str()
            ),
        )
        .with("task_status", state.as_str())),
        Retried::Exhausted => Err(ApiError::new(
            StatusCode::CONFLICT,
            "task_exhausted",
            format!("task {id} has had as many attempts as one task can have; submit it again"),
        )),
        Retried::OfWorkflow(workflow) => Err(of_workflow(id, workflow)),
        Retried::Unknown => Err(unknown_task(id)),
    }
}

/// The task is a node of a workflow, which is changed as a whole.
fn of_workflow(id: TaskId, workflow: WorkflowId) -> ApiError {
    let detail = format!(
        "task {id} is a node of workflow {workflow}, which is retried and removed as a whole"
    );
    ApiError::new(StatusCode::CONFLICT, "task_of_workflow", detail)
        .with("workflow_id", workflow.to_string())
}

/// The task that a path names, once it is final or what the query says of waiting is over.
async fn awaited(
    services: &Services,
    caller: &Caller,
    path: &PathParts,
    uri: &Uri,
) -> Result<Task, ApiError> {
    let id = path.task()?;
    let mut query = Query::of(uri.query())?;
    let patience = patience(&mut query, services)?;
    query.done()?;
    find(services, caller, id, patience).await
}

/// The caller's task, once it is final or `patience` is over.
pub(crate) async fn find(
    services: &Services,
    caller: &Caller,
    id: TaskId,
    patience: Duration,
) -> Result<Task, ApiError> {
    let task = match patience.is_zero() {
        true => services.storage.task(&Whose::of(caller), id).await?,
        false => services.queue.wait(caller, id, patience).await?,
    };
    task.ok_or_else(|| unknown_task(id))
}

/// The path of a task.
pub(crate) fn location(id: TaskId) -> String {
    format!("/v1/tasks/{id}")
}

/// The task as an answer shows it.
pub(crate) async fn view(services: &Services, task: Task) -> Result<TaskJson, ApiError> {
    let workers = Workers::for_tasks(services, std::slice::from_ref(&task)).await?;
    let callback = match task.has_callback {
        true => {
            let whose = Whose::One(task.tenant.clone());
            services
                .callbacks
                .of(&whose, Subject::Task(task.id))
                .await?
        }
        false => None,
    };
    let callback = callback.map(|(callback, told)| CallbackStateJson::new(callback, told));
    let mut shown = workers.view(services, task);
    shown.callback = callback;
    Ok(shown)
}

/// Cancels, and returns the task's state.
pub(crate) async fn request_cancel(
    services: &Services,
    caller: &Caller,
    id: TaskId,
) -> Result<TaskStatus, ApiError> {
    match services.queue.cancel(caller, id).await? {
        Cancelled::AtOnce => Ok(task_status(id, TaskState::Cancelled)),
        Cancelled::Requested(_) => Ok(TaskStatus {
            label: "cancelling",
            ..task_status(id, TaskState::Running)
        }),
        Cancelled::Final(state) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "task_final",
            format!("task {id} is already {}", state.as_str()),
        )
        .with("task_status", state.as_str())),
        Cancelled::Unknown => Err(unknown_task(id)),
    }
}

pub(crate) fn task_status(id: TaskId, state: TaskState) -> TaskStatus {
    let word = state.as_str();
    TaskStatus {
        task_id: id.to_string(),
        status: word,
        label: word,
    }
}

/// Reads `wait_ms`.
pub(crate) fn patience(query: &mut Query<'_>, services: &Services) -> Result<Duration, ApiError> {
    let most = u64::try_from(services.config.wait_max.as_millis()).unwrap_or(u64::MAX);
    let wait_ms = query.number("wait_ms", 0..=most)?;
    Ok(wait_ms.map_or(Duration::ZERO, Duration::from_millis))
}

/// The queue's answer to a single submission.
pub(crate) fn one(submitted: Vec<Submitted>) -> Result<Submitted, ApiError> {
    let first = submitted.into_iter().next();
    first.ok_or_else(|| ApiError::internal("the queue answered nothing to one submission"))
}
