//! The row of an ended attempt, and the most that a row may hold.

use std::time::Duration;

use super::{ArtifactsRow, FailureRow, from_json, to_json};
use crate::StorageError;
use crate::blobs::BlobHash;
use crate::seal::{is_sealed, plain_bytes};
use cofferdam_domain::attempt::{
    Artifact, Captured, EgressUsage, LeftOut, Outcome, Streams, Usage,
};
use cofferdam_domain::claim::AttemptEnd;
use cofferdam_domain::time::Timestamp;

/// The most bytes of an attempt's output, streams and list of files together. SQLite keeps rows of
/// 1,000,000,000 bytes and PostgreSQL a little more; the rest is for the small columns.
const ROW_BYTES_MAX: usize = 999_000_000;
/// The longest list of artifacts that is kept. It is built in memory, on a thread that others wait for.
const ARTIFACT_LIST_BYTES_MAX: usize = 64 << 20;
/// The most bytes of an artifact in that list besides its path.
const ARTIFACT_FRAME_BYTES: usize = 64;
/// The most bytes of a character that JSON escapes.
const ESCAPED_BYTES_MAX: usize = 6;

/// An attempt's end, reported by its worker or by the rescue.
pub(crate) struct Ending<'a> {
    pub(crate) finished_at: Timestamp,
    pub(crate) outcome: &'a Outcome,
    /// The place of the output, if it is not in the row.
    pub(crate) output: Option<BlobHash>,
    pub(crate) usage: Usage,
    pub(crate) streams: &'a Streams,
    pub(crate) artifacts: &'a [Artifact],
    pub(crate) left_out: LeftOut,
}

/// What a row says of it.
pub(crate) struct EndedRow<'a> {
    pub(crate) failure: Option<String>,
    pub(crate) content_type: Option<&'a str>,
    /// Empty if the output is elsewhere.
    pub(crate) output: Option<&'a [u8]>,
    /// Where the output is then, and its length.
    pub(crate) elsewhere: Option<(BlobHash, i64)>,
    pub(crate) artifacts: Option<String>,
    /// An empty stream is stored as NULL.
    pub(crate) streams: [Option<&'a [u8]>; 3],
    pub(crate) truncated: u8,
    pub(crate) duration_us: i64,
    pub(crate) cpu_us: i64,
    pub(crate) fuel: Option<i64>,
    pub(crate) peak_memory_bytes: i64,
    pub(crate) disk_bytes: i64,
    pub(crate) egress: Option<String>,
    /// The bytes of all that the attempt left, wherever they are.
    pub(crate) kept_bytes: i64,
}

impl EndedRow<'_> {
    /// Bytes of what is long in it.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [&self.failure, &self.artifacts];
        let texts = texts.into_iter().flatten().map(String::len);
        let streams = self.streams.iter().flatten().map(|bytes| bytes.len());
        texts.chain(streams).sum::<usize>() + self.output.map_or(0, <[u8]>::len)
    }
}

impl<'a> Ending<'a> {
    /// An end as its worker tells it, with the outcome that the rules give it.
    pub(crate) fn of(
        end: &'a AttemptEnd,
        outcome: &'a Outcome,
        output: Option<BlobHash>,
    ) -> Ending<'a> {
        Ending {
            finished_at: end.finished_at,
            outcome,
            output,
            usage: end.usage,
            streams: &end.streams,
            artifacts: &end.artifacts,
            left_out: end.left_out,
        }
    }

    /// An end of which nothing is known but why.
    pub(crate) fn bare(finished_at: Timestamp, outcome: &'a Outcome) -> Ending<'a> {
        static NOTHING_WRITTEN: Streams = Streams {
            stdout: NOTHING,
            stderr: NOTHING,
            log: NOTHING,
        };
        Ending {
            finished_at,
            outcome,
            output: None,
            usage: Usage::default(),
            streams: &NOTHING_WRITTEN,
            artifacts: &[],
            left_out: LeftOut::default(),
        }
    }

    /// The row, unless it would be larger than one may be.
    pub(crate) fn row(&self) -> Result<EndedRow<'a>, StorageError> {
        check_size(self)?;
        let (failure, content_type, output) = match self.outcome {
            Outcome::Completed(payload) => {
                let output = match self.output {
                    None => &payload.body[..],
                    Some(_) => &[],
                };
                (None, Some(&*payload.content_type), Some(output))
            }
            Outcome::Failed(failure) => (Some(to_json(&FailureRow::from(failure))?), None, None),
        };
        let elsewhere = match (self.outcome, self.output) {
            (Outcome::Completed(payload), Some(hash)) => {
                let size = plain_bytes(&payload.body);
                Some((hash, i64::try_from(size).unwrap_or(i64::MAX)))
            }
            (Outcome::Completed(_) | Outcome::Failed(_), _) => None,
        };
        let Streams {
            stdout,
            stderr,
            log,
        } = self.streams;
        let mut row = EndedRow {
            failure,
            content_type,
            output,
            elsewhere,
            artifacts: ArtifactsRow::of(self.artifacts, self.left_out)
                .map(|row| to_json(&row))
                .transpose()?,
            streams: [stdout, stderr, log].map(kept),
            truncated: truncated_bits([stdout, stderr, log]) | sealed_bit(self),
            duration_us: micros(self.usage.duration),
            cpu_us: micros(self.usage.cpu),
            fuel: self.usage.fuel.map(whole),
            peak_memory_bytes: whole(self.usage.peak_memory_bytes),
            disk_bytes: whole(self.usage.disk_bytes),
            egress: egress_row(self.usage.egress)?,
            kept_bytes: 0,
        };
        let artifacts = self.artifacts.iter().map(|artifact| artifact.size_bytes);
        let artifacts = artifacts.fold(0, u64::saturating_add);
        let elsewhere = row.elsewhere.map_or(0, |(_, bytes)| bytes);
        let inside = i64::try_from(row.bytes()).unwrap_or(i64::MAX);
        row.kept_bytes = whole(artifacts)
            .saturating_add(elsewhere)
            .saturating_add(inside);
        Ok(row)
    }
}

