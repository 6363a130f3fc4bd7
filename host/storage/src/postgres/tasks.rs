//! Reading tasks and what their attempts left.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::Row;
use uuid::Uuid;

use super::fault::{Fault, get, get_hash, get_u8, get_u32};
use super::params::params;
use super::spec::priority_of;
use super::tx::Tx;
use crate::blobs::BlobHash;
use crate::rows::{
    ArtifactsRow, Asked, FailureRow, NO_METADATA, egress_of, from_json, state_of, tenant_of,
    truncated_of,
};
use crate::{HeldTask, StorageError};
use cofferdam_domain::attempt::{
    Attempt, Captured, Failure, Fence, Payload, Stream, Usage, WorkerId,
};
use cofferdam_domain::module::{Digest, ModuleName};
use cofferdam_domain::task::{Task, TaskId};
use cofferdam_domain::time::Timestamp;

/// Everything of a [`Task`], from where a caller wants it. The newest finished attempt is the one before
/// a running one.
macro_rules! select_tasks {
    ($from:literal, $rest:literal) => {
        concat!(
            "SELECT s.id, p.module, p.digest, t.state, t.priority, t.attempt, t.max_attempts,
                t.lost, t.progress, t.progress_note, t.cancel_requested, s.created_at,
                coalesce(t.due_at, t.run_at),
                t.claimed_at, t.finished_at, t.updated_at, t.worker, s.metadata,
                a.duration_us, a.cpu_us, a.fuel, a.peak_memory_bytes, a.disk_bytes, a.failure,
                coalesce(o.size_bytes,
                    octet_length(a.output) - (a.truncated >> 3 & 1) * (44 + octet_length(s.tenant))),
                a.truncated,
                CASE WHEN p.settings LIKE '%\"placement\":%' OR p.settings LIKE '%\"isolation\":%'
                    THEN p.settings END, s.tenant, a.egress, t.callback IS NOT NULL
             FROM ",
            $from,
            " JOIN cofferdam.template p ON p.id = s.template
             LEFT JOIN cofferdam.attempt a
                ON a.seq = t.seq AND a.number = t.attempt - (t.state = 2)::int
             LEFT JOIN cofferdam.output o ON o.seq = a.seq AND o.number = a.number ",
            $rest
        )
    };
}

const ONE: &str = select_tasks!(
    "cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq",
    "WHERE s.id = $1 AND ($2::text IS NULL OR s.tenant = $2)"
);
const NAMED: &str = select_tasks!(
    "unnest($1::uuid[]) AS w(id)
     JOIN cofferdam.task_spec s ON s.id = w.id JOIN cofferdam.task t ON t.seq = s.seq",
    ""
);
const SOME: &str = select_tasks!(
    "unnest($1::int8[]) WITH ORDINALITY AS w(seq, place)
     JOIN cofferdam.task t ON t.seq = w.seq JOIN cofferdam.task_spec s ON s.seq = t.seq",
    "ORDER BY w.place"
);
const RESULT: &str = "
    SELECT a.content_type, a.output, o.blob
    FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
    JOIN cofferdam.attempt a ON a.seq = t.seq AND a.number = t.attempt
    LEFT JOIN cofferdam.output o ON o.seq = a.seq AND o.number = a.number
    WHERE s.id = $1 AND ($2::text IS NULL OR s.tenant = $2) AND t.state IN (3, 5) AND a.output IS NOT NULL";
/// A query for attempts of the task $1 that are as it says.
macro_rules! select_attempts {
    ($which:literal) => {
        concat!(
            "SELECT a.number, a.worker, p.digest, a.started_at, a.finished_at, a.failure,
                a.duration_us, a.cpu_us, a.fuel, a.peak_memory_bytes, a.disk_bytes,
                coalesce(o.size_bytes,
                    octet_length(a.output) - (a.truncated >> 3 & 1) * (44 + octet_length(s.tenant)), 0),
                a.truncated, a.artifacts, a.egress
             FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
             JOIN cofferdam.template p ON p.id = s.template
             JOIN cofferdam.attempt a ON a.seq = s.seq
             LEFT JOIN cofferdam.output o ON o.seq = a.seq AND o.number = a.number
             WHERE s.id = $1 AND ($2::text IS NULL OR s.tenant = $2) AND ",
            $which
        )
    };
}

const ATTEMPT: &str = select_attempts!("a.number = coalesce($3, t.attempt - (t.state = 2)::int)");
const ATTEMPTS: &str = select_attempts!("a.number > $3 ORDER BY a.number LIMIT $4");

/// One task.
pub(super) async fn task(tx: &mut Tx, id: TaskId) -> Result<Option<Task>, Fault> {
    let row = tx.query_opt(ONE, params![id.0, tx.tenant()]).await?;
    Ok(row.as_ref().map(task_of).transpose()?)
}

