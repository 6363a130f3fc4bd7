//! `POST /v1/sessions/{id}/exec`: runs code in a session, with the answer of `/v1/exec`.
//!
//! A caller that goes away leaves its code running: ending it would end the session.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::exec::{stream, wants_events};
use crate::http::path::PathParts;
use crate::http::sessions::wire::{Turn, TurnAnswer, files_url, turn_answer};
use crate::http::{AppState, Services, json};
use crate::intake::json::parse;
use crate::intake::session::TurnRequest;
use cofferdam::interpreters::request::Request as CodeRequest;
use cofferdam::runner::Watcher;
use cofferdam::sessions::{SessionId, SessionState};
use cofferdam_domain::caller::Caller;
use cofferdam_domain::limits::LimitRequest;

/// Run code in a session
///
/// Variables, imports and files are kept for the next call. `files` lists all files of the working
/// directory. Code that fails leaves the session as it is; code that meets a limit ends it, and
/// `session` says so. Calls run one after the other. `Accept: text/event-stream` works as in
/// `/v1/exec`.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/exec", operation_id = "run_code_in_session", tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    request_body(content = TurnRequest),
    responses(
        (status = 200, description = "The result of the code", body = TurnAnswer),
        (status = 410, description = "The session's interpreter was ended earlier (`session_ended`), or its host has ended (`session_lost`)", body = crate::http::error::Problem),
        (status = 429, description = "Too many calls wait for this session", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn exec(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    request: Request,
) -> Result<Response, ApiError> {
    services.takes_work()?;
    let id = path.session()?;
    // An unknown session is reported before the code is read.
    services.sessions.get(&caller, id)?;
    let (parts, body) = request.into_parts();
    let body = json::body(&services, &parts.headers, body).await?;
    if wants_events(&parts.headers) {
        // Mistakes in the request are reported before the stream begins.
        parse::<TurnRequest<'_>>(&body)?;
        return Ok(stream::told(
            &Arc::clone(&services),
            move |watch| async move { run(&services, &caller, id, &body, Some(watch)).await },
        ));
    }
    let answer = run(&services, &caller, id, &body, None).await?;
    Ok(json::answer(StatusCode::OK, &answer))
}

async fn run(
    services: &Services,
    caller: &Caller,
    id: SessionId,
    body: &Bytes,
    watch: Option<Watcher>,
) -> Result<Turn, ApiError> {
    let (request, limits): (CodeRequest<'_>, LimitRequest) =
        parse::<TurnRequest<'_>>(body)?.into_parts();
    let executed = services
        .sessions
        .execute(caller, id, &request, &limits, watch)
        .await?;
    // A session that was deleted meanwhile has ended with this call.
    let state = services.sessions.get(caller, id).map_or_else(
        |_gone| executed.verdict.failure.clone().map(SessionState::Ended),
        |info| Some(info.state),
    );
    let answer = executed.into_answer(&files_url(id));
    Ok(turn_answer(answer, &state.unwrap_or(SessionState::Idle)))
}
