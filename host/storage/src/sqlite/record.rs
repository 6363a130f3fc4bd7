//! The row of an ended attempt: its figures, its output and its streams.

use rusqlite::{CachedStatement, Connection, params};

use crate::StorageError;
use crate::fate::Running;
use crate::rows::Ending;

/// Attempts of one task have the ids from `seq` times this on.
pub(super) const ATTEMPTS_PER_TASK: i64 = 1_048_576;

pub(super) const RECORD: &str = "
    INSERT INTO attempt (id, worker, started_at, finished_at, failure, duration_us, cpu_us, fuel,
        peak_memory_bytes, disk_bytes, truncated, artifacts, content_type, output, stdout, stderr,
        log, egress)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";

/// Writes an attempt with `statement`, which is [`RECORD`]; gives the bytes that are kept of it.
pub(super) fn record(
    conn: &Connection,
    statement: &mut CachedStatement<'_>,
    task: &Running,
    ending: &Ending<'_>,
) -> Result<i64, StorageError> {
    let row = ending.row()?;
    let id = task.seq * ATTEMPTS_PER_TASK + i64::from(task.attempt);
    if let Some((blob, size_bytes)) = row.elsewhere {
        conn.prepare_cached("INSERT INTO output (attempt, blob, size_bytes) VALUES (?1, ?2, ?3)")?
            .execute(params![id, blob.0, size_bytes])?;
    }
    let [stdout, stderr, log] = row.streams;
    statement.execute(params![
        id,
        task.worker,
        task.claimed_at,
        ending.finished_at.as_millis(),
        row.failure,
        row.duration_us,
        row.cpu_us,
        row.fuel,
        row.peak_memory_bytes,
        row.disk_bytes,
        row.truncated,
        row.artifacts,
        row.content_type,
        row.output,
        stdout,
        stderr,
        log,
        row.egress,
    ])?;
    Ok(row.kept_bytes)
}
