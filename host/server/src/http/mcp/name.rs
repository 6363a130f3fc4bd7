//! The name of an agent's session: what the protocol's crate calls it, and the process that keeps it. The
//! crate knows only the first part, so the second one is added here and left out again.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use cofferdam_domain::attempt::WorkerId;

/// The header with a session's name.
pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// The parts of a session's name: what the protocol's crate calls it, and the process that keeps it.
pub(crate) fn parts_of(name: &str) -> Option<(&str, WorkerId)> {
    let (own, worker) = name.split_once('.')?;
    Some((own, WorkerId(Uuid::try_parse(worker).ok()?)))
}

/// Leaves `worker` out of a session's name: the protocol's crate does not know who keeps it.
pub(super) fn leave_worker_out(headers: &mut HeaderMap, worker: WorkerId) {
    let name = headers.get(SESSION).and_then(|name| name.to_str().ok());
    let own = name
        .and_then(parts_of)
        .filter(|(_, kept_by)| *kept_by == worker);
    if let Some(own) = own.and_then(|(own, _)| HeaderValue::from_str(own).ok()) {
        headers.insert(SESSION, own);
    }
}

/// Adds `worker` to a session's name, so that every host knows where the session is.
pub(super) fn add_worker(headers: &mut HeaderMap, worker: WorkerId) {
    let name = headers.get(SESSION).and_then(|name| name.to_str().ok());
    let name = name.map(|name| format!("{name}.{}", worker.0));
    if let Some(name) = name.and_then(|name| HeaderValue::from_str(&name).ok()) {
        headers.insert(SESSION, name);
    }
}