/// Few attempts have any.
fn egress_row(egress: EgressUsage) -> Result<Option<String>, StorageError> {
    let EgressUsage {
        requests,
        in_bytes,
        out_bytes,
    } = egress;
    (requests > 0)
        .then(|| to_json(&[requests, in_bytes, out_bytes]))
        .transpose()
}

/// What [`EndedRow::egress`] says.
pub(crate) fn egress_of(row: Option<&str>) -> Result<EgressUsage, StorageError> {
    let Some(row) = row else {
        return Ok(EgressUsage::default());
    };
    let [requests, in_bytes, out_bytes] = from_json(row)?;
    Ok(EgressUsage {
        requests,
        in_bytes,
        out_bytes,
    })
}

const NOTHING: Captured = Captured {
    bytes: bytes::Bytes::new(),
    truncated: false,
};

/// Refuses, before anything is built, an attempt that does not fit into a row.
fn check_size(ending: &Ending<'_>) -> Result<(), StorageError> {
    let artifacts = ending.artifacts.iter().fold(0_usize, |sum, artifact| {
        sum.saturating_add(escaped_bytes(&artifact.path) + ARTIFACT_FRAME_BYTES)
    });
    if artifacts > ARTIFACT_LIST_BYTES_MAX {
        return Err(StorageError::TooLarge(format!(
            "the paths of {} files take {artifacts} bytes; the limit is {ARTIFACT_LIST_BYTES_MAX}",
            ending.artifacts.len()
        )));
    }
    let outcome = match ending.outcome {
        Outcome::Completed(payload) => {
            let inside = match ending.output {
                None => payload.body.len(),
                Some(_) => 0,
            };
            payload.content_type.len() + inside
        }
        Outcome::Failed(failure) => {
            let backtrace = failure.backtrace.as_deref().unwrap_or_default();
            escaped_bytes(&failure.message) + escaped_bytes(backtrace)
        }
    };
    let Streams {
        stdout,
        stderr,
        log,
    } = ending.streams;
    let streams = stdout.bytes.len() + stderr.bytes.len() + log.bytes.len();
    let row = artifacts + outcome + streams;
    if row > ROW_BYTES_MAX {
        return Err(StorageError::TooLarge(format!(
            "the output, the streams and the list of files take {row} bytes together; the limit is \
             {ROW_BYTES_MAX}"
        )));
    }
    Ok(())
}

/// The most bytes that a text takes in JSON.
fn escaped_bytes(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | 0..0x20 => ESCAPED_BYTES_MAX,
            _ => 1,
        })
        .sum()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A figure as databases keep it. No figure comes near the end of the range.
fn whole(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

fn kept(stream: &Captured) -> Option<&[u8]> {
    (!stream.bytes.is_empty()).then_some(&stream.bytes[..])
}

fn truncated_bits(streams: [&Captured; 3]) -> u8 {
    streams
        .iter()
        .rev()
        .fold(0, |bits, stream| bits << 1 | u8::from(stream.truncated))
}

/// Says that the output is sealed, and longer than it was: statements that tell its length subtract that.
fn sealed_bit(ending: &Ending<'_>) -> u8 {
    match ending.outcome {
        Outcome::Completed(payload) if is_sealed(&payload.body) => 8,
        Outcome::Completed(_) | Outcome::Failed(_) => 0,
    }
}

/// What [`EndedRow::truncated`] says of each stream.
pub(crate) fn truncated_of(bits: u8) -> [bool; 3] {
    [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0]
}
