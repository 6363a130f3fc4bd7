//! `/`: what this host is and where to go, for people who open the address in a browser.
//!
//! It is a page without scripts, and the same as JSON for programs.

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::http::{AppState, json};

/// The page; `{version}` is replaced by the program's version.
const PAGE: &str = include_str!("home.html");

/// A description of this host and the paths of its parts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct HomeJson {
    /// `cofferdam`.
    name: &'static str,
    version: &'static str,
    /// The API document, OpenAPI 3.1.
    openapi: &'static str,
    /// The page to watch and use this host.
    monitoring: &'static str,
    /// Whether the host takes work.
    ready: &'static str,
    metrics: &'static str,
    modules: &'static str,
    tasks: &'static str,
    code: &'static str,
    /// The Model Context Protocol.
    mcp: &'static str,
    /// This incarnation of the host.
    worker_id: String,
}

/// What this is
///
/// A page for people; JSON with `Accept: application/json`.
#[utoipa::path(
    get, path = "/", operation_id = "get_home", tag = "Operations",
    responses((status = 200, description = "What this is and where to go", content(
        (HomeJson = "application/json"), (String = "text/html"),
    ))),
)]
pub(crate) async fn home(State(services): State<AppState>, headers: HeaderMap) -> Response {
    if accepts_json(&headers) {
        let home = HomeJson {
            name: "cofferdam",
            version: env!("CARGO_PKG_VERSION"),
            openapi: "/openapi.json",
            monitoring: "/monitoring",
            ready: "/readyz",
            metrics: "/metrics",
            modules: "/v1/modules",
            tasks: "/v1/tasks",
            code: "/v1/exec",
            mcp: "/mcp",
            worker_id: services.worker.0.to_string(),
        };
        return json::answer(StatusCode::OK, &home);
    }
    let page = PAGE.replace("{version}", env!("CARGO_PKG_VERSION"));
    let mut response = Response::new(page.into());
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether the client asks for JSON, and not for a page before it.
fn accepts_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let accepted = accepted.unwrap_or_default().to_ascii_lowercase();
    let place = |media_type: &str| accepted.find(media_type);
    match (place("application/json"), place("text/html")) {
        (Some(json), Some(page)) => json < page,
        (Some(_), None) => true,
        (None, _) => false,
    }
}
