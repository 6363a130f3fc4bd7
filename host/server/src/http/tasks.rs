//! Tasks: look, list, cancel, try again. Submitting is in [`submit`], what a task left behind in
//! [`output`] and [`artifacts`].

pub(crate) mod artifacts;
pub(crate) mod output;
mod raw;
pub(crate) mod submission;
pub(crate) mod submit;
pub(crate) mod wire;

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use crate::http::error::ApiError;
use crate::http::json::{self, Time};
use crate::http::page::{self, Page, TaskList};
use crate::http::path::{PathParts, unknown_task};
use crate::http::query::Query;
use crate::http::tasks::wire::{AttemptJson, TaskJson};
use crate::http::{AppState, Services};
use cofferdam_domain::module::ModuleName;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Priority, Task, TaskId};
use cofferdam_storage::{Cancelled, ListPosition, Retried, TaskFilter};

/// How far `as_of` stands before the moment of the answer. A change is dated before it is
/// committed; what was dated, but not yet visible, must be in the next answer.
const AS_OF_MARGIN: Duration = Duration::from_secs(2);

/// A page of tasks.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TaskPage {
    #[serde(flatten)]
    page: Page<TaskJson>,
    /// What to give as the next `since`. A change may be told twice, and none is left out.
    #[schema(value_type = String, format = DateTime)]
    as_of: Time,
}

/// The answer to what changes a task.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TaskStatus {
    pub(crate) task_id: String,
    pub(crate) status: &'static str,
    pub(crate) label: &'static str,
}

/// All attempts of a task.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AttemptList {
    items: Vec<AttemptJson>,
}

/// Look at a task
#[utoipa::path(
    get, path = "/v1/tasks/{id}", tag = "Tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("wait_ms" = Option<u64>, Query, description = "Wait so long for it to be final"),
    ),
    responses((status = 200, description = "The task", body = TaskJson)),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    let id = path.task()?;
    let mut query = Query::of(&uri)?;
    let patience = patience(&mut query, &services)?;
    query.done()?;
    let task = find(&services, id, patience).await?;
    Ok(json::answer(StatusCode::OK, &view(&services, task)))
}

/// List tasks
///
/// Newest first; with `since`, oldest change first and only what changed since then.
#[utoipa::path(
    get, path = "/v1/tasks", tag = "Tasks",
    params(
        ("status" = Option<String>, Query, description = "States, separated by commas"),
        ("module" = Option<String>, Query, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}$", description = "A module's name"),
        ("priority" = Option<String>, Query, pattern = "^(critical|high|normal|medium|low)$", description = "critical, high, normal or low"),
        ("since" = Option<String>, Query, description = "An earlier answer's as_of, or any RFC 3339 time"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page", body = TaskPage)),
)]
pub(crate) async fn list(State(services): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    let mut query = Query::of(&uri)?;
    let limit = page::limit(&mut query)?;
    let (filter, order) = filter(&mut query)?;
    query.done()?;
    let now = services.clock.now();
    let found = services.storage.tasks(&filter, limit + 1).await?;
    let wait = services.queue.estimated_wait();
    let cursor = |task: &Task| order.cursor(position(task, order));
    let page = Page::of(found, limit, cursor, |task| TaskJson::new(task, now, wait));
    let as_of = Time(now.minus(AS_OF_MARGIN));
    Ok(json::answer(StatusCode::OK, &TaskPage { page, as_of }))
}

/// Cancel a task
///
/// One that has not begun is cancelled at once. One that runs is asked to end, and killed after
/// the grace period.
#[utoipa::path(
    delete, path = "/v1/tasks/{id}", tag = "Tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 202, description = "It is cancelled, or will be", body = TaskStatus),
        (status = 409, description = "It is final", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn cancel(
    State(services): State<AppState>,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(&uri)?.done()?;
    let id = path.task()?;
    let status = request_cancel(&services, id).await?;
    Ok(json::answer(StatusCode::ACCEPTED, &status))
}

/// Try a failed or cancelled task anew
#[utoipa::path(
    post, path = "/v1/tasks/{id}/retry", tag = "Tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 202, description = "It is pending again", body = TaskStatus),
        (status = 409, description = "It is neither", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn retry(
    State(services): State<AppState>,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(&uri)?.done()?;
    let id = path.task()?;
    match services.queue.retry(id).await? {
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
            format!("task {id} has had as many attempts as one task can have; submit it anew"),
        )),
        Retried::Unknown => Err(unknown_task(id)),
    }
}

/// List a task's attempts
#[utoipa::path(
    get, path = "/v1/tasks/{id}/attempts", tag = "Tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses((status = 200, description = "Every finished attempt, in order", body = AttemptList)),
)]
pub(crate) async fn attempts(
    State(services): State<AppState>,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(&uri)?.done()?;
    let id = path.task()?;
    find(&services, id, Duration::ZERO).await?;
    let attempts = services.storage.attempts(id).await?;
    let items = attempts.into_iter().map(AttemptJson::from).collect();
    Ok(json::answer(StatusCode::OK, &AttemptList { items }))
}

/// The task, once it is final or `patience` is over.
pub(crate) async fn find(
    services: &Services,
    id: TaskId,
    patience: Duration,
) -> Result<Task, ApiError> {
    let task = match patience.is_zero() {
        true => services.storage.task(id).await?,
        false => services.queue.wait(id, patience).await?,
    };
    task.ok_or_else(|| unknown_task(id))
}

/// The task as it is told now.
pub(crate) fn view(services: &Services, task: Task) -> TaskJson {
    TaskJson::new(task, services.clock.now(), services.queue.estimated_wait())
}

/// Cancels, and tells how the task stands then.
pub(crate) async fn request_cancel(
    services: &Services,
    id: TaskId,
) -> Result<TaskStatus, ApiError> {
    match services.queue.cancel(id).await? {
        Cancelled::AtOnce => Ok(task_status(id, TaskState::Cancelled)),
        Cancelled::Requested(_) => Ok(TaskStatus {
            label: "cancelling",
            ..task_status(id, TaskState::Running)
        }),
        Cancelled::Final(state) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "task_final",
            format!("task {id} is {} already", state.as_str()),
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

fn filter(query: &mut Query<'_>) -> Result<(TaskFilter, TaskList), ApiError> {
    let states = query.parsed("status", "states separated by commas", |text| {
        text.split(',')
            .map(TaskState::parse)
            .collect::<Option<Vec<_>>>()
    })?;
    let module = query.parsed("module", "a module's name", |text| {
        ModuleName::parse(text).ok()
    })?;
    let priority = query.parsed("priority", "critical, high, normal or low", Priority::parse)?;
    let since = query.parsed("since", "a time in RFC 3339", |text| Time::parse(text).ok())?;
    let order = if since.is_some() {
        TaskList::Changes
    } else {
        TaskList::Newest
    };
    let filter = TaskFilter {
        states: states.unwrap_or_default(),
        module,
        priority,
        changed_since: since.map(|time| time.0),
        after: order.position(query)?,
    };
    Ok((filter, order))
}

fn position(task: &Task, order: TaskList) -> ListPosition {
    let at = match order {
        TaskList::Newest => task.created_at,
        TaskList::Changes => task.updated_at,
    };
    ListPosition { at, id: task.id }
}
