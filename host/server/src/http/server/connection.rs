//! One connection: HTTP/1.1, one request after the other.
//!
//! hyper's header timeout runs from the moment a request could begin, so it ends slow headers and
//! idle keep-alive connections alike. Bodies are timed where they are read (`http/body.rs`);
//! `watch.rs` finds a peer that stops reading, or is gone. `unread.rs` reads the rest of a body
//! that a handler left.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, Version};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::http::api::Api;
use crate::http::error::ApiError;
use crate::http::routes;
use crate::http::server::card::{Card, Phase};
use crate::http::server::places::Place;
use crate::http::server::unread;
use crate::http::server::wire::Wire;

/// The most headers a request may have; one more is answered with 431.
const HEADERS_MAX: usize = 100;
/// The most bytes of a request's head, and of a body that are buffered ahead of its reader.
const BUFFER_BYTES: usize = 64 * 1024;
/// The sign of life of a silent stream of events, which also shows whether the peer is there.
const COMMENT: &[u8] = b": \n\n";

/// The state that the connections of one thread share.
pub(super) struct Shared {
    /// The function that answers requests.
    pub(super) api: Api,
    /// How long a request's head may take, and the silence between two requests.
    pub(super) header_timeout: Duration,
    /// How long a peer may leave sent data unread.
    pub(super) write_timeout: Duration,
    /// Asks for the end after the present request.
    pub(super) finish: CancellationToken,
    /// Asks for the end at once.
    pub(super) close: CancellationToken,
}

/// Serves `stream` until either side ends it.
pub(super) async fn run(stream: Arc<TcpStream>, place: Place, shared: Arc<Shared>) {
    set_options(&stream, shared.write_timeout);
    let card = Arc::clone(&place.card);
    let wire = Wire {
        stream,
        card: Arc::clone(&card),
    };
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .half_close(true)
        .header_read_timeout(shared.header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES);
    let (of_service, of_answers) = (Arc::clone(&shared), Arc::clone(&card));
    let (unread, mut rests) = mpsc::channel(1);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (shared, card) = (Arc::clone(&of_service), Arc::clone(&of_answers));
        let takes_interim = request.version() > Version::HTTP_10;
        card.begin(takes_interim, !request.body().is_end_stream());
        let request = unread::watch(request, &unread, &card);
        async move { Ok::<_, Infallible>(answer(&shared.api, request, card).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(wire), service));
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

/// The answer to one request, which may be that there is no place for it.
async fn answer(
    api: &Api,
    request: hyper::Request<Body>,
    card: Arc<Card>,
) -> hyper::Response<Answered> {
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
    response.map(|body| Answered {
        body,
        card,
        is_between_events: true,
    })
}

fn tells_events(response: &Response) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE);
    media_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

fn set_options(stream: &TcpStream, write_timeout: Duration) {
    let socket = socket2::SockRef::from(stream);
    // Either may fail on a connection that is already gone; the first read will show that.
    let _gone = socket.set_tcp_nodelay(true);
    let _gone = socket.set_tcp_user_timeout(Some(write_timeout));
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
