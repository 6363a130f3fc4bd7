//! One request and its answer over one connection of its own, as HTTP/1.1.
//!
//! A connection serves one request, so that nothing of one run is ever read by another, and its end is the
//! end of the exchange. Nothing is followed, decompressed or kept.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep};

use super::account::Account;
use super::connect::Stream;
use super::error::EgressError;

/// Fields of a head.
const FIELDS_MAX: usize = 256;

/// Fields that are about one connection and not about the request. The one for the host is made from the
/// URL, so that there is one, and the right one.
const OF_CONNECTIONS: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
];

/// Drives a connection. Dropping it closes the connection.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What may come from and go to the target.
pub(super) struct Bounds {
    pub(super) account: Arc<Account>,
    pub(super) head_bytes: usize,
    pub(super) timeout: Duration,
    pub(super) end_by: Instant,
}

impl Bounds {
    /// What hyper's error was about.
    fn error(&self, error: &hyper::Error) -> EgressError {
        if let Some(exceeded) = self.account.exceeded() {
            return exceeded;
        }
        if Instant::now() >= self.end_by {
            return EgressError::Timeout(self.timeout);
        }
        match error {
            error if error.is_parse_too_large() => EgressError::Head(self.head_bytes),
            error if error.is_incomplete_message() || error.is_closed() => EgressError::Incomplete,
            error if error.is_timeout() => EgressError::Timeout(self.timeout),
            error if error.is_parse() || error.is_user() => {
                EgressError::Protocol(error.to_string())
            }
            _ => EgressError::Incomplete,
        }
    }
}

/// Takes away what is about a connection.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_CONNECTIONS) {
        headers.remove(name);
    }
}

/// Sends the request, whose URL is a path by now, and waits for the head of the answer.
pub(super) async fn exchange<B>(
    stream: impl Stream + 'static,
    request: Request<B>,
    bounds: Bounds,
) -> Result<(Response<EgressBody>, Driver), EgressError>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let shaken = http1::Builder::new()
        .max_buf_size(bounds.head_bytes)
        .max_headers(FIELDS_MAX)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = shaken.map_err(|error| bounds.error(&error))?;
    let end_by = bounds.end_by;
    let mut driver: Driver = Box::pin(async move {
        // What went wrong, whoever reads the answer is told.
        let _over = tokio::time::timeout_at(end_by, connection).await;
    });
    let mut is_over = false;
    let answer = {
        let mut sending = std::pin::pin!(sender.send_request(request));
        loop {
            tokio::select! {
                biased;
                answer = &mut sending => break answer,
                () = &mut driver, if !is_over => is_over = true,
                () = tokio::time::sleep_until(end_by) => {
                    return Err(EgressError::Timeout(bounds.timeout));
                }
            }
        }
    };
    if is_over {
        driver = Box::pin(std::future::ready(()));
    }
    let mut answer = answer.map_err(|error| bounds.error(&error))?;
    strip(answer.headers_mut());
    let answer = answer.map(|incoming| EgressBody {
        incoming,
        until: Box::pin(tokio::time::sleep_until(end_by)),
        bounds,
        is_over: false,
    });
    Ok((answer, driver))
}

/// The header of an outgoing request is its own, but for what is about connections.
pub(super) fn prepare(headers: &mut HeaderMap, host: &str) -> Result<(), EgressError> {
    strip(headers);
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    if lengths > 1 {
        let why = "it has more than one length".to_owned();
        return Err(EgressError::Protocol(why));
    }
    let host = HeaderValue::from_str(host).map_err(|_| EgressError::BadTarget(host.to_owned()))?;
    headers.insert(header::HOST, host);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(())
}

/// The body of an answer: it ends when the request's time is over.
pub struct EgressBody {
    incoming: Incoming,
    until: Pin<Box<Sleep>>,
    bounds: Bounds,
    is_over: bool,
}

impl Body for EgressBody {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        let polled = match Pin::new(&mut this.incoming).poll_frame(context) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(this.bounds.error(&error)))),
            Poll::Pending => Poll::Pending,
        };
        let is_late = this.until.as_mut().poll(context).is_ready();
        let polled = match polled {
            Poll::Ready(None) => Poll::Ready(None),
            // A body that always has more to give is late all the same.
            Poll::Ready(Some(_)) | Poll::Pending if is_late => {
                Poll::Ready(Some(Err(EgressError::Timeout(this.bounds.timeout))))
            }
            other @ (Poll::Ready(Some(_)) | Poll::Pending) => other,
        };
        this.is_over = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
