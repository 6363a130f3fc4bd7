//! Reads one task and the data of its attempts.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::beside::Kept;
use crate::blobs::BlobHash;
use crate::rows::{
    ArtifactsRow, Asked, FailureRow, NO_METADATA, egress_of, from_json, state_of, tenant_of,
    truncated_of,
};
use crate::{Counts, HeldTask, StorageError};
use cofferdam_domain::attempt::{Attempt, Captured, Failure, Fence, Stream, Usage, WorkerId};
use cofferdam_domain::module::{Digest, ModuleName};
use cofferdam_domain::task::{Priority, Task, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

/// All columns of a [`Task`] and its `seq`, through a caller's index and with the caller's WHERE
/// and ORDER BY. The newest finished attempt is the one before a running one.
macro_rules! select_tasks {
    ($index:literal, $rest:literal) => {
        concat!(
            "SELECT t.id, p.module, p.digest, t.state, t.priority, t.attempt, t.max_attempts,
                t.lost, t.progress, t.progress_note, t.cancel_requested, t.created_at,
                coalesce(t.due_at, t.run_at),
                t.claimed_at, t.finished_at, t.updated_at, t.worker, s.metadata,
                a.duration_us, a.cpu_us, a.fuel, a.peak_memory_bytes, a.disk_bytes, a.failure,
                coalesce(o.size_bytes, length(a.output) - (a.truncated >> 3 & 1) * (44 + length(t.tenant))),
                a.truncated, t.seq,
                iif(p.settings LIKE '%\"placement\":%' OR p.settings LIKE '%\"isolation\":%',
                    p.settings, NULL), t.tenant, a.egress, t.callback IS NOT NULL
             FROM task t ",
            $index,
            " JOIN template p ON p.id = t.template
             JOIN task_spec s ON s.seq = t.seq
             LEFT JOIN attempt a ON a.id = t.seq * 1048576 + t.attempt - (t.state = 2)
             LEFT JOIN output o ON o.attempt = a.id ",
            $rest
        )
    };
}
pub(super) use select_tasks;

/// One task.
pub(super) fn task(
    conn: &Connection,
    whose: &Whose,
    id: TaskId,
) -> Result<Option<Task>, StorageError> {
    let mut statement = conn.prepare_cached(select_tasks!(
        "",
        "WHERE t.id = ?1 AND (?2 IS NULL OR t.tenant = ?2)"
    ))?;
    let mut rows = statement.query(params![id.0.as_bytes(), whose.name()])?;
    rows.next()?.map(task_of).transpose()
}

/// Those of these tasks that there are, whosever they are.
pub(super) fn some_tasks(conn: &Connection, ids: &[TaskId]) -> Result<Vec<Task>, StorageError> {
    let found = ids
        .iter()
        .filter_map(|id| task(conn, &Whose::All, *id).transpose());
    found.collect()
}

/// The task in a row of [`select_tasks`].
pub(super) fn task_of(row: &Row<'_>) -> Result<Task, StorageError> {
    let instant = |place| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row
            .get::<_, Option<i64>>(place)?
            .map(Timestamp::from_millis))
    };
    let worker: Option<[u8; 16]> = row.get(16)?;
    let duration: Option<i64> = row.get(18)?;
    let Asked {
        isolation,
        placement,
    } = Asked::of(row.get(27)?)?;
    Ok(Task {
        id: TaskId(uuid::Uuid::from_bytes(row.get(0)?)),
        tenant: tenant_of(row.get_ref(28)?.as_str().map_err(StorageError::corrupt)?)?,
        module: ModuleName::parse(row.get_ref(1)?.as_str().map_err(StorageError::corrupt)?)
            .map_err(StorageError::corrupt)?,
        digest: Digest::from_bytes(row.get(2)?),
        state: state_of(row.get(3)?)?,
        priority: Priority::from_rank(row.get(4)?)
            .ok_or_else(|| StorageError::corrupt("a task has no priority"))?,
        attempt: row.get(5)?,
        max_attempts: row.get(6)?,
        lost: row.get(7)?,
        progress: row.get(8)?,
        progress_note: row.get(9)?,
        cancel_requested: row.get(10)?,
        created_at: Timestamp::from_millis(row.get(11)?),
        run_at: Timestamp::from_millis(row.get(12)?),
        started_at: instant(13)?,
        finished_at: instant(14)?,
        updated_at: Timestamp::from_millis(row.get(15)?),
        worker: worker.map(|id| WorkerId(uuid::Uuid::from_bytes(id))),
        isolation,
        placement,
        metadata: row
            .get::<_, Option<String>>(17)?
            .unwrap_or_else(|| NO_METADATA.to_owned()),
        usage: duration.map(|_there| usage_of(row, 18, 29)).transpose()?,
        failure: failure_of(row.get(23)?)?,
        result_bytes: row.get::<_, Option<i64>>(24)?.map(i64::cast_unsigned),
        truncated: truncated_of(row.get::<_, Option<u8>>(25)?.unwrap_or(0)),
        has_callback: row.get(30)?,
    })
}

