//! The operators' requests: liveness, readiness and metrics.

use std::time::Duration;

use axum::extract::State as Extracted;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::http::error::ApiError;
use crate::http::worker_api::wire::PoolMetrics;
use crate::http::{AppState, Services, json};
use cofferdam::interpreters::State;
use cofferdam::telemetry::classic;
use cofferdam::telemetry::metrics::Readings;
use cofferdam_domain::alert::AlertState;
use cofferdam_domain::memory::Purpose;
use cofferdam_domain::module::Language;
use cofferdam_domain::whose::Whose;
use cofferdam_storage::Counts;
use cofferdam_storage::disk::Room;

/// How long storage may take to answer for the host to be ready.
const PING_PATIENCE: Duration = Duration::from_secs(5);

/// Whether the host is alive or ready.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Liveness {
    status: &'static str,
}

/// Whether the host is ready, and which code it can run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Readiness {
    status: &'static str,
    /// Each is `ready`, `warming_up`, `not_installed` or `failed`. The host takes all other work in
    /// any case. A host without room for an interpreter is not ready.
    interpreters: InterpretersJson,
    /// How far the kernel confines the host itself.
    confinement: ConfinementJson,
    /// The processes that isolated guests run in.
    guest_processes: ProcessesJson,
}

/// What of the host's confinement is in force on this machine.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ConfinementJson {
    /// Whether files, ports and signals are confined.
    landlock: bool,
    /// Whether system calls are.
    seccomp: bool,
}

/// The processes that isolated guests run in, and how far the kernel confines them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ProcessesJson {
    live: u64,
    /// Those of them whose guests compute without checks.
    unchecked: u64,
    /// Whether it confines their files and network; absent until one of them was ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    landlock: Option<bool>,
    /// Whether it confines their system calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    seccomp: Option<bool>,
    /// Whether they have an empty network, mounts and names of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<bool>,
}

/// The state of each interpreter.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct InterpretersJson {
    python: &'static str,
    javascript: &'static str,
}

/// Whether the process answers
#[utoipa::path(
    get, path = "/livez", operation_id = "get_liveness", tag = "Operations",
    responses((status = 200, description = "It does", body = Liveness)),
)]
pub(crate) async fn livez() -> Response {
    json::answer(StatusCode::OK, &Liveness { status: "alive" })
}

