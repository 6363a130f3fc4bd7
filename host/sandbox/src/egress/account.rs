//! What one run sends and gets, counted on its connections, so that heads, chunks and TLS count too.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::EgressError;
use super::settings::EgressConfig;
use cofferdam_domain::attempt::EgressUsage;

/// The account of one run, or of one call of a session.
#[derive(Debug)]
pub struct Account {
    requests_most: u64,
    in_most: u64,
    out_most: u64,
    requests: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    places: Arc<Semaphore>,
}

impl Account {
    /// Nothing was sent yet.
    pub fn new(config: &EgressConfig) -> Account {
        Account {
            requests_most: config.requests,
            in_most: config.in_bytes,
            out_most: config.out_bytes,
            requests: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(config.connections)),
        }
    }

    /// Begins anew, for the next call of a guest that is kept.
    pub fn begin_call(&self) {
        for figure in [&self.requests, &self.received, &self.sent] {
            figure.store(0, Ordering::Relaxed);
        }
    }

    /// What was used so far.
    pub fn usage(&self) -> EgressUsage {
        EgressUsage {
            requests: self.requests.load(Ordering::Relaxed),
            in_bytes: self.received.load(Ordering::Relaxed),
            out_bytes: self.sent.load(Ordering::Relaxed),
        }
    }

    /// Counts a request.
    pub(super) fn begin(&self) -> Result<(), EgressError> {
        let most = self.requests_most;
        let counted =
            self.requests
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |requests| {
                    (requests < most).then_some(requests + 1)
                });
        counted.map_err(|_| EgressError::Requests(most))?;
        self.exceeded().map_or(Ok(()), Err)
    }

    /// Where connections of this run wait for one another.
    pub(super) fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.places)
    }

    /// The limit that is used up, if one is. Connections that read at the same moment may each pass it by
    /// one read.
    pub(super) fn exceeded(&self) -> Option<EgressError> {
        let (received, sent) = (&self.received, &self.sent);
        if received.load(Ordering::Relaxed) >= self.in_most {
            return Some(EgressError::InBytes(self.in_most));
        }
        (sent.load(Ordering::Relaxed) >= self.out_most)
            .then_some(EgressError::OutBytes(self.out_most))
    }
}

/// A connection whose bytes are counted. It holds its places for as long as it exists.
pub(super) struct Counted<S> {
    /// Its limit is set before each read.
    stream: Take<S>,
    account: Arc<Account>,
    _places: [OwnedSemaphorePermit; 2],
}

impl<S: AsyncRead> Counted<S> {
    pub(super) fn new(
        stream: S,
        account: Arc<Account>,
        places: [OwnedSemaphorePermit; 2],
    ) -> Counted<S> {
        Counted {
            stream: stream.take(0),
            account,
            _places: places,
        }
    }
}

fn used_up() -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, "no more bytes are allowed")
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let used = this.account.received.load(Ordering::Relaxed);
        if used >= this.account.in_most {
            return Poll::Ready(Err(used_up()));
        }
        let before = buffer.filled().len();
        this.stream.set_limit(this.account.in_most - used);
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = polled {
            let read = (buffer.filled().len() - before) as u64;
            this.account.received.fetch_add(read, Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let used = this.account.sent.load(Ordering::Relaxed);
        let left =
            usize::try_from(this.account.out_most.saturating_sub(used)).unwrap_or(usize::MAX);
        if left == 0 && !bytes.is_empty() {
            return Poll::Ready(Err(used_up()));
        }
        let part = &bytes[..bytes.len().min(left)];
        let polled = Pin::new(this.stream.get_mut()).poll_write(context, part);
        if let Poll::Ready(Ok(written)) = polled {
            this.account
                .sent
                .fetch_add(written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(context)
    }
}