/// duration_us, cpu_us, fuel, peak_memory_bytes and disk_bytes from column `first` on, and egress from
/// another.
fn usage_of(row: &Row<'_>, first: usize, egress: usize) -> Result<Usage, StorageError> {
    let micros = |place| Ok::<_, rusqlite::Error>(row.get::<_, i64>(place)?.cast_unsigned());
    Ok(Usage {
        duration: Duration::from_micros(micros(first)?),
        cpu: Duration::from_micros(micros(first + 1)?),
        fuel: row
            .get::<_, Option<i64>>(first + 2)?
            .map(i64::cast_unsigned),
        peak_memory_bytes: micros(first + 3)?,
        disk_bytes: micros(first + 4)?,
        egress: egress_of(row.get::<_, Option<String>>(egress)?.as_deref())?,
    })
}

fn failure_of(text: Option<String>) -> Result<Option<Failure>, StorageError> {
    text.map(|text| from_json::<FailureRow>(&text)?.try_into())
        .transpose()
}

/// The place of the output of a completed or cancelled task.
pub(super) struct Output {
    pub(super) content_type: Arc<str>,
    pub(super) body: Kept,
}

/// The output of a completed or cancelled task, or its place.
pub(super) fn result(
    conn: &Connection,
    whose: &Whose,
    id: TaskId,
) -> Result<Option<Output>, StorageError> {
    Ok(conn
        .prepare_cached(
            "SELECT a.content_type, a.output, o.blob
             FROM task t JOIN attempt a ON a.id = t.seq * 1048576 + t.attempt
             LEFT JOIN output o ON o.attempt = a.id
             WHERE t.id = ?1 AND (?2 IS NULL OR t.tenant = ?2)
                AND t.state IN (3, 5) AND a.output IS NOT NULL",
        )?
        .query_row(params![id.0.as_bytes(), whose.name()], |row| {
            Ok(Output {
                content_type: row.get_ref(0)?.as_str()?.into(),
                body: match row.get(2)? {
                    Some(hash) => Kept::Blob(BlobHash(hash)),
                    None => Kept::Inside(row.get(1)?),
                },
            })
        })
        .optional()?)
}

/// One stream of a finished attempt.
pub(super) fn stream(
    conn: &Connection,
    whose: &Whose,
    id: TaskId,
    attempt: Option<u32>,
    stream: Stream,
) -> Result<Option<Captured>, StorageError> {
    let (sql, place) = match stream {
        Stream::Stdout => (STDOUT, 0),
        Stream::Stderr => (STDERR, 1),
        Stream::Log => (LOG, 2),
    };
    Ok(conn
        .prepare_cached(sql)?
        .query_row(params![id.0.as_bytes(), attempt, whose.name()], |row| {
            let bytes = row.get::<_, Option<Vec<u8>>>(0)?.unwrap_or_default();
            let truncated = truncated_of(row.get(1)?)[place];
            Ok(Captured {
                bytes: bytes.into(),
                truncated,
            })
        })
        .optional()?)
}

/// A query for one stream of the attempt ?2, or of the newest finished one.
macro_rules! stream_query {
    ($column:literal) => {
        concat!(
            "SELECT a.",
            $column,
            ", a.truncated FROM task t JOIN attempt a
                ON a.id = t.seq * 1048576 + coalesce(?2, t.attempt - (t.state = 2))
             WHERE t.id = ?1 AND (?3 IS NULL OR t.tenant = ?3) AND coalesce(?2, 1) < 1048576"
        )
    };
}

const STDOUT: &str = stream_query!("stdout");
const STDERR: &str = stream_query!("stderr");
const LOG: &str = stream_query!("log");

/// A query for attempts that are joined to their task as it says.
macro_rules! select_attempts {
    ($join:literal) => {
        concat!(
            "SELECT a.id % 1048576, a.worker, p.digest, a.started_at, a.finished_at, a.failure,
                a.duration_us, a.cpu_us, a.fuel, a.peak_memory_bytes, a.disk_bytes,
                coalesce(o.size_bytes, length(a.output) - (a.truncated >> 3 & 1) * (44 + length(t.tenant)), 0),
                a.truncated, a.artifacts, a.egress
             FROM task t JOIN template p ON p.id = t.template JOIN attempt a ON ",
            $join
        )
    };
}

