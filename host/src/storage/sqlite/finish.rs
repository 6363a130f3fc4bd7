//! Recording how attempts ended, and progress on the way.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::db::{Db, state_number};
use super::rows::{ArtifactRow, FailureRow, to_json};
use crate::domain::attempt::{
    Artifact, AttemptEnd, Captured, FailureKind, Next, Outcome, Streams, Usage,
};
use crate::domain::state::TaskState;
use crate::domain::time::Timestamp;
use crate::storage::{Finished, Progress, StorageError};

/// Attempts of one task have the ids from `seq` times this on.
pub(super) const ATTEMPTS_PER_TASK: i64 = 1_048_576;

const HOLDER: &str = "
    SELECT seq, template, attempt, max_attempts, lost, cancel_requested, worker, claimed_at
    FROM task WHERE id = ?1 AND state = 2 AND fence = ?2 AND attempt = ?3";
const END: &str = "
    UPDATE task SET state = ?2, fence = NULL, cancel_requested = 0, updated_at = ?3,
        finished_at = ?3 WHERE seq = ?1";
const AGAIN: &str = "
    UPDATE task SET state = 1, fence = NULL, cancel_requested = 0, updated_at = ?2,
        run_at = coalesce(?3, run_at) WHERE seq = ?1";
const UNCLAIM: &str = "
    UPDATE task SET state = 1, fence = NULL, updated_at = ?2, attempt = attempt - 1,
        worker = iif(attempt = 1, NULL, worker), claimed_at = iif(attempt = 1, NULL, claimed_at)
    WHERE seq = ?1";
const RECORD: &str = "
    INSERT INTO attempt (id, worker, started_at, finished_at, failure, duration_us, cpu_us, fuel,
        peak_memory_bytes, disk_bytes, truncated, artifacts, content_type, output, stdout, stderr,
        log)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

/// A running task as far as its end needs it.
pub(super) struct Running {
    pub(super) seq: i64,
    pub(super) template: i64,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) lost: u32,
    pub(super) cancel_requested: bool,
    pub(super) worker: [u8; 16],
    pub(super) claimed_at: i64,
}

impl Running {
    pub(super) fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Running> {
        Ok(Running {
            seq: row.get(0)?,
            template: row.get(1)?,
            attempt: row.get(2)?,
            max_attempts: row.get(3)?,
            lost: row.get(4)?,
            cancel_requested: row.get(5)?,
            worker: row.get(6)?,
            claimed_at: row.get(7)?,
        })
    }
}

/// What becomes of a task whose attempt ended.
#[derive(Clone, Copy)]
pub(super) enum After {
    /// It stays in this final state.
    Final(TaskState),
    /// It is pending again, from this instant on, or from when it was before.
    Again(Option<Timestamp>),
}

impl After {
    /// The rule for an attempt that ended in failure but may be repeated.
    fn retry(task: &Running, run_at: Timestamp) -> After {
        if task.cancel_requested {
            After::Final(TaskState::Cancelled)
        } else if task.attempt >= task.max_attempts {
            After::Final(TaskState::Failed)
        } else {
            After::Again(Some(run_at))
        }
    }

    /// The rule for an attempt whose host went away under it.
    pub(super) fn loss(task: &Running, max_lost: u32, run_at: Option<Timestamp>) -> After {
        if task.cancel_requested {
            After::Final(TaskState::Cancelled)
        } else if task.lost >= max_lost {
            After::Final(TaskState::Failed)
        } else {
            After::Again(run_at)
        }
    }
}

/// An attempt's end, whoever tells it.
pub(super) struct Ending<'a> {
    pub(super) finished_at: Timestamp,
    pub(super) outcome: &'a Outcome,
    pub(super) usage: Usage,
    pub(super) streams: &'a Streams,
    pub(super) artifacts: &'a [Artifact],
}

/// Records ends in order.
pub(super) fn finish(db: &mut Db, ends: &[AttemptEnd]) -> Result<Vec<Finished>, StorageError> {
    ends.iter().map(|end| finish_one(db, end)).collect()
}

