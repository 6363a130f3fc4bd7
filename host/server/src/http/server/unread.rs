//! Reads and discards, for a while, the rest of a body that a handler left unread.
//!
//! A request may be answered before its body has arrived, for example if it is too large. Closing
//! the connection while the client still sends makes the kernel reset it, and the reset can
//! overtake the answer: the client would see a broken connection and not the reason, and the
//! connection could not serve another request. The discarding is bounded by time; a client that
//! waits for `100 Continue` is not asked for a body that nobody wants.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::EXPECT;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

use crate::http::server::card::{Card, Phase};

/// How long the rest of one body is read in all.
const REST_PATIENCE: Duration = Duration::from_secs(30);
/// How long each piece of it may take.
const REST_IDLE: Duration = Duration::from_secs(5);

/// Receives bodies that were dropped before their end; one connection has one at a time.
pub(super) type Unread = mpsc::Sender<Incoming>;

/// `request` with a body that comes back through `unread` if it is dropped before its end, and
/// whose end is noted on `card`.
pub(super) fn watch(
    request: hyper::Request<Incoming>,
    unread: &Unread,
    card: &Arc<Card>,
) -> hyper::Request<Body> {
    if request.body().is_end_stream() {
        return request.map(Body::new);
    }
    let is_invited = !request.headers().contains_key(EXPECT);
    request.map(|incoming| {
        Body::new(Watched {
            incoming: Some(incoming),
            is_invited,
            unread: unread.clone(),
            card: Arc::clone(card),
        })
    })
}

/// Discards the bodies from `unread`, for as long as it is polled.
pub(super) async fn discard(unread: &mut mpsc::Receiver<Incoming>) -> Infallible {
    loop {
        match unread.recv().await {
            // If the rest takes too long it is dropped, and then hyper closes the connection.
            Some(rest) => drop(tokio::time::timeout(REST_PATIENCE, discard_one(rest)).await),
            None => std::future::pending().await,
        }
    }
}

async fn discard_one(mut rest: Incoming) {
    while let Ok(Some(Ok(_frame))) = tokio::time::timeout(REST_IDLE, rest.frame()).await {}
}

struct Watched {
    /// Taken when this is dropped.
    incoming: Option<Incoming>,
    /// Whether the client sends without waiting, or the first read asked it to.
    is_invited: bool,
    unread: Unread,
    card: Arc<Card>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.is_invited = true;
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(incoming).poll_frame(context));
        if frame.is_none() || self.is_end_stream() {
            self.card.enter(Phase::Working);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(SizeHint::new, Incoming::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.is_invited || self.is_end_stream() {
            return;
        }
        if let Some(incoming) = self.incoming.take() {
            // This fails only if the connection is about to end.
            let _closing = self.unread.try_send(incoming);
        }
    }
}
