//! The answer to one request, whichever protocol it came by: it may be that there is no place for it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, Request};
use axum::response::{IntoResponse, Response};

use crate::http::api::Api;
use crate::http::error::ApiError;
use crate::http::routes;
use crate::http::server::card::Card;

/// Answers a request; its card notes that the answer has begun.
pub(super) async fn answer(api: &Api, request: Request<Body>, card: &Arc<Card>) -> Response {
    let response = if card.is_reserved() {
        let mut response = match routes::is_operation(request.uri().path()) {
            true => api.answer(card.from, request).await,
            false => ApiError::connections_full().into_response(),
        };
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
        response
    } else {
        api.answer(card.from, request).await
    };
    card.answer(tells_events(&response));
    response
}

fn tells_events(response: &Response) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE);
    media_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}
