//! Answers with bytes that a guest made.
//!
//! The guest chooses the media type, and a browser may show the answer on the same origin as the
//! operator's own pages. So nothing is sniffed, and content that a browser could execute is put
//! into the browser's sandbox.

use axum::body::Body;
use axum::http::header::{
    CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::ReaderStream;

use cofferdam_domain::said;
pub(crate) use cofferdam_domain::said::OCTET_STREAM;

/// An answer with a guest's bytes.
pub(crate) fn answer(content_type: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    set_headers(response.headers_mut(), content_type);
    response
}

fn set_headers(headers: &mut HeaderMap, content_type: &str) {
    if content_type == "application/json" {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return;
    }
    let media_type = said::media_type(content_type)
        .and_then(|media_type| HeaderValue::from_str(media_type).ok())
        .unwrap_or_else(|| HeaderValue::from_static(OCTET_STREAM));
    headers.insert(CONTENT_TYPE, media_type);
    if content_type != OCTET_STREAM {
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    }
}

/// A file of a guest. No more is sent than the announced length, because a session's file may grow
/// meanwhile.
pub(crate) fn file(file: impl AsyncRead + Send + 'static, size_bytes: u64) -> Response {
    let body = Body::from_stream(ReaderStream::new(file.take(size_bytes)));
    let mut response = answer(OCTET_STREAM, body);
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(size_bytes));
    response
}

/// The declared media type of a request's body.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let said = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    said.unwrap_or(OCTET_STREAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_a_browser_could_execute_is_sandboxed() {
        let html = answer("text/html", Body::empty());
        assert_eq!(html.headers()[CONTENT_SECURITY_POLICY], "sandbox");
        assert_eq!(html.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(answer("application/json", Body::empty()).headers().len(), 1);
    }

    #[test]
    fn a_media_type_cannot_smuggle_headers_or_fill_them() {
        let long = format!("text/{}", "x".repeat(3 << 20));
        for bad in ["text/plain\r\nset-cookie: a=b", &long] {
            let response = answer(bad, Body::empty());
            assert_eq!(response.headers()[CONTENT_TYPE], OCTET_STREAM);
        }
    }
}
