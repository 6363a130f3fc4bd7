//! Workers: the hosts that share this one's storage, how they are, and asking one to drain.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::page::{self, Page};
use crate::http::path::{PathParts, unknown_worker};
use crate::http::{AppState, Services, json};
use crate::intake::query::Query;
use crate::intake::time::Time;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::worker::{Address, Capability, Worker, WorkerState};

/// A worker: one host process.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct WorkerJson {
    /// This process; it is the `worker_id` of its tasks and attempts. After a restart the host has
    /// another.
    id: String,
    /// The operator's name for it (`worker.name`), which stays.
    name: String,
    /// `idle`, `running`, `draining`, `error` or `terminated`. `error`: it cannot record what becomes
    /// of its tasks. `terminated`: it has ended, or was silent for `queue.dead_after_ms`.
    state: &'static str,
    /// Where others reach its API (`http.advertise`).
    address: Option<String>,
    /// What it has, without its groups.
    capabilities: Vec<String>,
    /// The groups that it belongs to.
    groups: Vec<String>,
    /// Attempts that it may run at once.
    slots: u32,
    /// Attempts that it ran at its last heartbeat.
    load: u32,
    version: String,
    #[schema(value_type = String, format = DateTime)]
    started_at: Time,
    #[schema(value_type = String, format = DateTime)]
    heartbeat_at: Time,
    heartbeat_age_ms: u64,
    /// Whether it was asked to take no more tasks.
    drain_requested: bool,
    /// Whether it is the host that answers.
    answers: bool,
}

/// List the workers
///
/// One that has ended is listed for another hour.
#[utoipa::path(
    get, path = "/v1/workers", operation_id = "list_workers", tag = "Operations",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page, by id", body = Page<WorkerJson>)),
)]
pub(crate) async fn list(State(services): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = page::limit(&mut query)?;
    let after = page::after_worker(&mut query)?;
    query.done()?;
    let found = services.storage.workers(after, limit + 1).await?;
    let cursor = |last: &Worker| page::worker_cursor(last.id);
    let page = Page::of(found, limit, cursor, |worker| shown(&services, worker));
    Ok(json::answer(StatusCode::OK, &page))
}

/// Look at a worker
#[utoipa::path(
    get, path = "/v1/workers/{id}", operation_id = "get_worker", tag = "Operations",
    params(("id" = String, Path, description = "The worker's id")),
    responses((status = 200, description = "The worker", body = WorkerJson)),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let id = path.worker()?;
    let worker = services.storage.worker(id).await?;
    let worker = worker.ok_or_else(|| unknown_worker(id.0))?;
    Ok(json::answer(StatusCode::OK, &shown(&services, worker)))
}

/// Ask a worker to take no more tasks
///
/// It gives back what it has not begun, finishes what it runs, and answers everything else, new tasks
/// included: other workers run them. It heeds this at its next heartbeat. `DELETE` on the same path undoes
/// it, and so does a restart of the worker.
#[utoipa::path(
    post, path = "/v1/workers/{id}/drain", operation_id = "drain_worker", tag = "Operations",
    params(("id" = String, Path, description = "The worker's id")),
    responses(
        (status = 202, description = "It takes no more tasks, or will not from its next heartbeat on", body = WorkerJson),
        (status = 409, description = "It has ended", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn drain(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    ask_to_drain(&services, &caller, &path, &uri, true).await
}

/// Ask a worker to take tasks again
#[utoipa::path(
    delete, path = "/v1/workers/{id}/drain", operation_id = "undrain_worker", tag = "Operations",
    params(("id" = String, Path, description = "The worker's id")),
    responses(
        (status = 202, description = "It takes tasks again from its next heartbeat on", body = WorkerJson),
        (status = 409, description = "It has ended", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn undrain(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    ask_to_drain(&services, &caller, &path, &uri, false).await
}

async fn ask_to_drain(
    services: &Services,
    caller: &Caller,
    path: &PathParts,
    uri: &Uri,
    drain: bool,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let id = path.worker()?;
    let worker = services.queue.ask_to_drain(caller, id, drain).await?;
    let worker = worker.ok_or_else(|| unknown_worker(id.0))?;
    if worker.state(services.queue.dead_before()) == WorkerState::Terminated {
        let detail = format!("worker {} has ended", id.0);
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "worker_terminated",
            detail,
        ));
    }
    Ok(json::answer(StatusCode::ACCEPTED, &shown(services, worker)))
}

fn shown(services: &Services, worker: Worker) -> WorkerJson {
    let state = worker.state(services.queue.dead_before());
    let groups = worker.groups().map(str::to_owned).collect();
    let is_no_group = |capability: &&Capability| capability.group().is_none();
    let capabilities = worker.profile.capabilities.iter().filter(is_no_group);
    let capabilities = capabilities.map(|capability| capability.as_str().to_owned());
    let silent = services.clock.now().since(worker.heard_at);
    WorkerJson {
        id: worker.id.0.to_string(),
        state: state.as_str(),
        address: worker
            .profile
            .address
            .as_ref()
            .map(Address::as_str)
            .map(str::to_owned),
        capabilities: capabilities.collect(),
        groups,
        slots: worker.slots,
        load: match state {
            WorkerState::Terminated => 0,
            WorkerState::Idle
            | WorkerState::Running
            | WorkerState::Draining
            | WorkerState::Error => worker.load,
        },
        started_at: Time(worker.profile.started_at),
        heartbeat_at: Time(worker.heard_at),
        heartbeat_age_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX),
        drain_requested: worker.drain_asked,
        answers: worker.id == services.worker,
        name: worker.profile.name.to_string(),
        version: worker.profile.version,
    }
}
