//! Sessions: interpreters that a caller keeps between calls.

pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod wire;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::path::PathParts;
use crate::http::sessions::wire::{SessionFacts, SessionJson, SessionList};
use crate::http::{AppState, Services, json};
use crate::intake::json::parse;
use crate::intake::session::SessionRequest;
use crate::intake::words;
use cofferdam::runner::RunError;
use cofferdam_domain::caller::Caller;
use cofferdam_storage::files::ExecutionFiles;

/// Make a session
///
/// One interpreter with its variables and files, kept for its caller until nobody has called it
/// for `idle_timeout_ms`. It lives in this host's memory and ends with the host. Hosts that share a
/// database pass requests for it on to its host.
#[utoipa::path(
    post, path = "/v1/sessions", operation_id = "create_session", tag = "Sessions",
    request_body(content = SessionRequest),
    responses(
        (
            status = 201, description = "The session", body = SessionJson,
            headers(("Location" = String, description = "Where the session is")),
        ),
        (status = 501, description = "This host keeps no sessions, or no interpreter of that language is installed", body = crate::http::error::Problem),
        (status = 503, description = "There is no room for another session, or the interpreter is being compiled", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn create(
    State(services): State<AppState>,
    By(caller): By,
    request: Request,
) -> Result<Response, ApiError> {
    services.takes_work()?;
    let (parts, body) = request.into_parts();
    let body = json::body(&services, &parts.headers, body).await?;
    let mut request = parse::<SessionRequest<'_>>(&body)?;
    let snapshot = request.snapshot.take();
    let mut new = request.into_new(&services.runner)?;
    let mut restored = None;
    if let Some(snapshot) = snapshot {
        let files = snapshot_files(&services, &caller, &snapshot).await?;
        let paths = files.files().to_vec();
        new.setup.restore(paths).map_err(RunError::from)?;
        restored = Some(files);
    }
    let info = services.sessions.create(&caller, new).await?;
    // They are in the session's own directory now.
    drop(restored);
    let path = format!("/v1/sessions/{}", info.id);
    Ok(json::answer_at(
        StatusCode::CREATED,
        &path,
        &SessionJson::from(info),
    ))
}

async fn snapshot_files(
    services: &Services,
    caller: &Caller,
    snapshot: &str,
) -> Result<ExecutionFiles, ApiError> {
    let unknown = || {
        let detail = format!("there is no snapshot {snapshot:?}, or it has been removed");
        ApiError::not_found("snapshot_not_found", detail)
    };
    let id = words::task_id(snapshot).ok_or_else(unknown)?;
    let (files, tenant) = (&services.files, caller.tenant());
    let files = files.execution_files(tenant, id.0).await?;
    files.ok_or_else(unknown)
}

/// List the sessions of this host
///
/// The list has handles: a session's id is the right to use it, and only its creator gets it.
#[utoipa::path(
    get, path = "/v1/sessions", operation_id = "list_sessions", tag = "Sessions",
    responses((status = 200, description = "All sessions, the oldest first", body = SessionList)),
)]
pub(crate) async fn list(State(services): State<AppState>, By(caller): By) -> Response {
    let items = services.sessions.list(&caller).into_iter();
    let list = SessionList {
        items: items.map(SessionFacts::from).collect(),
        next_cursor: (),
    };
    json::answer(StatusCode::OK, &list)
}

/// Get a session
#[utoipa::path(
    get, path = "/v1/sessions/{id}", operation_id = "get_session", tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 200, description = "The session", body = SessionJson),
        (status = 410, description = "Its host has ended, and it with it (`session_lost`)", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
) -> Result<Response, ApiError> {
    let info = services.sessions.get(&caller, path.session()?)?;
    Ok(json::answer(StatusCode::OK, &SessionJson::from(info)))
}

/// End a session
///
/// Code that runs in it is ended, and its files are removed.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", operation_id = "delete_session", tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 410, description = "Its host has ended, and it with it (`session_lost`)", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn delete(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
) -> Result<StatusCode, ApiError> {
    services.sessions.delete(&caller, path.session()?)?;
    Ok(StatusCode::NO_CONTENT)
}
