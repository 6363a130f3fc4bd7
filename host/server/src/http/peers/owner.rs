//! Whose a thing is, as its name says.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use percent_encoding::percent_decode_str;

use crate::http::error::ApiError;
use crate::http::mcp::name;
use cofferdam::sessions::SessionId;
use cofferdam_domain::attempt::WorkerId;

/// What only one host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    /// An interpreter that a caller keeps, and its files.
    Session,
    /// An agent's session.
    AgentSession,
    /// What a task's guest writes while it runs.
    Output,
}

/// What a request asks for, if only one host has it, and that host.
pub(super) fn of(request: &Request<Body>) -> Option<(Thing, WorkerId)> {
    let path = request.uri().path();
    if let Some(rest) = path.strip_prefix("/v1/sessions/") {
        let id = rest.split('/').next().unwrap_or_default();
        let id = percent_decode_str(id).decode_utf8().map(Cow::into_owned);
        let session = SessionId::parse(&id.ok()?)?;
        return Some((Thing::Session, session.worker()));
    }
    if path == "/mcp" {
        let session = request.headers().get(name::SESSION)?.to_str().ok()?;
        let (_, worker) = name::parts_of(session)?;
        return Some((Thing::AgentSession, worker));
    }
    None
}

impl Thing {
    fn as_str(self) -> &'static str {
        match self {
            Thing::Session | Thing::AgentSession => "session",
            Thing::Output => "task's output",
        }
    }

    /// Its host has ended, and it with it.
    pub(super) fn lost(self) -> ApiError {
        let detail = format!(
            "the host that kept this {} in its memory has ended, or was started again",
            self.as_str()
        );
        match self {
            Thing::Session => ApiError::new(StatusCode::GONE, "session_lost", detail),
            // Upon 404 an agent begins a new one.
            Thing::AgentSession => ApiError::not_found("session_not_found", detail),
            Thing::Output => ApiError::not_found("result_not_found", detail),
        }
    }

    /// Its host lives and does not answer this one.
    pub(super) fn unreachable(self, why: &str) -> ApiError {
        let detail = format!(
            "another host has this {}, and this host does not reach it: {why}. http.advertise says there \
             where others reach it",
            self.as_str()
        );
        ApiError::host_unreachable(detail)
    }
}
