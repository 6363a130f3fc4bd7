//! Writes JSON, and accepts bodies that must be JSON. `intake` reads their content.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use crate::http::Services;
use crate::http::body::{self, BodyLimit};
use crate::http::error::ApiError;
use cofferdam_domain::said;

/// Writes an answer.
pub(crate) fn answer<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = status;
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => axum::response::IntoResponse::into_response(ApiError::internal(error)),
    }
}

/// Writes an answer with the `Location` of the thing it describes.
pub(crate) fn answer_at<T: Serialize>(status: StatusCode, path: &str, value: &T) -> Response {
    let mut response = answer(status, value);
    let path = HeaderValue::from_str(path).expect("a path of this host is visible ASCII");
    response.headers_mut().insert(LOCATION, path);
    response
}

/// The body of a request that must be declared as JSON.
pub(crate) async fn body(
    services: &Services,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, ApiError> {
    require(headers)?;
    body::collect(headers, body, limit(services)).await
}

/// The limit on a JSON body: that of an inline input, with room for base64 and the other fields.
pub(crate) fn limit(services: &Services) -> BodyLimit {
    let bytes = services.config.inline_body_bytes.saturating_mul(7) / 5;
    let what = "the JSON body; a larger input goes raw, with ?module=,";
    BodyLimit::new(services, bytes, "body_too_large", what)
}

/// Whether a body is declared as JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    said::is_json(media_type)
}

/// Refuses a body that does not say that it is JSON.
pub(crate) fn require(headers: &HeaderMap) -> Result<(), ApiError> {
    if is_json(headers) {
        return Ok(());
    }
    let detail = "the body must be JSON, with Content-Type: application/json";
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        detail,
    ))
}
