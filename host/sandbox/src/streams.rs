//! A guest's standard streams: bounded, shared by all handles of one stream, never a kill.
//!
//! wasmtime-wasi's own adapters are not used: `AsyncWriteStream` can be made to hold host memory
//! without bound, and its memory pipe traps a guest that writes too much.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::control::Observer;
use cofferdam_domain::attempt::{Captured, Stream};

/// The most bytes of one write.
const WRITE_BYTES: usize = 64 * 1024;

/// The most bytes read ahead from a live standard input.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// One output stream: keeps the beginning, shows everything to the observer.
#[derive(Clone)]
pub(crate) struct Output(Arc<OutputShared>);

struct OutputShared {
    stream: Stream,
    kept_max: usize,
    observer: Option<Arc<dyn Observer>>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    bytes: BytesMut,
    truncated: bool,
}

impl Output {
    /// An empty stream that keeps `kept_max` bytes.
    pub(crate) fn new(
        stream: Stream,
        kept_max: usize,
        observer: Option<Arc<dyn Observer>>,
    ) -> Output {
        Output(Arc::new(OutputShared {
            stream,
            kept_max,
            observer,
            kept: Mutex::default(),
        }))
    }

    /// Takes the kept bytes; the stream continues empty.
    pub(crate) fn take(&self) -> Captured {
        let kept = std::mem::take(&mut *self.0.kept());
        Captured {
            bytes: kept.bytes.freeze(),
            truncated: kept.truncated,
        }
    }

    fn push(&self, bytes: &[u8]) {
        {
            let mut kept = self.0.kept();
            let room = self.0.kept_max.saturating_sub(kept.bytes.len());
            kept.bytes
                .extend_from_slice(&bytes[..bytes.len().min(room)]);
            kept.truncated |= bytes.len() > room;
        }
        if let Some(observer) = &self.0.observer
            && !bytes.is_empty()
        {
            observer.wrote(self.0.stream, bytes);
        }
    }
}

impl OutputShared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept
            .lock()
            .expect("nothing panics while it holds a stream")
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Keeps no more than so many bytes.
pub(crate) fn truncate(captured: &mut Captured, bytes_max: u64) {
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    if captured.bytes.len() > bytes_max {
        captured.bytes.truncate(bytes_max);
        captured.truncated = true;
    }
}

/// A standard input that is read while the guest runs.
#[derive(Clone)]
pub(crate) struct LiveInput(Arc<Mutex<Live>>);

struct Live {
    reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
    ahead: BytesMut,
    end: Option<End>,
}

enum End {
    Eof,
    Failed(io::Error),
}

impl LiveInput {
    /// Reads from `reader`.
    pub(crate) fn new(reader: Box<dyn AsyncRead + Send + Sync + Unpin>) -> LiveInput {
        LiveInput(Arc::new(Mutex::new(Live {
            reader,
            ahead: BytesMut::new(),
            end: None,
        })))
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.0
            .lock()
            .expect("nothing panics while it holds a stream")
    }
}

impl Live {
    /// Ready when there are bytes or the end is known.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.ahead.is_empty() || self.end.is_some() {
            return Poll::Ready(());
        }
        self.ahead.resize(READ_AHEAD_BYTES, 0);
        let mut buffer = ReadBuf::new(&mut self.ahead);
        let polled = Pin::new(&mut self.reader).poll_read(context, &mut buffer);
        let filled = buffer.filled().len();
        self.ahead.truncate(filled);
        match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if filled == 0 => self.end = Some(End::Eof),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => self.end = Some(End::Failed(error)),
        }
        Poll::Ready(())
    }

    fn take(&mut self, size: usize) -> Bytes {
        let length = size.min(self.ahead.len());
        self.ahead.split_to(length).freeze()
    }
}

/// The standard input of a guest that is called more than once: each call has its own.
#[derive(Clone, Default)]
pub(crate) struct CallInput(Arc<Mutex<Bytes>>);

impl CallInput {
    /// Sets the input of the next call. Bytes that the last call left unread are gone.
    pub(crate) fn set(&self, bytes: Bytes) {
        *self.unread() = bytes;
    }

    fn take(&self, size: usize) -> Bytes {
        let mut unread = self.unread();
        let length = size.min(unread.len());
        unread.split_to(length)
    }

    fn unread(&self) -> MutexGuard<'_, Bytes> {
        self.0
            .lock()
            .expect("nothing panics while it holds a stream")
    }
}

impl IsTerminal for CallInput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for CallInput {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for CallInput {
    async fn ready(&mut self) {}
}

impl InputStream for CallInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let bytes = self.take(size);
        match bytes.is_empty() && size > 0 {
            true => Err(StreamError::Closed),
            false => Ok(bytes),
        }
    }
}

impl AsyncRead for CallInput {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buffer.put_slice(&self.take(buffer.remaining()));
        Poll::Ready(Ok(()))
    }
}

impl IsTerminal for LiveInput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for LiveInput {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for LiveInput {
    async fn ready(&mut self) {
        std::future::poll_fn(|context| self.live().poll_fill(context)).await;
    }
}

impl InputStream for LiveInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut live = self.live();
        // A guest may read without waiting, so reading drives the source too.
        let filled = live.poll_fill(&mut Context::from_waker(Waker::noop()));
        if !live.ahead.is_empty() {
            return Ok(live.take(size));
        }
        match (filled, &live.end) {
            (Poll::Pending, _) | (Poll::Ready(()), None) => Ok(Bytes::new()),
            (Poll::Ready(()), Some(End::Eof)) => Err(StreamError::Closed),
            (Poll::Ready(()), Some(End::Failed(error))) => Err(StreamError::LastOperationFailed(
                io::Error::new(error.kind(), error.to_string()).into(),
            )),
        }
    }
}

impl AsyncRead for LiveInput {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut live = self.live();
        std::task::ready!(live.poll_fill(context));
        if let (true, Some(End::Failed(error))) = (live.ahead.is_empty(), &live.end) {
            return Poll::Ready(Err(io::Error::new(error.kind(), error.to_string())));
        }
        buffer.put_slice(&live.take(buffer.remaining()));
        Poll::Ready(Ok(()))
    }
}
