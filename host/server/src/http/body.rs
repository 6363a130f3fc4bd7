//! Request bodies: read piece by piece, decoded, timed, and never beyond their limit.
//!
//! Each piece has a time limit, and the whole body has another, which grows with the bytes that
//! have arrived. So a body that is dripped byte by byte ends, however patient each wait is. A body
//! in memory takes part of the room that all of them share (`room.rs`).
//!
//! The decoder's output counts against the limit, so a compressed bomb is refused at the same size
//! as a plain body. A body whose length is announced and too large is refused before a byte of it
//! is read.

mod limit;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::{HeaderMap, StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;
use tokio_util::io::StreamReader;

use crate::http::error::ApiError;
use crate::http::room::Held;

pub(crate) use crate::http::body::limit::BodyLimit;

/// The largest window a zstd body may ask for: 8 MiB, what `zstd` uses up to level 19.
const ZSTD_WINDOW_LOG: u32 = 23;
/// The bytes decoded at once.
const DECODED_CHUNK_BYTES: usize = 64 * 1024;
/// How much longer than the limit an encoded body may be: enough for the framing of data that does
/// not compress, but not for an endless run of empty frames.
const ENCODED_SLACK_BYTES: u64 = 64 * 1024;

/// A body being read.
pub(crate) struct BodyReader {
    source: Source,
    limit: BodyLimit,
    started: Instant,
    read_bytes: u64,
    announced_bytes: Option<u64>,
}

enum Source {
    Plain(Body),
    Decoded(Pin<Box<dyn AsyncRead + Send>>),
}

impl BodyReader {
    /// Checks the headers of a request and refuses it if they suffice for that.
    pub(crate) fn new(
        headers: &HeaderMap,
        body: Body,
        limit: BodyLimit,
    ) -> Result<BodyReader, ApiError> {
        let announced_bytes = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse::<u64>().ok());
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        let Some(coding) = codings.next() else {
            if announced_bytes.is_some_and(|bytes| bytes > limit.bytes) {
                return Err(limit.exceeded());
            }
            let source = Source::Plain(body);
            return Ok(BodyReader {
                source,
                limit,
                started: Instant::now(),
                read_bytes: 0,
                announced_bytes,
            });
        };
        if codings.next().is_some() {
            return Err(unknown_coding());
        }
        let encoded = StreamReader::new(Box::pin(bounded(body, limit.bytes)));
        // Either coding may have several parts, as parallel compressors write it; a decoder that
        // stopped after the first would silently cut the body.
        let coding = coding.as_bytes().to_ascii_lowercase();
        let source: Pin<Box<dyn AsyncRead + Send>> = match coding.as_slice() {
            b"identity" => Box::pin(encoded),
            b"gzip" | b"x-gzip" => {
                let mut decoder = GzipDecoder::new(encoded);
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
            b"zstd" => {
                let window = [DParameter::window_log_max(ZSTD_WINDOW_LOG)];
                let mut decoder = ZstdDecoder::with_params(encoded, &window);
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
            _ => return Err(unknown_coding()),
        };
        let source = Source::Decoded(source);
        Ok(BodyReader {
            source,
            limit,
            started: Instant::now(),
            read_bytes: 0,
            announced_bytes: None,
        })
    }

    /// The length, if it is known beforehand.
    pub(crate) fn announced_bytes(&self) -> Option<u64> {
        self.announced_bytes
    }

    /// The next piece; `None` after the last.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        let patience = || {
            let pace = &self.limit.pace;
            pace.next(self.started.elapsed(), self.read_bytes)
        };
        let chunk = match &mut self.source {
            Source::Plain(body) => timed(patience, plain_chunk(body)).await?,
            Source::Decoded(reader) => timed(patience, decoded_chunk(reader, &self.limit)).await?,
        }?;
        if let Some(chunk) = &chunk {
            self.read_bytes += chunk.len() as u64;
            if self.read_bytes > self.limit.bytes {
                return Err(self.limit.exceeded());
            }
        }
        Ok(chunk)
    }

