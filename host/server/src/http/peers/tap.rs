//! What a guest writes at another host, heard from that host's own stream of the task's events.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::http::header::ACCEPT;
use axum::http::{Request, StatusCode};
use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use crate::http::error::ApiError;
use crate::http::peers::owner::Thing;
use crate::http::peers::{Others, Peers};
use crate::sse;
use cofferdam::queue::elsewhere::{Taps, Told};
use cofferdam::queue::events::Piece;
use cofferdam_domain::attempt::{Stream, WorkerId};
use cofferdam_domain::caller::{Caller, Origin, Scope, Tenant};
use cofferdam_domain::task::TaskId;

/// The longest event that is read: a task with all its metadata is shorter.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// A stream of events on its way in.
struct Listening {
    pieces: BodyDataStream,
    /// What has come of the next event.
    rest: BytesMut,
    told: VecDeque<Told>,
}

impl Taps for Peers {
    fn open(
        &self,
        worker: WorkerId,
        tenant: Tenant,
        task: TaskId,
        seen: u64,
    ) -> BoxStream<'static, Told> {
        let others = self.others.clone();
        let scopes = [Scope::Read].into_iter().collect();
        let whose = Caller::new(tenant, scopes, Origin::Here);
        let opening = async move {
            match listen(others.as_deref()?, worker, (whose, task), seen).await {
                Ok(listening) => Some(listening),
                Err(error) => {
                    let why = error.to_json();
                    tracing::debug!(task.id = %task, %why, "another host's output is not heard");
                    None
                }
            }
        };
        let told = stream::once(opening).filter_map(|opened| async { opened });
        let told = told.flat_map(|listening| {
            stream::unfold(listening, |mut listening| async {
                Some((listening.next().await?, listening))
            })
        });
        told.boxed()
    }
}

async fn listen(
    others: &Others,
    worker: WorkerId,
    (whose, task): (Caller, TaskId),
    seen: u64,
) -> Result<Listening, ApiError> {
    let place = Arc::clone(&others.taps).try_acquire_owned();
    let place = place.map_err(|_taken| ApiError::forwards_busy())?;
    let request = Request::builder()
        .uri(format!("/v1/tasks/{task}/events"))
        .header(ACCEPT, "text/event-stream")
        .header("last-event-id", seen)
        .extension(whose)
        .body(Body::empty());
    let request = request.map_err(ApiError::internal)?;
    let answer = others.ask(Thing::Output, worker, request, place).await?;
    match answer.status() {
        StatusCode::OK => Ok(Listening {
            pieces: answer.into_body().into_data_stream(),
            rest: BytesMut::new(),
            told: VecDeque::new(),
        }),
        status => Err(ApiError::internal(format_args!(
            "another host says {status}"
        ))),
    }
}

impl Listening {
    /// The next piece; `None` where the stream ends, or is not what a host sends.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            let bytes = self.pieces.next().await?.ok()?;
            self.rest.extend_from_slice(&bytes);
            while let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
                let event = self.rest.split_to(end + 2);
                self.told.extend(piece_of(&event));
            }
            if self.rest.len() > EVENT_BYTES_MAX {
                return None;
            }
        }
    }
}

/// What an event says a guest has written; `None` for any other event.
fn piece_of(mut event: &[u8]) -> Option<Told> {
    let event = sse::next(&mut event).ok()??;
    let streams = [Stream::Stdout, Stream::Stderr, Stream::Log];
    let stream = streams.into_iter().find(|it| it.as_str() == event.name)?;
    let number = event.id.as_ref()?.parse().ok()?;
    let bytes = sse::written(&event.json().ok()?).ok()??.into();
    let piece = Piece { stream, bytes };
    Some(Told { number, piece })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn only_what_guests_write_is_heard() {
        let told = |event: &str| piece_of(event.as_bytes());
        let piece = |stream, bytes: &'static [u8]| {
            let bytes = Bytes::from_static(bytes);
            Some(Told {
                number: 7,
                piece: Piece { stream, bytes },
            })
        };
        let text = told("id: 7\nevent: stdout\ndata: {\"text\":\"a: b\\n\"}\n\n");
        assert_eq!(text, piece(Stream::Stdout, b"a: b\n"));
        let bytes = told("id: 7\nevent: log\ndata: {\"base64\":\"/wA=\"}\n\n");
        assert_eq!(bytes, piece(Stream::Log, &[0xff, 0]));
        for other in [
            ": heartbeat\n\n",
            "event: stdout\ndata: {\"text\":\"a\"}\n\n",
            "id: 7\nevent: stdout\ndata: {}\n\n",
            "id: 7\nevent: status\ndata: {\"text\":\"a\"}\n\n",
            "id: x\nevent: stdout\ndata: {\"text\":\"a\"}\n\n",
        ] {
            assert_eq!(told(other), None, "{other}");
        }
    }
}
