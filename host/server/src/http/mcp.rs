//! `/mcp`: where the Model Context Protocol is mounted.
//!
//! Bodies are read here, under the API's limits; `mcp` does everything else. Mistakes of the
//! protocol's clients are answered with JSON-RPC errors, not as problems.

pub(crate) mod name;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::IgnoredAny;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::{AppState, Services, body, json};
use cofferdam_domain::caller::Caller;
use cofferdam_domain::said;

/// The JSON-RPC code for a request that is not JSON.
const PARSE_ERROR: &str =
    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"the body is not JSON"}}"#;
/// The JSON-RPC code for JSON that is not a message.
const INVALID_REQUEST: &str = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"the body is not a message of the Model Context Protocol"}}"#;

/// Send a message of the Model Context Protocol
///
/// Streamable HTTP: `run_python`, `run_javascript` and every module with an input schema are tools.
#[utoipa::path(
    post, path = "/mcp", operation_id = "send_mcp_message", tag = "Model Context Protocol",
    params(("Mcp-Session-Id" = Option<String>, Header, description = "The session, once there is one")),
    request_body(content = Object, description = "A JSON-RPC message"),
    responses(
        (status = 200, description = "The answer, as events", content_type = "text/event-stream"),
        (status = 202, description = "A notification was taken"),
        (status = 503, description = "A call runs in each of the sessions there may be", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn send(
    State(services): State<AppState>,
    By(caller): By,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let body = body::collect(&parts.headers, body, json::limit(&services)).await?;
    let is_json = json::is_json(&parts.headers);
    if is_json {
        // The protocol's crate knows only one name.
        let plain = HeaderValue::from_static("application/json");
        parts.headers.insert(CONTENT_TYPE, plain);
    }
    take_any(&mut parts.headers, "application/json, text/event-stream");
    if is_json && serde_json::from_slice::<IgnoredAny>(&body).is_err() {
        return Ok(rpc_error(PARSE_ERROR));
    }
    let request = Request::from_parts(parts, body);
    let response = answer(&services, caller, request).await?;
    match response.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE if is_json => Ok(rpc_error(INVALID_REQUEST)),
        _ => Ok(response),
    }
}

/// Listen to a session of the Model Context Protocol
#[utoipa::path(
    get, path = "/mcp", operation_id = "listen_to_mcp_session", tag = "Model Context Protocol",
    params(("Mcp-Session-Id" = String, Header, description = "The session")),
    responses((status = 200, description = "Events until the session ends", content_type = "text/event-stream")),
)]
pub(crate) async fn listen(
    State(services): State<AppState>,
    By(caller): By,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let mut request = request.map(|_| Bytes::new());
    take_any(request.headers_mut(), "text/event-stream");
    let response = answer(&services, caller, request).await?;
    let closing = services.closing.clone();
    // No call is answered here, so a drain need not wait for its end.
    Ok(response.map(|body| {
        let events = body.into_data_stream();
        Body::from_stream(events.take_until(async move { closing.requested().await }))
    }))
}

/// End a session of the Model Context Protocol
#[utoipa::path(
    delete, path = "/mcp", operation_id = "end_mcp_session", tag = "Model Context Protocol",
    params(("Mcp-Session-Id" = String, Header, description = "The session")),
    responses((status = 204, description = "It has ended, and so have its calls")),
)]
pub(crate) async fn end(
    State(services): State<AppState>,
    By(caller): By,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let mut response = answer(&services, caller, request.map(|_| Bytes::new())).await?;
    if response.status() == StatusCode::ACCEPTED {
        // Clients take 202 as a refusal.
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    Ok(response)
}

async fn answer(
    services: &Services,
    caller: Caller,
    mut request: Request<Bytes>,
) -> Result<Response, ApiError> {
    let closing = services.closing.clone();
    let closing = async move { closing.requested().await };
    let worker = services.peers.own();
    name::leave_worker_out(request.headers_mut(), worker);
    if services.access.asks_for_keys() {
        // A key says who calls, so it does not matter by which name, or from which page.
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("localhost"));
        request.headers_mut().remove(ORIGIN);
    }
    let mut response = services.mcp.answer(caller, request, closing).await?;
    name::add_worker(response.headers_mut(), worker);
    Ok(response.map(Body::new))
}

/// Replaces a missing `Accept`, or `*/*`, by the media types that the protocol requires.
fn take_any(headers: &mut HeaderMap, all: &'static str) {
    let said = headers.get_all(ACCEPT).iter().map(HeaderValue::to_str);
    let ranges = said.flat_map(|said| said.unwrap_or_default().split(','));
    let mut essences = ranges.map(said::essence);
    if !headers.contains_key(ACCEPT) || essences.any(|essence| essence == "*/*") {
        headers.insert(ACCEPT, HeaderValue::from_static(all));
    }
}

fn rpc_error(text: &'static str) -> Response {
    let kind = [(CONTENT_TYPE, "application/json")];
    (StatusCode::BAD_REQUEST, kind, text).into_response()
}
