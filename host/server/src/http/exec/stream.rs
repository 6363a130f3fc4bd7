//! Code that is watched while it runs: server-sent events.
//!
//! The run is a separate task, which holds a place among the runs only for as long as it needs,
//! whether or not the client reads. Output waits for the client in a bounded buffer; output that
//! does not fit is left out of the stream, which a `truncated` event reports, but is in the answer.
//! When the client goes away, the code ends.

mod notes;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::http::error::ApiError;
use crate::http::events::{HEARTBEAT, heartbeat, piece, stream_of, written};
use crate::http::exec::finish;
use crate::http::exec::stream::notes::{Note, Notes};
use crate::http::room::Room;
use crate::http::{AppState, Services};
use cofferdam::runner::{CodeRequest, Watcher};
use cofferdam_domain::attempt::Stream;
use cofferdam_domain::caller::Caller;

struct Watch {
    notes: Arc<Notes>,
    result: oneshot::Receiver<Bytes>,
    /// Whether the run has ended.
    is_over: bool,
    /// The result, until it is sent.
    last: Option<Bytes>,
    /// Ends the run with the watch.
    _run: DropGuard,
}

/// Runs code and streams its output.
pub(super) fn answer(services: AppState, caller: Caller, mut code: CodeRequest) -> Response {
    let of_run = Arc::clone(&services);
    told(&services, |watch| async move {
        code.watch = Some(watch);
        let executed = of_run.runner.execute(&caller, code).await?;
        finish(&of_run, &caller, executed).await
    })
}

/// Streams the output of the code that `begin` runs, whose answer is the result.
pub(crate) fn told<F, T>(services: &Services, begin: impl FnOnce(Watcher) -> F) -> Response
where
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
    T: Serialize + 'static,
{
    let notes = Arc::new(Notes::new(&services.room));
    let (end, result) = oneshot::channel();
    let gone = CancellationToken::new();
    let watch = Watch {
        notes: Arc::clone(&notes),
        result,
        is_over: false,
        last: None,
        _run: gone.clone().drop_guard(),
    };
    let (work, room) = (begin(watcher(notes)), services.room.clone());
    services.shutdown.spawn("code that is watched", async move {
        let ended = gone.run_until_cancelled(async {
            let done = work.await.map(|answer| piece(None, "result", &answer));
            last_piece(done, &room).await
        });
        if let Some(result) = ended.await {
            // The watcher may have gone away meanwhile.
            let _unheard = end.send(result);
        }
    });
    let pieces = stream::unfold(watch, |mut watch| async {
        let piece = watch.next().await?;
        Some((Ok::<_, Infallible>(piece), watch))
    });
    stream_of(pieces)
}

fn watcher(notes: Arc<Notes>) -> Watcher {
    Arc::new(move |stream, bytes: &[u8]| match stream {
        Stream::Stdout | Stream::Stderr => notes.write(stream, bytes),
        Stream::Log => {}
    })
}

/// The event that ends the stream. It waits for its reader, so it has its own room.
async fn last_piece(done: Result<Bytes, ApiError>, room: &Room) -> Bytes {
    let failed = |error: ApiError| piece(None, "error", &error.to_json());
    let result = match done {
        Ok(result) => result,
        Err(error) => return failed(error),
    };
    match room.take(result.len() as u64).await {
        Ok(held) => held.keep(result),
        Err(busy) => failed(busy),
    }
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            // Made before the check, so that output in between is not missed.
            let more = self.notes.more();
            if let Some(note) = self.notes.take() {
                return Some(told_note(&note));
            }
            if self.is_over {
                return self.last.take();
            }
            tokio::select! {
                () = more => {}
                // The last output is sent before the result.
                result = &mut self.result => {
                    self.is_over = true;
                    self.last = result.ok();
                }
                () = tokio::time::sleep(HEARTBEAT) => return Some(heartbeat()),
            }
        }
    }
}

fn told_note(note: &Note) -> Bytes {
    match note {
        Note::Wrote(stream, bytes) => piece(None, stream.as_str(), &written(bytes)),
        Note::Cut(stream) => {
            let cut = json!({ "stream": stream.as_str() });
            piece(None, "truncated", &cut)
        }
    }
}