fn finish_one(db: &mut Db, end: &AttemptEnd) -> Result<Finished, StorageError> {
    let holder = db
        .conn
        .prepare_cached(HOLDER)?
        .query_row(
            params![
                end.task_id.0.as_bytes(),
                end.fence.0.cast_signed(),
                end.attempt
            ],
            Running::from_row,
        )
        .optional()?;
    let Some(task) = holder else {
        return Ok(Finished::Stale);
    };
    let ending = Ending {
        finished_at: end.finished_at,
        outcome: &end.outcome,
        usage: end.usage,
        streams: &end.streams,
        artifacts: &end.artifacts,
    };
    let state = match end.next {
        Next::Complete => settle(db, &task, After::Final(TaskState::Completed), &ending)?,
        Next::Fail => settle(db, &task, After::Final(TaskState::Failed), &ending)?,
        Next::Cancel => settle(db, &task, After::Final(TaskState::Cancelled), &ending)?,
        Next::RetryAt(run_at) if is_loss(&end.outcome) => {
            let max_lost = db.templates.get(&db.conn, task.template)?.retry.max_lost;
            settle_loss(
                db,
                &task,
                After::loss(&task, max_lost, Some(run_at)),
                &ending,
            )?
        }
        Next::RetryAt(run_at) => settle(db, &task, After::retry(&task, run_at), &ending)?,
        Next::GiveBack if task.cancel_requested => {
            settle(db, &task, After::Final(TaskState::Cancelled), &ending)?
        }
        Next::GiveBack => give_back(db, &task, end.finished_at)?,
    };
    Ok(Finished::Recorded(state))
}

/// Takes a claim back, as if it had never been made.
fn give_back(db: &mut Db, task: &Running, at: Timestamp) -> Result<TaskState, StorageError> {
    db.conn
        .prepare_cached(UNCLAIM)?
        .execute(params![task.seq, at.as_millis()])?;
    db.tallies.moved(TaskState::Running, TaskState::Pending, 1);
    Ok(TaskState::Pending)
}

fn is_loss(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Completed(_) => false,
        Outcome::Failed(failure) => failure.kind == FailureKind::Lost,
    }
}

/// Records an attempt that counts.
fn settle(
    db: &mut Db,
    task: &Running,
    after: After,
    ending: &Ending<'_>,
) -> Result<TaskState, StorageError> {
    record(&db.conn, task, ending)?;
    apply(db, task, after, ending.finished_at)
}

/// Records an attempt that was lost: counted as a loss, and not charged to the task if it goes on.
pub(super) fn settle_loss(
    db: &mut Db,
    task: &Running,
    after: After,
    ending: &Ending<'_>,
) -> Result<TaskState, StorageError> {
    let allowed_more = match after {
        After::Final(_) => 0,
        After::Again(_) => 1,
    };
    db.conn
        .prepare_cached(
            "UPDATE task SET lost = lost + 1, max_attempts = max_attempts + ?2 WHERE seq = ?1",
        )?
        .execute(params![task.seq, allowed_more])?;
    settle(db, task, after, ending)
}

fn apply(
    db: &mut Db,
    task: &Running,
    after: After,
    at: Timestamp,
) -> Result<TaskState, StorageError> {
    let state = match after {
        After::Final(state) => {
            db.conn.prepare_cached(END)?.execute(params![
                task.seq,
                state_number(state),
                at.as_millis()
            ])?;
            state
        }
        After::Again(run_at) => {
            db.conn.prepare_cached(AGAIN)?.execute(params![
                task.seq,
                at.as_millis(),
                run_at.map(Timestamp::as_millis)
            ])?;
            TaskState::Pending
        }
    };
    db.tallies.moved(TaskState::Running, state, 1);
    Ok(state)
}

fn record(conn: &Connection, task: &Running, ending: &Ending<'_>) -> Result<(), StorageError> {
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
    conn.prepare_cached(RECORD)?.execute(params![
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

/// Records progress; what comes from a stale holder is dropped.
pub(super) fn report_progress(
    db: &mut Db,
    reports: &[Progress],
    now: Timestamp,
) -> Result<(), StorageError> {
    let mut statement = db.conn.prepare_cached(
        "UPDATE task SET progress = ?3, progress_note = ?4, updated_at = ?5
         WHERE id = ?1 AND state = 2 AND fence = ?2",
    )?;
    for report in reports {
        // SQLite keeps no NaN; a fraction that is none is no progress.
        let fraction = if report.fraction.is_finite() {
            report.fraction
        } else {
            0.0
        };
        statement.execute(params![
            report.task_id.0.as_bytes(),
            report.fence.0.cast_signed(),
            fraction.clamp(0.0, 1.0),
            report.note,
            now.as_millis(),
        ])?;
    }
    Ok(())
}
