//! A request as the API takes it: in the form that HTTP/1.1 has, with a body that is read as it comes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, EXPECT, HOST};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use hyper::body::{Frame, SizeHint};

use crate::http::api::Api;
use crate::http::server::answer;
use crate::http::server::card::{Card, Phase};
use crate::http::server::shared::HEADERS_MAX;

/// The answer to a request.
pub(super) fn answer<'a>(
    api: &'a Api,
    mut request: Request<RecvStream>,
    respond: &mut SendResponse<Bytes>,
    card: &'a Arc<Card>,
) -> impl Future<Output = Response> + use<'a> {
    let is_too_long = request.headers().len() > HEADERS_MAX;
    if request.headers_mut().remove(EXPECT).is_some() && !is_too_long {
        invite(respond);
    }
    let request = as_of_http1(request, card);
    async move {
        match is_too_long {
            true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response(),
            false => answer::answer(api, request, card).await,
        }
    }
}

/// Lets the peer send the body that it asked about. One that is refused is reset soon.
fn invite(respond: &mut SendResponse<Bytes>) {
    let mut interim = Response::new(());
    *interim.status_mut() = StatusCode::CONTINUE;
    // A peer that is gone needs no invitation.
    let _gone = respond.send_informational(interim);
}

/// The authority goes where HTTP/1.1 has it.
fn as_of_http1(request: Request<RecvStream>, card: &Arc<Card>) -> Request<Body> {
    let (mut parts, stream) = request.into_parts();
    let authority = parts.uri.authority();
    let host = authority.and_then(|it| HeaderValue::from_str(it.as_str()).ok());
    if let Some(host) = host {
        parts.headers.insert(HOST, host);
    }
    let target = parts.uri.path_and_query().cloned();
    parts.uri = target.map(Into::into).unwrap_or_default();
    let body = match stream.is_end_stream() {
        true => Body::empty(),
        false => Body::new(Received {
            announced_bytes: announced(&parts.headers),
            stream,
            card: Arc::clone(card),
        }),
    };
    Request::from_parts(parts, body)
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body on its way.
struct Received {
    stream: RecvStream,
    announced_bytes: Option<u64>,
    card: Arc<Card>,
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let data = match ready!(self.stream.poll_data(context)) {
            Some(Ok(data)) => data,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {
                self.card.enter(Phase::Working);
                return Poll::Ready(None);
            }
        };
        self.card.moved(data.len());
        // The peer may send as much again, because this is in its reader's hands.
        self.stream.flow_control().release_capacity(data.len())?;
        if self.stream.is_end_stream() {
            self.card.enter(Phase::Working);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.announced_bytes
            .map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