/// Those of these tasks that there are, whosever they are.
pub(super) async fn named(tx: &mut Tx, ids: Vec<TaskId>) -> Result<Vec<Task>, Fault> {
    let ids: Vec<Uuid> = ids.into_iter().map(|id| id.0).collect();
    let rows = tx.query(NAMED, params![ids]).await?;
    let tasks: Result<_, StorageError> = rows.iter().map(task_of).collect();
    Ok(tasks?)
}

/// The tasks of these numbers, in this order.
pub(super) async fn some_tasks(tx: &mut Tx, seqs: Vec<i64>) -> Result<Vec<Task>, Fault> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tx.query(SOME, params![seqs]).await?;
    let tasks: Result<_, StorageError> = rows.iter().map(task_of).collect();
    Ok(tasks?)
}

fn task_of(row: &Row) -> Result<Task, StorageError> {
    let instant = |place| -> Result<Option<Timestamp>, StorageError> {
        Ok(get::<Option<i64>>(row, place)?.map(Timestamp::from_millis))
    };
    let metadata: Option<String> = get(row, 17)?;
    let duration: Option<i64> = get(row, 18)?;
    let Asked {
        isolation,
        placement,
    } = Asked::of(get(row, 26)?)?;
    Ok(Task {
        id: TaskId(get(row, 0)?),
        tenant: tenant_of(get(row, 27)?)?,
        module: ModuleName::parse(get(row, 1)?).map_err(StorageError::corrupt)?,
        digest: Digest::from_bytes(get_hash(row, 2)?),
        state: state_of(get_u8(row, 3)?)?,
        priority: priority_of(row, 4)?,
        attempt: get_u32(row, 5)?,
        max_attempts: get_u32(row, 6)?,
        lost: get_u32(row, 7)?,
        progress: get(row, 8)?,
        progress_note: get(row, 9)?,
        cancel_requested: get(row, 10)?,
        created_at: Timestamp::from_millis(get(row, 11)?),
        run_at: Timestamp::from_millis(get(row, 12)?),
        started_at: instant(13)?,
        finished_at: instant(14)?,
        updated_at: Timestamp::from_millis(get(row, 15)?),
        worker: get::<Option<Uuid>>(row, 16)?.map(WorkerId),
        isolation,
        placement,
        metadata: metadata.unwrap_or_else(|| NO_METADATA.to_owned()),
        usage: duration.map(|_there| usage_of(row, 18, 28)).transpose()?,
        failure: failure_of(get(row, 23)?)?,
        result_bytes: get::<Option<i64>>(row, 24)?.map(i64::cast_unsigned),
        truncated: truncated(get(row, 25)?)?,
        has_callback: get(row, 29)?,
    })
}

/// duration_us, cpu_us, fuel, peak_memory_bytes and disk_bytes from column `first` on, and egress from
/// another.
fn usage_of(row: &Row, first: usize, egress: usize) -> Result<Usage, StorageError> {
    let figure = |place| Ok::<_, StorageError>(get::<i64>(row, place)?.cast_unsigned());
    Ok(Usage {
        duration: Duration::from_micros(figure(first)?),
        cpu: Duration::from_micros(figure(first + 1)?),
        fuel: get::<Option<i64>>(row, first + 2)?.map(i64::cast_unsigned),
        peak_memory_bytes: figure(first + 3)?,
        disk_bytes: figure(first + 4)?,
        egress: egress_of(get(row, egress)?)?,
    })
}

fn failure_of(text: Option<&str>) -> Result<Option<Failure>, StorageError> {
    text.map(|text| from_json::<FailureRow>(text)?.try_into())
        .transpose()
}

fn truncated(bits: Option<i16>) -> Result<[bool; 3], StorageError> {
    let bits = u8::try_from(bits.unwrap_or(0)).map_err(StorageError::corrupt)?;
    Ok(truncated_of(bits))
}

/// The output of a completed or cancelled task, and where its bytes are if that is not its row.
pub(super) async fn result(
    tx: &mut Tx,
    id: TaskId,
) -> Result<Option<(Payload, Option<BlobHash>)>, Fault> {
    let Some(row) = tx.query_opt(RESULT, params![id.0, tx.tenant()]).await? else {
        return Ok(None);
    };
    let content_type = Arc::from(get::<&str>(&row, 0)?);
    let body = Bytes::copy_from_slice(get(&row, 1)?);
    let elsewhere = match get::<Option<&[u8]>>(&row, 2)? {
        None => None,
        Some(_) => Some(BlobHash(get_hash(&row, 2)?)),
    };
    Ok(Some((Payload { content_type, body }, elsewhere)))
}

