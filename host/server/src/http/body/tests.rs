//! Bodies of hostile clients.

use std::convert::Infallible;

use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use axum::http::HeaderName;
use futures_util::stream;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::http::body::limit::BodyPace;
use crate::http::room::Room;

fn limit() -> BodyLimit {
    BodyLimit {
        bytes: 100_000,
        code: "body_too_large",
        what: "the body",
        pace: BodyPace {
            idle: Duration::from_secs(5),
            total: Duration::from_secs(60),
            bytes_per_second_min: 1000,
        },
        room: Room::of_its_own(1 << 20, Duration::ZERO),
    }
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), value.parse().unwrap())
    };
    fields.iter().map(field).collect()
}

fn chunks(chunks: Vec<Vec<u8>>) -> Body {
    Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, Infallible>)))
}

async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZstdEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

#[tokio::test]
async fn plain_and_encoded_bodies_are_the_same() {
    let text = b"some text ".repeat(5000);
    for (coding, body) in [
        (None, text.clone()),
        (Some("gzip"), gzip(&text).await),
        (Some("zstd"), zstd(&text).await),
    ] {
        let fields: Vec<_> = coding
            .map(|coding| ("content-encoding", coding))
            .into_iter()
            .collect();
        let pieces = body.chunks(700).map(<[u8]>::to_vec).collect();
        let read = collect(&headers(&fields), chunks(pieces), limit())
            .await
            .unwrap();
        assert_eq!(read, text, "{coding:?}");
    }
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken_and_one_byte_more_is_not() {
    let at = chunks(vec![vec![0; 60_000], vec![0; 40_000]]);
    assert_eq!(
        collect(&HeaderMap::new(), at, limit()).await.unwrap().len(),
        100_000
    );
    let over = chunks(vec![vec![0; 60_000], vec![0; 40_001]]);
    let error = collect(&HeaderMap::new(), over, limit()).await.unwrap_err();
    assert_eq!(error.code(), "body_too_large");
}

#[tokio::test]
async fn an_announced_length_beyond_the_limit_is_refused_unread() {
    let unread = Body::from_stream(stream::poll_fn(
        |_| -> Poll<Option<Result<Bytes, Infallible>>> { panic!("nobody may read this") },
    ));
    let fields = headers(&[("content-length", "100001")]);
    let error = collect(&fields, unread, limit()).await.unwrap_err();
    assert_eq!(error.code(), "body_too_large");
}

#[tokio::test]
async fn a_bomb_is_refused_at_its_decoded_size() {
    let bomb = vec![0; 50 << 20];
    for (coding, body) in [("gzip", gzip(&bomb).await), ("zstd", zstd(&bomb).await)] {
        assert!(body.len() < 100_000, "{coding}: {}", body.len());
        let fields = headers(&[("content-encoding", coding)]);
        let error = collect(&fields, chunks(vec![body]), limit())
            .await
            .unwrap_err();
        assert_eq!(error.code(), "body_too_large", "{coding}");
    }
}

#[tokio::test]
async fn bytes_that_decode_to_nothing_are_counted_as_well() {
    // A skippable zstd frame of a gigabyte, sent without end.
    let mut frame = vec![0x50, 0x2a, 0x4d, 0x18];
    frame.extend((1_u32 << 30).to_le_bytes());
    let endless = stream::iter([frame]).chain(stream::repeat_with(|| vec![0; 16_000]));
    let body = Body::from_stream(endless.map(Ok::<_, Infallible>));
    let error = collect(&headers(&[("content-encoding", "zstd")]), body, limit())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "body_too_large");
}

#[tokio::test]
async fn unknown_and_stacked_codings_and_garbage_are_refused() {
    for coding in ["br", "gzip, gzip", "zstd,gzip", "compress"] {
        let fields = headers(&[("content-encoding", coding)]);
        let error = collect(&fields, Body::empty(), limit()).await.unwrap_err();
        assert_eq!(error.code(), "unsupported_content_encoding", "{coding}");
    }
    for coding in ["gzip", "zstd"] {
        let fields = headers(&[("content-encoding", coding)]);
        let error = collect(&fields, Body::from("no such thing"), limit())
            .await
            .unwrap_err();
        assert_eq!(error.code(), "invalid_encoding", "{coding}");
    }
}

#[tokio::test]
async fn a_body_that_stops_coming_times_out() {
    let silent = stream::iter([Ok::<_, Infallible>("x")]).chain(stream::pending());
    let mut limit = limit();
    limit.pace.idle = Duration::from_millis(30);
    let error = collect(&HeaderMap::new(), Body::from_stream(silent), limit)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "body_timeout");
}

#[tokio::test]
async fn a_body_dripped_byte_by_byte_ends_however_patient_each_wait_is() {
    let mut limit = limit();
    limit.pace.total = Duration::from_millis(200);
    let mut pieces = tokio::time::interval(Duration::from_millis(20));
    let dripped = stream::poll_fn(move |context| {
        let tick = pieces.poll_tick(context);
        tick.map(|_| Some(Ok::<_, Infallible>("x")))
    });
    let error = collect(&HeaderMap::new(), Body::from_stream(dripped), limit)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "body_timeout");
}

#[test]
fn a_body_may_take_the_time_that_it_needs_at_the_slowest_pace() {
    let pace = limit().pace;
    let (idle, total) = (pace.idle, pace.total);
    assert_eq!(pace.next(Duration::ZERO, 0), idle);
    assert_eq!(pace.next(total, 0), Duration::ZERO);
    // 100 000 bytes at 1000 a second are 100 s more.
    assert_eq!(pace.next(total + Duration::from_secs(90), 100_000), idle);
    assert_eq!(
        pace.next(total + Duration::from_secs(100), 100_000),
        Duration::ZERO
    );
}