    /// The whole body in memory. A body that came in one piece is not copied.
    pub(crate) async fn collect(mut self) -> Result<Bytes, ApiError> {
        let mut held = self.limit.room.none();
        let announced = self.announced_bytes.unwrap_or(0);
        held.grow_to(announced).await?;
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.chunk().await? else {
            held.grow_to(first.len() as u64).await?;
            return Ok(held.keep(first));
        };
        let announced = usize::try_from(announced).unwrap_or(usize::MAX);
        let capacity = announced.max(first.len() + second.len());
        held.grow_to(capacity as u64).await?;
        let mut whole = BytesMut::with_capacity(capacity);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = self.chunk().await? {
            append(&mut whole, &chunk, &mut held, self.limit.bytes).await?;
        }
        Ok(held.keep(whole.freeze()))
    }
}

/// Appends a piece, with room for the buffer's growth.
async fn append(
    whole: &mut BytesMut,
    chunk: &[u8],
    held: &mut Held,
    bytes_max: u64,
) -> Result<(), ApiError> {
    let needed = whole.len() + chunk.len();
    if needed > whole.capacity() {
        let most = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let grown = needed.max((whole.capacity() * 2).min(most));
        held.grow_to(grown as u64).await?;
        whole.reserve(grown - whole.len());
    }
    whole.extend_from_slice(chunk);
    Ok(())
}

/// The body of `request`, in memory.
pub(crate) async fn collect(
    headers: &HeaderMap,
    body: Body,
    limit: BodyLimit,
) -> Result<Bytes, ApiError> {
    BodyReader::new(headers, body, limit)?.collect().await
}

async fn plain_chunk(body: &mut Body) -> Result<Option<Bytes>, ApiError> {
    while !body.is_end_stream() {
        match body.frame().await {
            None => break,
            Some(Err(error)) => return Err(aborted(&error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                // Trailers are not used.
                Err(_trailers) => {}
            },
        }
    }
    Ok(None)
}

async fn decoded_chunk(
    reader: &mut Pin<Box<dyn AsyncRead + Send>>,
    limit: &BodyLimit,
) -> Result<Option<Bytes>, ApiError> {
    let mut chunk = BytesMut::with_capacity(DECODED_CHUNK_BYTES);
    match reader.read_buf(&mut chunk).await {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(chunk.freeze())),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(limit.exceeded()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Err(aborted(&error)),
        Err(error) => {
            let detail = format!("the body does not match its Content-Encoding: {error}");
            Err(ApiError::bad_request("invalid_encoding", detail))
        }
    }
}

/// The encoded bytes, up to a little more than `limit_bytes`.
fn bounded(body: Body, limit_bytes: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let mut left = limit_bytes.saturating_add(ENCODED_SLACK_BYTES);
    body.into_data_stream().map(move |chunk| {
        let chunk =
            chunk.map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error))?;
        left = left
            .checked_sub(chunk.len() as u64)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(chunk)
    })
}

/// Waits for `work`, but starts a timer only if `work` is not ready.
async fn timed<T>(
    patience: impl FnOnce() -> Duration,
    work: impl Future<Output = T>,
) -> Result<T, ApiError> {
    let mut work = pin!(work);
    if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
        return Ok(done);
    }
    let patience = patience();
    let late = |_elapsed| {
        let detail = format!(
            "the body arrived too slowly: nothing more within {} ms; see \
             http.body_idle_timeout_ms, http.body_timeout_ms and http.bytes_per_second_min",
            patience.as_millis()
        );
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail)
    };
    tokio::time::timeout(patience, work).await.map_err(late)
}

fn aborted(error: &impl std::fmt::Display) -> ApiError {
    ApiError::bad_request("body_aborted", format!("the body ended early: {error}"))
}

fn unknown_coding() -> ApiError {
    let detail = "Content-Encoding may be gzip or zstd, once";
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_content_encoding",
        detail,
    )
}

#[cfg(test)]
mod tests;
