//! Sessions: interpreters that a caller keeps between calls.

pub(crate) mod exec;
pub(crate) mod files;
mod wire;

use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::path::PathParts;
use crate::http::sessions::wire::{SessionFacts, SessionJson, SessionList, SessionRequest};
use crate::http::tasks::submit::json_limit;
use crate::http::{AppState, body, json};

/// Make a session
///
/// One interpreter with its variables and files, kept for its caller until nobody has called it
/// for `idle_timeout_ms`. It lives in this host's memory and ends with the host.
#[utoipa::path(
    post, path = "/v1/sessions", operation_id = "create_session", tag = "Sessions",
    request_body(content = SessionRequest),
    responses(
        (
            status = 201, description = "The session", body = SessionJson,
            headers(("Location" = String, description = "Where the session is")),
        ),
        (status = 501, description = "This host keeps no sessions, or no interpreter of that language is installed", body = crate::http::error::Problem),
        (status = 503, description = "There is no room for one more, or the interpreter is being compiled", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn create(
    State(services): State<AppState>,
    By(caller): By,
    request: Request,
) -> Result<Response, ApiError> {
    services.takes_work()?;
    let (parts, body) = request.into_parts();
    json::require_json(&parts.headers)?;
    let body = body::collect(&parts.headers, body, json_limit(&services)).await?;
    let request = json::parse::<SessionRequest<'_>>(&body)?;
    let new = request.into_new(&services).await?;
    let info = services.sessions.create(&caller, new).await?;
    let location = HeaderValue::from_str(&format!("/v1/sessions/{}", info.id));
    let mut response = json::answer(StatusCode::CREATED, &SessionJson::from(info));
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// List the sessions of this host
///
/// By their handles: a session's id is the right to use it, and only its maker is told.
#[utoipa::path(
    get, path = "/v1/sessions", operation_id = "list_sessions", tag = "Sessions",
    responses((status = 200, description = "All of them, the oldest first", body = SessionList)),
)]
pub(crate) async fn list(State(services): State<AppState>) -> Response {
    let items = services.sessions.list().into_iter();
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
    responses((status = 200, description = "The session", body = SessionJson)),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    path: PathParts,
) -> Result<Response, ApiError> {
    let info = services.sessions.get(path.session()?)?;
    Ok(json::answer(StatusCode::OK, &SessionJson::from(info)))
}

/// End a session
///
/// Whatever runs in it is ended, and its files are removed.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", operation_id = "delete_session", tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
) -> Result<StatusCode, ApiError> {
    services.sessions.delete(&caller, path.session()?)?;
    Ok(StatusCode::NO_CONTENT)
}