/// One stream of a finished attempt.
pub(super) async fn stream(
    tx: &mut Tx,
    id: TaskId,
    attempt: Option<u32>,
    stream: Stream,
) -> Result<Option<Captured>, Fault> {
    let (sql, place) = match stream {
        Stream::Stdout => (STDOUT, 0),
        Stream::Stderr => (STDERR, 1),
        Stream::Log => (LOG, 2),
    };
    // A number that is too large belongs to no attempt, and -1 neither.
    let attempt = attempt.map(|number| i32::try_from(number).unwrap_or(-1));
    let wanted = params![id.0, tx.tenant(), attempt];
    let Some(row) = tx.query_opt(sql, wanted).await? else {
        return Ok(None);
    };
    let bytes: Option<&[u8]> = get(&row, 0)?;
    Ok(Some(Captured {
        bytes: Bytes::copy_from_slice(bytes.unwrap_or_default()),
        truncated: truncated(get(&row, 1)?)?[place],
    }))
}

/// A query for one stream of the attempt $2, or of the newest that is finished.
macro_rules! stream_query {
    ($column:literal) => {
        concat!(
            "SELECT a.",
            $column,
            ", a.truncated FROM cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
             JOIN cofferdam.attempt a
                ON a.seq = t.seq AND a.number = coalesce($3, t.attempt - (t.state = 2)::int)
             WHERE s.id = $1 AND ($2::text IS NULL OR s.tenant = $2)"
        )
    };
}

const STDOUT: &str = stream_query!("stdout");
const STDERR: &str = stream_query!("stderr");
const LOG: &str = stream_query!("log");

/// One finished attempt, or the newest.
pub(super) async fn attempt(
    tx: &mut Tx,
    id: TaskId,
    number: Option<u32>,
) -> Result<Option<Attempt>, Fault> {
    let number = number.map(|number| i32::try_from(number).unwrap_or(-1));
    let row = tx
        .query_opt(ATTEMPT, params![id.0, tx.tenant(), number])
        .await?;
    Ok(row.as_ref().map(attempt_of).transpose()?)
}

/// Some finished attempts, in order.
pub(super) async fn attempts(
    tx: &mut Tx,
    id: TaskId,
    after: u32,
    limit: u32,
) -> Result<Vec<Attempt>, Fault> {
    let after = i32::try_from(after).unwrap_or(i32::MAX);
    let wanted = params![id.0, tx.tenant(), after, i64::from(limit)];
    let rows = tx.query(ATTEMPTS, wanted).await?;
    let attempts: Result<_, StorageError> = rows.iter().map(attempt_of).collect();
    Ok(attempts?)
}

fn attempt_of(row: &Row) -> Result<Attempt, StorageError> {
    let artifacts: Option<&str> = get(row, 13)?;
    let left: ArtifactsRow = artifacts.map_or(Ok(ArtifactsRow::default()), from_json)?;
    let (artifacts, left_out) = left.into_parts();
    Ok(Attempt {
        number: get_u32(row, 0)?,
        worker: WorkerId(get(row, 1)?),
        digest: Digest::from_bytes(get_hash(row, 2)?),
        started_at: Timestamp::from_millis(get(row, 3)?),
        finished_at: Timestamp::from_millis(get(row, 4)?),
        failure: failure_of(get(row, 5)?)?,
        usage: usage_of(row, 6, 14)?,
        result_bytes: get::<i64>(row, 11)?.cast_unsigned(),
        truncated: truncated(get(row, 12)?)?,
        artifacts,
        left_out,
    })
}

/// The running tasks of `worker` that are to be cancelled.
pub(super) async fn cancel_requests(tx: &mut Tx, worker: WorkerId) -> Result<Vec<TaskId>, Fault> {
    const SQL: &str = "
        SELECT s.id FROM cofferdam.task t JOIN cofferdam.task_spec s ON s.seq = t.seq
        WHERE t.state = 2 AND t.worker = $1 AND t.cancel_requested";
    let rows = tx.query(SQL, params![worker.0]).await?;
    let ids: Result<_, StorageError> = rows.iter().map(|row| Ok(TaskId(get(row, 0)?))).collect();
    Ok(ids?)
}

/// The running tasks of `worker`.
pub(super) async fn held(tx: &mut Tx, worker: WorkerId) -> Result<Vec<HeldTask>, Fault> {
    const SQL: &str = "
        SELECT s.id, t.attempt, t.fence
        FROM cofferdam.task t JOIN cofferdam.task_spec s ON s.seq = t.seq
        WHERE t.state = 2 AND t.worker = $1";
    let of_row = |row: &Row| -> Result<HeldTask, StorageError> {
        Ok(HeldTask {
            task_id: TaskId(get(row, 0)?),
            attempt: get_u32(row, 1)?,
            fence: Fence(get::<i64>(row, 2)?.cast_unsigned()),
        })
    };
    let rows = tx.query(SQL, params![worker.0]).await?;
    let held: Result<_, StorageError> = rows.iter().map(of_row).collect();
    Ok(held?)
}
