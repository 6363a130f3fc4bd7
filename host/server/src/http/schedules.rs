//! `/v1/schedules`: tasks and workflows that are submitted again and again.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::page::{self, Page};
use crate::http::path::PathParts;
use crate::http::tasks::location;
use crate::http::{AppState, json};
use crate::intake::query::Query;
use crate::intake::schedule::{self, ScheduleRequest};
use crate::intake::time::Time;
use cofferdam::schedules::timetable::Readable;
use cofferdam_domain::schedule::{Fired, Schedule, ScheduleName, Scheduled, Timetable, Work};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::workflow::WorkflowState;

/// The instants that are shown of one schedule.
const UPCOMING: usize = 5;

/// A schedule.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ScheduleJson {
    name: String,
    cron: Option<String>,
    time_zone: Option<String>,
    every_ms: Option<u64>,
    /// The task, as it was put; null if it submits a workflow.
    #[schema(value_type = Option<Object>)]
    task: Option<Box<RawValue>>,
    /// The workflow, as it was put; null if it submits a task.
    #[schema(value_type = Option<Object>)]
    workflow: Option<Box<RawValue>>,
    catch_up: &'static str,
    overlap: &'static str,
    paused: bool,
    /// The next instants, five if one schedule is asked for.
    #[schema(value_type = Vec<String>)]
    next: Vec<Time>,
    last: Option<FiringJson>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Time,
}

/// What was submitted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ScheduleRun {
    task_id: Option<String>,
    workflow_id: Option<String>,
    status: &'static str,
}

/// The last instant that something came of.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct FiringJson {
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// `submitted`; `skipped`, because `task_id` or `workflow_id` went on; or `refused`, because of `error`.
    outcome: &'static str,
    task_id: Option<String>,
    workflow_id: Option<String>,
    error: Option<String>,
}

/// List the schedules
#[utoipa::path(
    get, path = "/v1/schedules", operation_id = "list_schedules", tag = "Schedules",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page, by name", body = Page<ScheduleJson>)),
)]
pub(crate) async fn list(
    State(services): State<AppState>,
    By(caller): By,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = page::limit(&mut query)?;
    let after = page::after_schedule(&mut query)?;
    query.done()?;
    let (schedules, caller) = (&services.schedules, &caller);
    let name = |schedule: &Schedule| schedule.name.clone();
    let text_bytes = |schedule: &Schedule| schedule.plan.what.text().len();
    let read = |from: Option<ScheduleName>, most| async move {
        Ok(schedules.list(caller, from.as_ref(), most).await?)
    };
    let (found, is_last) = page::filled(limit, after, name, text_bytes, read).await?;
    let cursor = |last: &Schedule| page::schedule_cursor(&last.name);
    let page = Page::ending(found, is_last, cursor, |schedule| shown(schedule, 1));
    Ok(json::answer(StatusCode::OK, &page))
}

