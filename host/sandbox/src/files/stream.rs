//! The streams over files: the output stream of a counted one, `write-via-stream` and
//! `append-via-stream`, and the input stream, whose reads are charged.
//!
//! One write is in progress at a time. `counted` has what a write does and costs.

use std::mem;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wasmtime_wasi::p2::{
    DynInputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;

use crate::files::charge::charge_read;
use crate::files::counted::{ChangeError, CountedFile, Target, WriteResult};
use crate::files::quota::Quota;
use crate::meter::Meter;

/// The most bytes that one stream takes before the guest has to wait for it.
const STREAM_CAPACITY_BYTES: usize = 64 * 1024;

/// The stream.
pub(super) struct CountedStream {
    file: CountedFile,
    target: Target,
    state: StreamState,
}

enum StreamState {
    Ready,
    Writing(AbortOnDropJoinHandle<WriteResult>),
    Failed(ChangeError),
    Closed,
}

impl CountedStream {
    pub(super) fn new(file: CountedFile, target: Target) -> CountedStream {
        CountedStream {
            file,
            target,
            state: StreamState::Ready,
        }
    }

    fn finish(&mut self, result: WriteResult) {
        self.state = match result {
            Ok(written) => {
                if let Target::At(offset) = &mut self.target {
                    *offset = written.end;
                }
                StreamState::Ready
            }
            Err(error) => StreamState::Failed(error),
        };
    }

    /// The error to report, once.
    fn take_failure(&mut self) -> StreamResult<()> {
        match mem::replace(&mut self.state, StreamState::Closed) {
            StreamState::Failed(error) => Err(error.into()),
            StreamState::Closed => Err(StreamError::Closed),
            other @ (StreamState::Ready | StreamState::Writing(_)) => {
                self.state = other;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl OutputStream for CountedStream {
    fn write(&mut self, data: Bytes) -> StreamResult<()> {
        match self.state {
            StreamState::Ready => {}
            StreamState::Closed => return Err(StreamError::Closed),
            StreamState::Writing(_) | StreamState::Failed(_) => {
                return Err(StreamError::trap(
                    "write not permitted: check_write not called first",
                ));
            }
        }
        if data.len() > STREAM_CAPACITY_BYTES {
            return Err(StreamError::trap("more written than check_write permits"));
        }
        match self.file.start_write(self.target, data) {
            Ok(task) => {
                self.state = StreamState::Writing(task);
                Ok(())
            }
            Err(error) => {
                self.state = StreamState::Closed;
                Err(error.into())
            }
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.take_failure()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.take_failure()?;
        match self.state {
            StreamState::Ready => Ok(STREAM_CAPACITY_BYTES),
            StreamState::Writing(_) | StreamState::Failed(_) | StreamState::Closed => Ok(0),
        }
    }

    async fn blocking_write_and_flush(&mut self, data: Bytes) -> StreamResult<()> {
        self.ready().await;
        self.take_failure()?;
        let result = self.file.write(self.target, data).await;
        self.finish(result);
        self.take_failure()
    }

    async fn cancel(&mut self) {
        // The guest waits for its write here, so it loses nothing and cannot pile up writes by
        // dropping streams.
        if let StreamState::Writing(task) = mem::replace(&mut self.state, StreamState::Closed) {
            let _told_to_nobody = task.await;
        }
    }
}

#[async_trait]
impl Pollable for CountedStream {
    async fn ready(&mut self) {
        if let StreamState::Writing(task) = &mut self.state {
            let result = task.await;
            self.finish(result);
        }
    }
}

/// An input stream over a file. The run pays for its reads.
pub(super) struct ChargedInput {
    inner: DynInputStream,
    quota: Quota,
    meter: Arc<Meter>,
}

impl ChargedInput {
    pub(super) fn new(inner: DynInputStream, quota: &Quota, meter: &Arc<Meter>) -> ChargedInput {
        ChargedInput {
            inner,
            quota: quota.clone(),
            meter: Arc::clone(meter),
        }
    }
}

#[async_trait]
impl InputStream for ChargedInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        // A guest that does not wait for its writes must still read what it wrote.
        if self.quota.try_lock().is_none() {
            return Ok(Bytes::new());
        }
        let read = self.inner.read(size)?;
        charge_read(&self.meter, read.len() as u64);
        Ok(read)
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[async_trait]
impl Pollable for ChargedInput {
    async fn ready(&mut self) {
        drop(self.quota.lock().await);
        self.inner.ready().await;
    }
}
