//! HTTP/1.1: one request after the other.
//!
//! hyper's header timeout runs from the moment a request could begin, so it ends slow headers and
//! idle keep-alive connections alike. Bodies are timed where they are read (`http/body.rs`);
//! `watch.rs` finds a peer that stops reading, or is gone. `unread.rs` reads the rest of a body
//! that a handler left.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::Version;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::http::server::answer::answer;
use crate::http::server::card::{Card, Phase};
use crate::http::server::places::Place;
use crate::http::server::shared::{BUFFER_BYTES, HEADERS_MAX, Shared};
use crate::http::server::unread;

/// The sign of life of a silent stream of events, which also shows whether the peer is there.
const COMMENT: &[u8] = b": \n\n";

/// Serves `stream` until either side ends it.
pub(super) async fn serve<T>(stream: T, place: &Place, shared: &Arc<Shared>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let card = &place.card;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Whoever ends a side of HTTPS ends both, and hyper then notices it at once.
        .half_close(!card.is_sealed())
        .header_read_timeout(shared.header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES);
    let (of_service, of_answers) = (Arc::clone(shared), Arc::clone(card));
    let (unread, mut rests) = mpsc::channel(1);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (shared, card) = (Arc::clone(&of_service), Arc::clone(&of_answers));
        let takes_interim = request.version() > Version::HTTP_10;
        card.begin(takes_interim, !request.body().is_end_stream());
        let request = unread::watch(request, &unread, &card);
        async move { Ok::<_, Infallible>(noted(&shared, request, card).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // The way a connection ends does not matter: hyper has answered timeouts and malformed requests
    // where an answer is possible.
    tokio::select! {
        biased;
        _ended = connection.as_mut() => return,
        () = shared.finish.cancelled() => connection.as_mut().graceful_shutdown(),
        () = card.close.cancelled() => return,
        never = unread::discard(&mut rests) => match never {},
    }
    // From here on the rest of a body is dropped at once, so that it does not delay the end.
    drop(rests);
    tokio::select! {
        biased;
        _ended = connection.as_mut() => {}
        () = card.close.cancelled() => {}
        () = shared.close.cancelled() => {}
    }
}

/// An answer whose progress the connection's card notes.
async fn noted(
    shared: &Shared,
    request: hyper::Request<Body>,
    card: Arc<Card>,
) -> hyper::Response<Answered> {
    let response = answer(&shared.api, request, &card).await;
    response.map(|body| Answered {
        body,
        card,
        is_between_events: true,
    })
}

/// An answer in progress, which is noted on the connection's card.
struct Answered {
    body: Body,
    card: Arc<Card>,
    /// Whether what was sent of a stream of events ends with a whole one. What comes from another host
    /// may not.
    is_between_events: bool,
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let ends_event = |data: &Bytes| data.ends_with(b"\n\n");
            self.is_between_events = frame.data_ref().is_some_and(ends_event);
        }
        let may_comment = polled.is_pending() && self.card.tells_events() && self.is_between_events;
        if may_comment && self.card.is_nudged(context) {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(COMMENT)))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.card.enter(Phase::Silent);
    }
}