/// Make a schedule, or replace what was said of it
///
/// Its task or workflow is checked now as if it were submitted, and again at each instant, which the newest version of its
/// module runs. A schedule that is replaced begins anew: earlier instants are not made up for.
#[utoipa::path(
    put, path = "/v1/schedules/{name}", operation_id = "put_schedule", tag = "Schedules",
    params(("name" = String, Path, description = "[a-z0-9][a-z0-9._-]{0,127}")),
    request_body = ScheduleRequest,
    responses(
        (status = 201, description = "It is new", body = ScheduleJson),
        (status = 200, description = "It was there", body = ScheduleJson),
        (status = 409, description = "The tenant has as many schedules as it may", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn put(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    services.takes_work()?;
    Query::of(uri.query())?.done()?;
    let name = schedule::name(path.text(0))?;
    let body = json::body(&services, &headers, body).await?;
    let plan = schedule::plan(&body)?;
    let status = match services.schedules.put(&caller, &name, &plan).await? {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let kept = services.schedules.find(&caller, &name).await?;
    Ok(json::answer(status, &shown(kept, UPCOMING)))
}

/// Look at a schedule
#[utoipa::path(
    get, path = "/v1/schedules/{name}", operation_id = "get_schedule", tag = "Schedules",
    params(("name" = String, Path, description = "The schedule")),
    responses((status = 200, description = "The schedule, with its next five instants", body = ScheduleJson)),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let kept = services.schedules.find(&caller, &named(&path)?).await?;
    Ok(json::answer(StatusCode::OK, &shown(kept, UPCOMING)))
}

/// Remove a schedule
///
/// What it submitted stays.
#[utoipa::path(
    delete, path = "/v1/schedules/{name}", operation_id = "delete_schedule", tag = "Schedules",
    params(("name" = String, Path, description = "The schedule")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    services.schedules.remove(&caller, &named(&path)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Submit a schedule's task or workflow now
///
/// Whatever its instants, its pause and its `overlap` say.
#[utoipa::path(
    post, path = "/v1/schedules/{name}/run", operation_id = "run_schedule", tag = "Schedules",
    params(("name" = String, Path, description = "The schedule")),
    responses((status = 202, description = "The task or the workflow is stored", body = ScheduleRun)),
)]
pub(crate) async fn run(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    services.takes_work()?;
    Query::of(uri.query())?.done()?;
    let work = services.schedules.run_now(&caller, &named(&path)?).await?;
    let (location, status) = match work {
        Work::Task(id) => (location(id), TaskState::Pending.as_str()),
        Work::Workflow(id) => (
            format!("/v1/workflows/{id}"),
            WorkflowState::Running.as_str(),
        ),
    };
    let answer = ScheduleRun {
        task_id: task_of(Some(work)),
        workflow_id: workflow_of(Some(work)),
        status,
    };
    Ok(json::answer_at(StatusCode::ACCEPTED, &location, &answer))
}

/// The part of a path that names a schedule. Other text names none.
fn named(path: &PathParts) -> Result<ScheduleName, ApiError> {
    let text = path.text(0);
    ScheduleName::parse(text).map_err(|_no_name| {
        ApiError::not_found("schedule_not_found", format!("there is no schedule {text}"))
    })
}

fn task_of(work: Option<Work>) -> Option<String> {
    match work {
        Some(Work::Task(id)) => Some(id.to_string()),
        Some(Work::Workflow(_)) | None => None,
    }
}

fn workflow_of(work: Option<Work>) -> Option<String> {
    match work {
        Some(Work::Workflow(id)) => Some(id.to_string()),
        Some(Work::Task(_)) | None => None,
    }
}

fn shown(schedule: Schedule, upcoming: usize) -> ScheduleJson {
    let plan = schedule.plan;
    let next = match Readable::of(&plan.timetable) {
        Ok(readable) => readable.upcoming(schedule.next_at, upcoming),
        Err(_unreadable) => Vec::new(),
    };
    let (cron, time_zone, every_ms) = match plan.timetable {
        Timetable::Cron { pattern, time_zone } => (Some(pattern), Some(time_zone), None),
        Timetable::Every(interval) => {
            let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
            (None, None, Some(millis))
        }
    };
    // It was read as JSON when it was put.
    let json = |text: String| RawValue::from_string(text).ok();
    let (task, workflow) = match plan.what {
        Scheduled::Task(text) => (json(text), None),
        Scheduled::Workflow(text) => (None, json(text)),
    };
    ScheduleJson {
        name: schedule.name.as_str().to_owned(),
        cron,
        time_zone,
        every_ms,
        task,
        workflow,
        catch_up: plan.catch_up.as_str(),
        overlap: plan.overlap.as_str(),
        paused: plan.paused,
        next: next.into_iter().map(Time).collect(),
        last: schedule.last.map(|last| FiringJson {
            at: Time(last.at),
            outcome: last.outcome.as_str(),
            task_id: task_of(last.outcome.work()),
            workflow_id: workflow_of(last.outcome.work()),
            error: match last.outcome {
                Fired::Refused(why) => Some(why),
                Fired::Submitted(_) | Fired::Skipped(_) => None,
            },
        }),
        created_at: Time(schedule.created_at),
        updated_at: Time(schedule.updated_at),
    }
}