/// Whether the host takes work
#[utoipa::path(
    get, path = "/readyz", operation_id = "get_readiness", tag = "Operations",
    responses(
        (status = 200, description = "It does", body = Readiness),
        (status = 503, description = "It is draining, short of memory, the disk is full or has no room for an interpreter (`missing` says which), storage does not answer, or no attempt's end can be recorded", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn readyz(Extracted(services): Extracted<AppState>) -> Result<Response, ApiError> {
    if services.shutdown.is_requested() {
        return Err(ApiError::draining());
    }
    services.vitals.lets_in()?;
    if let Some(lacking) = lacking(&services, services.disk.look().await) {
        return Err(lacking);
    }
    if let Some(stuck) = services.queue.recording_is_stuck() {
        return Err(ApiError::not_recording(stuck));
    }
    tokio::time::timeout(PING_PATIENCE, services.storage.ping())
        .await
        .map_err(|_elapsed| ApiError::not_recording(PING_PATIENCE))??;
    let word = |language| services.runner.interpreters().state(language).as_str();
    let readiness = Readiness {
        status: "ready",
        interpreters: InterpretersJson {
            python: word(Language::Python),
            javascript: word(Language::JavaScript),
        },
        confinement: ConfinementJson {
            landlock: services.confined.landlock,
            seccomp: services.confined.seccomp,
        },
        guest_processes: processes(&services),
    };
    Ok(json::answer(StatusCode::OK, &readiness))
}

fn processes(services: &Services) -> ProcessesJson {
    let figures = services.runner.processes();
    let jail = figures.and_then(|figures| figures.jail);
    ProcessesJson {
        live: figures.map_or(0, |figures| figures.live),
        unchecked: figures.map_or(0, |figures| figures.unchecked),
        landlock: jail.map(|jail| jail.landlock),
        seccomp: jail.map(|jail| jail.seccomp),
        namespaces: jail.map(|jail| jail.namespaces),
    }
}

/// What there is no room for on the disk.
fn lacking(services: &Services, room: Room) -> Option<ApiError> {
    let interpreters = services.runner.interpreters();
    let without_room = |language: &Language| match interpreters.state(*language) {
        State::NoRoom => Some(interpreters.get(*language).err()?.to_string()),
        State::NotInstalled | State::WarmingUp | State::Ready(_) | State::Failed { .. } => None,
    };
    let lack = room.lack().map(|lack| ("disk", lack.to_string()));
    let unprepared = Language::ALL
        .iter()
        .filter_map(|language| Some((language.as_str(), without_room(language)?)));
    let (missing, why): (Vec<&str>, Vec<String>) = lack.into_iter().chain(unprepared).unzip();
    (!missing.is_empty()).then(|| ApiError::disk_full(why.join("; "), missing))
}

/// Metrics
///
/// Prometheus text; with `Accept: application/json` the figures of the worker API.
#[utoipa::path(
    get, path = "/metrics", operation_id = "get_metrics", tag = "Operations",
    responses((status = 200, description = "The metrics", content(
        (String = "text/plain"), (PoolMetrics = "application/json"),
    ))),
)]
pub(crate) async fn metrics(
    Extracted(services): Extracted<AppState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let counts = services.storage.counts(&Whose::All).await?;
    let accepted = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accepted.contains("application/json") {
        return Ok(json::answer(
            StatusCode::OK,
            &PoolMetrics::new(&services, &counts),
        ));
    }
    let room = services.disk.look().await;
    let text = services.metrics.render(&readings(&services, &counts, room));
    let (text, media_type) = match accepted.contains("application/openmetrics-text") {
        true => (
            text,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        false => (
            classic::from_open_metrics(&text),
            "text/plain; version=0.0.4; charset=utf-8",
        ),
    };
    let mut response = Response::new(text.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

fn readings(services: &Services, counts: &Counts, room: Room) -> Readings {
    let stats = services.queue.stats();
    let processes = services.runner.processes();
    Readings {
        depth: [
            counts.blocked,
            counts.pending,
            counts.running,
            counts.completed,
            counts.failed,
            counts.cancelled,
        ],
        active: stats.active,
        slots: stats.slots,
        waiting: services.runner.waiting(),
        modules_held: services.runner.held_count(),
        callback_hosts_held: services.callbacks.held_count(),
        sessions: services.sessions.count(),
        processes: processes.map_or(0, |processes| processes.live),
        processes_unchecked: processes.map_or(0, |processes| processes.unchecked),
        processes_retired: processes.map_or(0, |processes| processes.retired),
        processes_died: processes.map_or(0, |processes| processes.died),
        files_bytes: services.files.usage().0,
        memory_bytes: services.process.resident_bytes(),
        memory_budget_bytes: services.memory.total_bytes(),
        memory_taken_bytes: Purpose::ALL.map(|purpose| services.memory.taken_bytes(purpose)),
        host_memory_bytes: services.vitals.memory().used_bytes,
        host_memory_limit_bytes: services.vitals.memory().limit_bytes,
        pressure: services.vitals.level(),
        cache: services.runner.results().sizes(),
        alerts: services
            .vitals
            .alerts()
            .map(|alert| alert.state == AlertState::Firing),
        disk_free_bytes: room.free_bytes(),
        disk_full: room.lack().is_some(),
        confinement: layers(services),
        interpreters: Language::ALL.map(|language| {
            let state = services.runner.interpreters().state(language);
            (language.as_str(), state.as_str())
        }),
    }
}

/// Which layers of confinement are in force, of the host and of its guests' processes.
fn layers(services: &Services) -> [(&'static str, &'static str, bool); 5] {
    let confined = services.confined;
    let guests = processes(services);
    let holds = |layer: Option<bool>| layer.unwrap_or(false);
    [
        ("host", "landlock", confined.landlock),
        ("host", "seccomp", confined.seccomp),
        ("guest_processes", "landlock", holds(guests.landlock)),
        ("guest_processes", "seccomp", holds(guests.seccomp)),
        ("guest_processes", "namespaces", holds(guests.namespaces)),
    ]
}
