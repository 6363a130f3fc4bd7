//! The worker API of existing pools, over the same queue.
//!
//! Paths and field names are those of the pools, and so are the ids in answers, whatever ids a pool
//! uses (`intake/pool.rs`).

pub(crate) mod wire;

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::value::RawValue;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::path::{PathParts, unknown_task};
use crate::http::tasks::value::value_of;
use crate::http::tasks::wire::{FailureJson, progress};
use crate::http::tasks::{find, one, request_cancel};
use crate::http::worker_api::wire::{
    Accepted, Health, PoolCancelled, PoolMetrics, PoolResult, PoolStatus,
};
use crate::http::{AppState, Services, json};
use crate::intake::json::parse;
use crate::intake::pool::{ExecuteRequest, task_id};
use crate::intake::time::Time;
use cofferdam::queue::Submitted;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::Capability;
use cofferdam_storage::Counts;

/// Give the worker a task
#[utoipa::path(
    post, path = "/execute", operation_id = "worker_execute", tag = "Worker API of existing pools",
    request_body(content = ExecuteRequest),
    responses((status = 200, description = "The task is stored", body = Accepted)),
)]
pub(crate) async fn execute(
    State(services): State<AppState>,
    By(caller): By,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = json::body(&services, &parts.headers, body).await?;
    let request = parse::<ExecuteRequest<'_>>(&body)?;
    let said = request.task_id.clone();
    let submission = request.into_submission(&body, caller.tenant(), &services.runner)?;
    let submitted = one(services.queue.submit(&caller, vec![submission]).await?)?;
    let (Submitted::New(id) | Submitted::Existing(id)) = submitted;
    let accepted = Accepted {
        task_id: said.unwrap_or_else(|| id.to_string()),
        status: "accepted",
        estimated_completion: Time(services.clock.now().plus(services.queue.estimated_wait())),
        worker_id: services.worker.0.to_string(),
    };
    Ok(json::answer(StatusCode::OK, &accepted))
}

/// Get a task's state
#[utoipa::path(
    get, path = "/task/{id}/status", operation_id = "worker_task_status", tag = "Worker API of existing pools",
    params(("id" = String, Path, description = "The id given to /execute")),
    responses((status = 200, description = "Its status", body = PoolStatus)),
)]
pub(crate) async fn status(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
) -> Result<Response, ApiError> {
    let said = path.text(0);
    let task = find_said(&services, &caller, said).await?;
    let estimate = services.clock.now().plus(services.queue.estimated_wait());
    let status = PoolStatus {
        task_id: said.to_owned(),
        status: task.state.as_str(),
        progress: progress(task.state, task.progress),
        started_at: task.started_at.map(Time),
        estimated_completion: (!task.state.is_final()).then_some(Time(estimate)),
    };
    Ok(json::answer(StatusCode::OK, &status))
}

/// Get a task's result
#[utoipa::path(
    get, path = "/task/{id}/result", operation_id = "worker_task_result", tag = "Worker API of existing pools",
    params(("id" = String, Path, description = "The id given to /execute")),
    responses((status = 200, description = "Its result, null if it gave none", body = PoolResult)),
)]
pub(crate) async fn result(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
) -> Result<Response, ApiError> {
    let said = path.text(0);
    let task = find_said(&services, &caller, said).await?;
    let output = match task.state {
        TaskState::Completed | TaskState::Cancelled => {
            let whose = Whose::of(&caller);
            services.storage.result(&whose, task.id).await?
        }
        TaskState::Blocked | TaskState::Pending | TaskState::Running | TaskState::Failed => None,
    };
    let result = PoolResult {
        task_id: said.to_owned(),
        status: task.state.as_str(),
        result: output.map_or_else(|| RawValue::NULL.to_owned(), |output| value_of(&output)),
        execution_time_seconds: task.usage.map(|usage| usage.duration.as_secs_f64()),
        completed_at: task.finished_at.map(Time),
        error: task.failure.map(FailureJson::from),
    };
    Ok(json::answer(StatusCode::OK, &result))
}

/// Cancel a task
#[utoipa::path(
    delete, path = "/task/{id}", operation_id = "worker_cancel_task", tag = "Worker API of existing pools",
    params(("id" = String, Path, description = "The id given to /execute")),
    responses((status = 200, description = "It is cancelled, or will be", body = PoolCancelled)),
)]
pub(crate) async fn cancel(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
) -> Result<Response, ApiError> {
    let said = path.text(0);
    let id = task_id(caller.tenant(), said).map_err(|_| unknown_task(said))?;
    let status = request_cancel(&services, &caller, id).await?;
    let cancelled = PoolCancelled {
        task_id: said.to_owned(),
        status: status.label,
    };
    Ok(json::answer(StatusCode::OK, &cancelled))
}

/// Get the worker's state
#[utoipa::path(
    get, path = "/health", operation_id = "worker_health", tag = "Worker API of existing pools",
    responses((status = 200, description = "Its state and load", body = Health)),
)]
pub(crate) async fn health(State(services): State<AppState>) -> Result<Response, ApiError> {
    let counts = services.storage.counts(&Whose::All).await?;
    let health = Health {
        status: match services.shutdown.is_requested() || services.queue.is_asked_to_drain() {
            true => "draining",
            false => "healthy",
        },
        worker_id: services.worker.0.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        capabilities: texts(&services.profile.capabilities),
        active_tasks: services.queue.stats().active,
        queue_depth: depth(&counts),
        uptime_seconds: uptime(&services).as_secs_f64(),
    };
    Ok(json::answer(StatusCode::OK, &health))
}

impl PoolMetrics {
    /// The present figures.
    pub(crate) fn new(services: &Services, counts: &Counts) -> PoolMetrics {
        let stats = services.queue.stats();
        let finished = stats.completed + stats.failed;
        PoolMetrics {
            tasks_completed: stats.completed,
            tasks_failed: stats.failed,
            success_rate: match finished {
                0 => 1.0,
                _ => as_f64(stats.completed) / as_f64(finished),
            },
            avg_execution_time_seconds: stats.mean_duration.as_secs_f64(),
            active_tasks: stats.active,
            queue_depth: depth(counts),
            cpu_usage_percent: services.process.cpu_percent(),
            memory_usage_gb: as_f64(services.process.resident_bytes()) / 1e9,
            uptime_hours: uptime(services).as_secs_f64() / 3600.0,
        }
    }
}

async fn find_said(
    services: &Services,
    caller: &Caller,
    said: &str,
) -> Result<cofferdam_domain::task::Task, ApiError> {
    let id = task_id(caller.tenant(), said).map_err(|_| unknown_task(said))?;
    let unknown = |error: ApiError| match error.is_not_found() {
        true => unknown_task(said),
        false => error,
    };
    find(services, caller, id, Duration::ZERO)
        .await
        .map_err(unknown)
}

fn texts(capabilities: &[Capability]) -> Vec<String> {
    let texts = capabilities.iter().map(Capability::as_str);
    texts.map(str::to_owned).collect()
}

fn depth(counts: &Counts) -> u64 {
    counts.blocked + counts.pending
}

fn uptime(services: &Services) -> Duration {
    services.clock.now().since(services.started_at)
}

fn as_f64(number: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "these figures are for people")]
    let number = number as f64;
    number
}
