//! A body that ends in an error where nothing of it comes for longer than its guest wants to wait.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::{Error, WasiBody};

pub(super) struct Paced {
    body: WasiBody,
    gap: Duration,
    until: Pin<Box<Sleep>>,
}

impl Paced {
    pub(super) fn new(body: WasiBody, gap: Duration) -> Paced {
        Paced {
            body,
            gap,
            until: Box::pin(tokio::time::sleep(gap)),
        }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => {
                // A time too far ahead is as good as none.
                if let Some(until) = Instant::now().checked_add(this.gap) {
                    this.until.as_mut().reset(until);
                }
                Poll::Ready(frame)
            }
            Poll::Pending => match this.until.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Error::ConnectionReadTimeout))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
