//! One result as it is kept: what is longer than a kilobyte is compressed.
//!
//! Large ones are compressed and unpacked where that keeps no thread of the API busy.

pub(super) mod written;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::entry::Entry;
use cofferdam_domain::attempt::{Captured, Outcome, Payload, Streams};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::isolation::Isolation;
use cofferdam_sandbox::Report;

/// From here on bytes are compressed.
const COMPRESSED_FROM_BYTES: usize = 1024;
/// Up to here that is too short to be worth a hop to another thread.
const AT_ONCE_BYTES: usize = 64 << 10;
/// What an entry takes besides its bytes.
const OVERHEAD_BYTES: u64 = 512;
/// Fast rather than small.
const LEVEL: i32 = 1;

/// A result.
pub(super) struct Kept {
    tenant: Tenant,
    content_type: String,
    output: Packed,
    streams: [(Packed, bool); 3],
    isolation: Option<Isolation>,
    /// When it was made or read, and how old it was then: it may be older than the machine is up.
    read: Instant,
    age: Duration,
    ttl: Duration,
}

/// Bytes, compressed where that makes them shorter.
#[derive(Clone)]
struct Packed {
    bytes: Bytes,
    /// How many they are, if they are compressed.
    unpacked: Option<usize>,
}

impl Kept {
    /// What is kept of a run; nothing unless it completed and left no files.
    pub(super) async fn of(tenant: &Tenant, report: &Report, ttl: Duration) -> Option<Kept> {
        let Outcome::Completed(output) = &report.outcome else {
            return None;
        };
        let left_nothing = report.files.as_ref().is_none_or(|files| {
            files.artifacts().is_empty() && files.left_out().reasons().next().is_none()
        });
        if !left_nothing {
            return None;
        }
        let Streams {
            stdout,
            stderr,
            log,
        } = &report.streams;
        let said = [&stdout.bytes, &stderr.bytes, &log.bytes].map(Bytes::clone);
        let (output_bytes, all) = (output.body.clone(), output.body.len() + length(&said));
        let pack = move || (Packed::of(output_bytes), said.map(Packed::of));
        let (output_packed, said) = aside(all, pack).await?;
        let cut = [stdout.truncated, stderr.truncated, log.truncated];
        let [out, err, log] = said;
        Some(Kept {
            tenant: tenant.clone(),
            content_type: output.content_type.to_string(),
            output: output_packed,
            streams: [(out, cut[0]), (err, cut[1]), (log, cut[2])],
            isolation: report.isolation,
            read: Instant::now(),
            age: Duration::ZERO,
            ttl,
        })
    }

    /// The result as the report of a run; none if it cannot be unpacked.
    pub(super) async fn report(&self) -> Option<Report> {
        let packed = [
            &self.output,
            &self.streams[0].0,
            &self.streams[1].0,
            &self.streams[2].0,
        ];
        let all = packed
            .iter()
            .map(|packed| packed.unpacked.unwrap_or(0))
            .sum();
        let packed = packed.map(Packed::clone);
        let unpack =
            move || -> io::Result<Vec<Bytes>> { packed.into_iter().map(Packed::unpack).collect() };
        let unpacked = aside(all, unpack).await?;
        let unpacked: Result<[Bytes; 4], _> = unpacked.ok()?.try_into();
        let [body, stdout, stderr, log] = unpacked.ok()?;
        let captured = |bytes, place: usize| Captured {
            bytes,
            truncated: self.streams[place].1,
        };
        Some(Report {
            outcome: Outcome::Completed(Payload {
                content_type: self.content_type.as_str().into(),
                body,
            }),
            usage: cofferdam_domain::attempt::Usage::default(),
            streams: Streams {
                stdout: captured(stdout, 0),
                stderr: captured(stderr, 1),
                log: captured(log, 2),
            },
            files: None,
            isolation: self.isolation,
        })
    }

    /// What its bytes take.
    pub(super) fn bytes(&self) -> u64 {
        let streams = self.streams.iter().map(|(packed, _)| packed.bytes.len());
        (self.output.bytes.len() + self.content_type.len() + streams.sum::<usize>()) as u64
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        self.age
            .saturating_add(now.saturating_duration_since(self.read))
    }

    /// How long it is kept.
    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }
}

impl Entry for Arc<Kept> {
    fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    fn bytes(&self) -> u64 {
        Kept::bytes(self) + OVERHEAD_BYTES
    }

    fn left(&self, now: Instant) -> Duration {
        self.ttl.saturating_sub(self.age(now))
    }
}

impl Packed {
    fn of(bytes: Bytes) -> Packed {
        let packed = (bytes.len() > COMPRESSED_FROM_BYTES)
            .then(|| zstd::bulk::compress(&bytes, LEVEL).ok())
            .flatten()
            .filter(|packed| packed.len() < bytes.len());
        match packed {
            Some(packed) => Packed {
                unpacked: Some(bytes.len()),
                bytes: packed.into(),
            },
            // What it is a part of does not stay for its sake.
            None => Packed {
                bytes: Bytes::copy_from_slice(&bytes),
                unpacked: None,
            },
        }
    }

    fn unpack(self) -> io::Result<Bytes> {
        match self.unpacked {
            None => Ok(self.bytes),
            Some(length) => Ok(zstd::bulk::decompress(&self.bytes, length)?.into()),
        }
    }
}

fn length(all: &[Bytes]) -> usize {
    all.iter().map(Bytes::len).sum()
}

/// Does work on so many bytes, elsewhere if they are many; none if that panics.
async fn aside<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    match bytes <= AT_ONCE_BYTES {
        true => Some(work()),
        false => tokio::task::spawn_blocking(work).await.ok(),
    }
}
