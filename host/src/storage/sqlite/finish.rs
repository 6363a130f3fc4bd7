//! Recording how attempts ended, and progress on the way.

use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::db::{Db, Tallies, state_number};
use super::rows::{ArtifactRow, FailureRow, to_json};
use super::templates::Templates;
use crate::domain::attempt::{
    Artifact, AttemptEnd, Captured, Failure, FailureKind, Next, Outcome, Streams, Usage,
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
        if task.attempt >= task.max_attempts {
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

/// What settling needs, prepared once for many attempts.
pub(super) struct Settling<'db> {
    conn: &'db Connection,
    templates: &'db mut Templates,
    tallies: &'db mut Tallies,
    record: CachedStatement<'db>,
    end: CachedStatement<'db>,
    again: CachedStatement<'db>,
}

impl<'db> Settling<'db> {
    pub(super) fn prepare(db: &'db mut Db) -> Result<Settling<'db>, StorageError> {
        let Db {
            conn,
            templates,
            tallies,
            random: _,
        } = db;
        let conn: &'db Connection = conn;
        Ok(Settling {
            conn,
            templates,
            tallies,
            record: conn.prepare_cached(RECORD)?,
            end: conn.prepare_cached(END)?,
            again: conn.prepare_cached(AGAIN)?,
        })
    }
}

/// Records ends in order.
pub(super) fn finish(db: &mut Db, ends: &[AttemptEnd]) -> Result<Vec<Finished>, StorageError> {
    let mut settling = Settling::prepare(db)?;
    let mut holder = settling.conn.prepare_cached(HOLDER)?;
    let mut finished = Vec::with_capacity(ends.len());
    for end in ends {
        let key = params![
            end.task_id.0.as_bytes(),
            end.fence.0.cast_signed(),
            end.attempt
        ];
        let task = holder.query_row(key, Running::from_row).optional()?;
        finished.push(match task {
            None => Finished::Stale,
            Some(task) => Finished::Recorded(settling.finish(&task, end)?),
        });
    }
    Ok(finished)
}

fn is_loss(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Completed(_) => false,
        Outcome::Failed(failure) => failure.kind == FailureKind::Lost,
    }
}

impl Settling<'_> {
    fn finish(&mut self, task: &Running, end: &AttemptEnd) -> Result<TaskState, StorageError> {
        let ending = Ending {
            finished_at: end.finished_at,
            outcome: &end.outcome,
            usage: end.usage,
            streams: &end.streams,
            artifacts: &end.artifacts,
        };
        if task.cancel_requested && !is_loss(&end.outcome) {
            return self.settle_cancelled(task, end.next, &ending);
        }
        match end.next {
            Next::Complete => self.settle(task, After::Final(TaskState::Completed), &ending),
            Next::Fail => self.settle(task, After::Final(TaskState::Failed), &ending),
            Next::Cancel => self.settle(task, After::Final(TaskState::Cancelled), &ending),
            Next::RetryAt(run_at) if is_loss(&end.outcome) => {
                let max_lost = self.max_lost(task)?;
                self.settle_loss(task, After::loss(task, max_lost, Some(run_at)), &ending)
            }
            Next::RetryAt(run_at) => self.settle(task, After::retry(task, run_at), &ending),
            Next::GiveBack => self.give_back(task, end.finished_at),
        }
    }

    /// Whoever asked for the cancel was told that it will be: a result that came all the same is
    /// not kept.
    fn settle_cancelled(
        &mut self,
        task: &Running,
        next: Next,
        ending: &Ending<'_>,
    ) -> Result<TaskState, StorageError> {
        let after = After::Final(TaskState::Cancelled);
        match next {
            Next::Complete => {
                let cancelled = Outcome::Failed(Failure::new(
                    FailureKind::Cancelled,
                    "the task was cancelled while it ran",
                ));
                let outcome = &cancelled;
                self.settle(task, after, &Ending { outcome, ..*ending })
            }
            Next::Fail | Next::Cancel | Next::RetryAt(_) | Next::GiveBack => {
                self.settle(task, after, ending)
            }
        }
    }

    /// Takes a claim back, as if it had never been made.
    fn give_back(&mut self, task: &Running, at: Timestamp) -> Result<TaskState, StorageError> {
        self.conn
            .prepare_cached(UNCLAIM)?
            .execute(params![task.seq, at.as_millis()])?;
        self.tallies
            .moved(TaskState::Running, TaskState::Pending, 1);
        Ok(TaskState::Pending)
    }

    /// How often the task may be lost.
    pub(super) fn max_lost(&mut self, task: &Running) -> Result<u32, StorageError> {
        Ok(self.templates.get(self.conn, task.template)?.retry.max_lost)
    }

    /// Records an attempt that was lost: counted as a loss, and not charged to the task if it
    /// goes on.
    pub(super) fn settle_loss(
        &mut self,
        task: &Running,
        after: After,
        ending: &Ending<'_>,
    ) -> Result<TaskState, StorageError> {
        let allowed_more = match after {
            After::Final(_) => 0,
            After::Again(_) => 1,
        };
        self.conn
            .prepare_cached(
                "UPDATE task SET lost = lost + 1, max_attempts = max_attempts + ?2 WHERE seq = ?1",
            )?
            .execute(params![task.seq, allowed_more])?;
        self.settle(task, after, ending)
    }

    /// Records an attempt and moves its task on.
    fn settle(
        &mut self,
        task: &Running,
        after: After,
        ending: &Ending<'_>,
    ) -> Result<TaskState, StorageError> {
        self.record(task, ending)?;
        let at = ending.finished_at.as_millis();
        let state = match after {
            After::Final(state) => {
                self.end
                    .execute(params![task.seq, state_number(state), at])?;
                state
            }
            After::Again(run_at) => {
                let run_at = run_at.map(Timestamp::as_millis);
                self.again.execute(params![task.seq, at, run_at])?;
                TaskState::Pending
            }
        };
        self.tallies.moved(TaskState::Running, state, 1);
        Ok(state)
    }

    fn record(&mut self, task: &Running, ending: &Ending<'_>) -> Result<(), StorageError> {
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
        self.record.execute(params![
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
