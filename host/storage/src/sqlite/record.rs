//! The row of an ended attempt: its figures, its output and its streams.

use std::time::Duration;

use rusqlite::{CachedStatement, Connection, params};

use super::ended::{Ending, Running};
use super::rows::{ArtifactsRow, FailureRow, to_json};
use crate::StorageError;
use cofferdam_domain::attempt::{Captured, Outcome, Streams};

/// Attempts of one task have the ids from `seq` times this on.
pub(super) const ATTEMPTS_PER_TASK: i64 = 1_048_576;
/// The highest number of an attempt; the schema enforces it too.
pub(super) const ATTEMPT_MAX: u32 = 1_048_575;
/// The most bytes of an attempt's output, streams and list of files together. SQLite keeps rows of
/// 1,000,000,000 bytes; the rest is for the small columns.
const ROW_BYTES_MAX: usize = 999_000_000;
/// The longest list of artifacts that is kept. It is built in memory, on the one writer thread.
const ARTIFACT_LIST_BYTES_MAX: usize = 64 << 20;
/// The most bytes of an artifact in that list besides its path.
const ARTIFACT_FRAME_BYTES: usize = 64;
/// The most bytes of a character that JSON escapes.
const ESCAPED_BYTES_MAX: usize = 6;

pub(super) const RECORD: &str = "
    INSERT INTO attempt (id, worker, started_at, finished_at, failure, duration_us, cpu_us, fuel,
        peak_memory_bytes, disk_bytes, truncated, artifacts, content_type, output, stdout, stderr,
        log)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

/// Writes an attempt with `statement`, which is [`RECORD`].
pub(super) fn record(
    conn: &Connection,
    statement: &mut CachedStatement<'_>,
    task: &Running,
    ending: &Ending<'_>,
) -> Result<(), StorageError> {
    check_size(ending)?;
    let (failure, content_type, output) = match ending.outcome {
        Outcome::Completed(payload) => {
            let output = match ending.output {
                None => &payload.body[..],
                Some(_) => &[],
            };
            (None, Some(&*payload.content_type), Some(output))
        }
        Outcome::Failed(failure) => (Some(to_json(&FailureRow::from(failure))?), None, None),
    };
    let artifacts = ArtifactsRow::of(ending.artifacts, ending.left_out)
        .map(|row| to_json(&row))
        .transpose()?;
    let Streams {
        stdout,
        stderr,
        log,
    } = ending.streams;
    let usage = &ending.usage;
    let id = task.seq * ATTEMPTS_PER_TASK + i64::from(task.attempt);
    if let (Outcome::Completed(payload), Some(blob)) = (ending.outcome, ending.output) {
        let size = i64::try_from(payload.body.len()).unwrap_or(i64::MAX);
        conn.prepare_cached("INSERT INTO output (attempt, blob, size_bytes) VALUES (?1, ?2, ?3)")?
            .execute(params![id, blob.0, size])?;
    }
    statement.execute(params![
        id,
        task.worker,
        task.claimed_at,
        ending.finished_at.as_millis(),
        failure,
        micros(usage.duration),
        micros(usage.cpu),
        usage.fuel.map(whole),
        whole(usage.peak_memory_bytes),
        whole(usage.disk_bytes),
        truncated_bits([stdout, stderr, log]),
        artifacts,
        content_type,
        output,
        kept(stdout),
        kept(stderr),
        kept(log),
    ])?;
    Ok(())
}

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

/// A figure as SQLite keeps it. No figure comes near the end of the range.
fn whole(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

/// An empty stream is stored as NULL.
fn kept(stream: &Captured) -> Option<&[u8]> {
    (!stream.bytes.is_empty()).then_some(&stream.bytes[..])
}

fn truncated_bits(streams: [&Captured; 3]) -> u8 {
    streams
        .iter()
        .rev()
        .fold(0, |bits, stream| bits << 1 | u8::from(stream.truncated))
}
