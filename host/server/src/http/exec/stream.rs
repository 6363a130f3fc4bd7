//! Code that is watched while it runs: server-sent events.
//!
//! The connection drives the run: when the client goes away, the code ends. What it writes waits
//! in memory until the client took it, which is no more than what the host keeps of a stream anyway.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::events::{piece, written};
use crate::http::exec::finish;
use cofferdam::runner::{CodeRequest, Watcher};
use cofferdam_domain::attempt::Stream;

/// What is told of one stream while the code runs; the rest is dropped, as it is in the answer.
const TOLD_BYTES_MAX: usize = 1024 * 1024;
/// Pieces told of one run. A script that writes byte by byte is told the rest in the answer.
const PIECES_MAX: usize = 65_536;

type Work<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send>>;

struct Watch<T> {
    work: Option<Work<T>>,
    written: UnboundedReceiver<(Stream, Bytes)>,
    result: Option<Bytes>,
}

/// Runs code and tells of it.
pub(super) fn answer(services: AppState, mut code: CodeRequest) -> Response {
    told(|watch| async move {
        code.watch = Some(watch);
        let executed = services.runner.execute(code).await?;
        finish(&services, executed).await
    })
}

/// Tells of what `begin` runs, whose answer is the result.
pub(crate) fn told<F, T>(begin: impl FnOnce(Watcher) -> F) -> Response
where
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
    T: Serialize + 'static,
{
    let (tell, written) = unbounded_channel();
    let watch = Watch {
        work: Some(Box::pin(begin(watcher(tell)))),
        written,
        result: None,
    };
    let pieces = stream::unfold(watch, |mut watch| async {
        let piece = watch.next().await?;
        Some((Ok::<_, Infallible>(piece), watch))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn watcher(tell: UnboundedSender<(Stream, Bytes)>) -> Watcher {
    let told = [const { AtomicUsize::new(0) }; 2];
    let pieces = AtomicUsize::new(0);
    Arc::new(move |stream, bytes: &[u8]| {
        let told = match stream {
            Stream::Stdout => &told[0],
            Stream::Stderr => &told[1],
            Stream::Log => return,
        };
        let before = told.fetch_add(bytes.len(), Ordering::Relaxed);
        let room = TOLD_BYTES_MAX.saturating_sub(before).min(bytes.len());
        if room > 0 && pieces.fetch_add(1, Ordering::Relaxed) < PIECES_MAX {
            // Nobody listens any more: the run is about to be dropped.
            let _gone = tell.send((stream, Bytes::copy_from_slice(&bytes[..room])));
        }
    })
}

impl<T: Serialize> Watch<T> {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(work) = &mut self.work {
            tokio::select! {
                biased;
                Some((stream, bytes)) = self.written.recv() => {
                    return Some(piece(None, stream.as_str(), &written(&bytes)));
                }
                done = work => {
                    self.work = None;
                    self.result = Some(match done {
                        Ok(answer) => piece(None, "result", &answer),
                        Err(error) => piece(None, "error", &error.to_json()),
                    });
                }
            }
        }
        match self.written.try_recv() {
            Ok((stream, bytes)) => Some(piece(None, stream.as_str(), &written(&bytes))),
            Err(_empty) => self.result.take(),
        }
    }
}
