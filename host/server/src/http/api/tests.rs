//! The wrapper of the router, over a small router of the tests.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::routing::get;
use http_body_util::BodyExt;
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::http::caller::By;
use crate::http::caller::keyless::without_keys;
use cofferdam::telemetry::metrics::Readings;
use cofferdam_domain::attempt::WorkerId;

fn api() -> (Api, Arc<Metrics>) {
    async fn panics() -> &'static str {
        panic!("a handler broke")
    }
    let routes = Router::new()
        .route("/text", get(|| async { "x".repeat(5000) }))
        .route(
            "/who",
            get(|By(caller): By| async move { caller.to_string() }),
        )
        .route("/panic", get(panics));
    let metrics = Arc::new(Metrics::new());
    let api = Api::over(
        routes::with_fallbacks(routes),
        vec!["/text", "/who", "/panic"],
        Arc::clone(&metrics),
        Room::of_its_own(1 << 20, std::time::Duration::ZERO),
        Arc::new(Peers::new(WorkerId(Uuid::nil()), None)),
        without_keys(),
    );
    (api, metrics)
}

async fn send(api: &Api, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    api.answer(Origin::Here, request).await
}

#[tokio::test]
async fn a_handler_is_told_where_its_caller_is() {
    let (api, _) = api();
    for (from, said) in [
        (Origin::Peer([127, 0, 0, 9].into()), "default at 127.0.0.9"),
        (Origin::Here, "default at this process"),
    ] {
        let request = Request::builder().uri("/who").header("host", "localhost");
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(body(api.answer(from, request).await).await, said);
    }
}

async fn body(response: Response) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn problem(response: Response) -> Value {
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    serde_json::from_slice(&body(response).await).unwrap()
}

#[tokio::test]
async fn an_unknown_path_is_a_problem() {
    let (api, _) = api();
    let missing = send(&api, Method::GET, "/nothing", &[]).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    let missing = problem(missing).await;
    assert_eq!(
        (missing["code"].as_str(), missing["status"].as_u64()),
        (Some("not_found"), Some(404))
    );
    assert_eq!(missing["type"], "urn:cofferdam:error:not_found");
    let refused = send(&api, Method::POST, "/text", &[]).await;
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers()[ALLOW], "GET,HEAD");
    assert_eq!(problem(refused).await["code"], "method_not_allowed");
}

#[tokio::test]
async fn a_panic_is_an_answer_and_is_counted() {
    let (api, metrics) = api();
    let broken = send(&api, Method::GET, "/panic", &[]).await;
    assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let broken = problem(broken).await;
    assert_eq!(broken["code"], "internal");
    assert!(!broken.to_string().contains("a handler broke"), "{broken}");
    let text = metrics.render(&Readings::default());
    assert!(text.contains("cofferdam_http_panics_total 1"), "{text}");
    assert!(
        text.contains(r#"requests_total{route="/panic",status="5xx"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let (api, _) = api();
    let head = send(&api, Method::HEAD, "/text", &[("accept-encoding", "gzip")]).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()[CONTENT_LENGTH], "5000");
    assert!(body(head).await.is_empty());
}

#[tokio::test]
async fn a_long_answer_is_compressed_on_request() {
    let (api, _) = api();
    let plain = send(&api, Method::GET, "/text", &[]).await;
    assert!(!plain.headers().contains_key(CONTENT_ENCODING));
    for (accepted, magic) in [
        ("gzip", &[0x1f, 0x8b][..]),
        ("zstd, gzip", &[0x28, 0xb5, 0x2f, 0xfd]),
    ] {
        let response = send(&api, Method::GET, "/text", &[("accept-encoding", accepted)]).await;
        assert!(!response.headers().contains_key(CONTENT_LENGTH));
        let bytes = body(response).await;
        assert!(bytes.starts_with(magic), "{accepted}");
        assert!(bytes.len() < 500);
    }
}