const ONE: &str = select_attempts!(
    "a.id = t.seq * 1048576 + coalesce(?2, t.attempt - (t.state = 2))
     LEFT JOIN output o ON o.attempt = a.id
     WHERE t.id = ?1 AND (?3 IS NULL OR t.tenant = ?3) AND coalesce(?2, 1) < 1048576"
);
const SOME: &str = select_attempts!(
    "a.id > t.seq * 1048576 + ?2 AND a.id < (t.seq + 1) * 1048576
     LEFT JOIN output o ON o.attempt = a.id
     WHERE t.id = ?1 AND (?4 IS NULL OR t.tenant = ?4) ORDER BY a.id LIMIT ?3"
);

/// One finished attempt, or the newest.
pub(super) fn attempt(
    conn: &Connection,
    whose: &Whose,
    id: TaskId,
    number: Option<u32>,
) -> Result<Option<Attempt>, StorageError> {
    let mut statement = conn.prepare_cached(ONE)?;
    let mut rows = statement.query(params![id.0.as_bytes(), number, whose.name()])?;
    rows.next()?.map(attempt_of).transpose()
}

/// Some finished attempts, in order.
pub(super) fn attempts(
    conn: &Connection,
    whose: &Whose,
    id: TaskId,
    after: u32,
    limit: u32,
) -> Result<Vec<Attempt>, StorageError> {
    let mut statement = conn.prepare_cached(SOME)?;
    let mut rows = statement.query(params![id.0.as_bytes(), after, limit, whose.name()])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        attempts.push(attempt_of(row)?);
    }
    Ok(attempts)
}

fn attempt_of(row: &Row<'_>) -> Result<Attempt, StorageError> {
    let artifacts: Option<String> = row.get(13)?;
    let left: ArtifactsRow =
        artifacts.map_or(Ok(ArtifactsRow::default()), |text| from_json(&text))?;
    let (artifacts, left_out) = left.into_parts();
    Ok(Attempt {
        number: row.get(0)?,
        worker: WorkerId(uuid::Uuid::from_bytes(row.get(1)?)),
        digest: Digest::from_bytes(row.get(2)?),
        started_at: Timestamp::from_millis(row.get(3)?),
        finished_at: Timestamp::from_millis(row.get(4)?),
        failure: failure_of(row.get(5)?)?,
        usage: usage_of(row, 6, 14)?,
        result_bytes: row.get::<_, i64>(11)?.cast_unsigned(),
        truncated: truncated_of(row.get(12)?),
        artifacts,
        left_out,
    })
}

/// The running tasks of `worker` that are to be cancelled.
pub(super) fn cancel_requests(
    conn: &Connection,
    worker: WorkerId,
) -> Result<Vec<TaskId>, StorageError> {
    let ids = conn
        .prepare_cached(
            "SELECT id FROM task WHERE state = 2 AND worker = ?1 AND cancel_requested = 1",
        )?
        .query_map([worker.0.as_bytes()], |row| {
            Ok(TaskId(uuid::Uuid::from_bytes(row.get(0)?)))
        })?
        .collect::<Result<_, _>>()?;
    Ok(ids)
}

/// The running tasks of `worker`.
pub(super) fn held(conn: &Connection, worker: WorkerId) -> Result<Vec<HeldTask>, StorageError> {
    let held = conn
        .prepare_cached("SELECT id, attempt, fence FROM task WHERE state = 2 AND worker = ?1")?
        .query_map([worker.0.as_bytes()], |row| {
            Ok(HeldTask {
                task_id: TaskId(uuid::Uuid::from_bytes(row.get(0)?)),
                attempt: row.get(1)?,
                fence: Fence(row.get::<_, i64>(2)?.cast_unsigned()),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(held)
}

/// The counters.
pub(super) fn counts(conn: &Connection, whose: &Whose) -> Result<Counts, StorageError> {
    let mut statement = conn.prepare_cached(
        "SELECT state, sum(tasks) FROM counter WHERE ?1 IS NULL OR tenant = ?1 GROUP BY state",
    )?;
    let mut rows = statement.query([whose.name()])?;
    let mut counts = Counts::default();
    while let Some(row) = rows.next()? {
        let tasks: i64 = row.get(1)?;
        *counts.of_mut(state_of(row.get(0)?)?) = u64::try_from(tasks).unwrap_or(0);
    }
    Ok(counts)
}
