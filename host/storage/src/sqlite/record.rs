//! The row of an attempt that ended: its figures, its output and what it wrote.

use std::time::Duration;

use rusqlite::{CachedStatement, params};

use super::rows::{ArtifactRow, FailureRow, to_json};
use super::settle::{Ending, Running};
use crate::StorageError;
use cofferdam_domain::attempt::{Captured, Outcome, Streams};

/// Attempts of one task have the ids from `seq` times this on.
pub(super) const ATTEMPTS_PER_TASK: i64 = 1_048_576;

pub(super) const RECORD: &str = "
    INSERT INTO attempt (id, worker, started_at, finished_at, failure, duration_us, cpu_us, fuel,
        peak_memory_bytes, disk_bytes, truncated, artifacts, content_type, output, stdout, stderr,
        log)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

/// Writes an attempt down with `statement`, which is [`RECORD`].
pub(super) fn record(
    statement: &mut CachedStatement<'_>,
    task: &Running,
    ending: &Ending<'_>,
) -> Result<(), StorageError> {
    let (failure, content_type, output) = match ending.outcome {
        Outcome::Completed(payload) => {
            (None, Some(&*payload.content_type), Some(&payload.body[..]))
        }
        Outcome::Failed(failure) => (Some(to_json(&FailureRow::from(failure))?), None, None),
    };
    let artifacts = match ending.artifacts {
        [] => None,
        some => Some(to_json(
            &some.iter().map(ArtifactRow::from).collect::<Vec<_>>(),
        )?),
    };
    let Streams {
        stdout,
        stderr,
        log,
    } = ending.streams;
    let usage = &ending.usage;
    statement.execute(params![
        task.seq * ATTEMPTS_PER_TASK + i64::from(task.attempt),
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

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A figure as SQLite keeps it. Nothing that is counted here comes near the end of the range.
fn whole(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

/// An empty stream is not worth a value.
fn kept(stream: &Captured) -> Option<&[u8]> {
    (!stream.bytes.is_empty()).then_some(&stream.bytes[..])
}

fn truncated_bits(streams: [&Captured; 3]) -> u8 {
    streams
        .iter()
        .rev()
        .fold(0, |bits, stream| bits << 1 | u8::from(stream.truncated))
}
