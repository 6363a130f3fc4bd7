//! Records the ends of attempts, as their workers report them, and progress before that.

use rusqlite::{OptionalExtension, params};

use super::beside::Fresh;
use super::db::Db;
use super::ended::{Ending, Running};
use super::settle::{After, Settling};
use crate::blobs::BlobHash;
use crate::{Finished, Progress, StorageError};
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome};
use cofferdam_domain::claim::{AttemptEnd, Next};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

const HOLDER: &str = "
    SELECT seq, template, attempt, max_attempts, lost, cancel_requested, worker, claimed_at
    FROM task WHERE id = ?1 AND state = 2 AND fence = ?2 AND attempt = ?3";
const UNCLAIM: &str = "
    UPDATE task SET state = 1, fence = NULL, updated_at = ?2, change = ?3, attempt = attempt - 1,
        worker = iif(attempt = 1, NULL, worker), claimed_at = iif(attempt = 1, NULL, claimed_at),
        run_at = max(run_at, coalesce(?4, run_at))
    WHERE seq = ?1";

/// Records ends in order. An output that is already beside the database comes with its place.
pub(super) fn finish(
    db: &mut Db,
    ends: &[(AttemptEnd, Option<Fresh>)],
) -> Result<Vec<Finished>, StorageError> {
    let mut settling = Settling::prepare(db)?;
    let mut holder = settling.conn.prepare_cached(HOLDER)?;
    let mut finished = Vec::with_capacity(ends.len());
    for (end, output) in ends {
        let key = params![
            end.task_id.0.as_bytes(),
            end.fence.0.cast_signed(),
            end.attempt
        ];
        let task = holder.query_row(key, Running::from_row).optional()?;
        finished.push(match task {
            None => Finished::Stale,
            Some(task) => {
                Finished::Recorded(settling.finish(&task, end, output.as_ref().map(Fresh::hash))?)
            }
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
    fn finish(
        &mut self,
        task: &Running,
        end: &AttemptEnd,
        output: Option<BlobHash>,
    ) -> Result<TaskState, StorageError> {
        let ending = Ending {
            finished_at: end.finished_at,
            outcome: &end.outcome,
            output,
            usage: end.usage,
            streams: &end.streams,
            artifacts: &end.artifacts,
            left_out: end.left_out,
        };
        if task.cancel_requested {
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
            Next::GiveBack => self.give_back(task, end.finished_at, None),
            Next::Postpone(run_at) => self.give_back(task, end.finished_at, Some(run_at)),
        }
    }

    /// The caller was promised the cancel, so neither a loss nor a returned claim starts the task
    /// again. If the guest still gave a result, it is kept.
    fn settle_cancelled(
        &mut self,
        task: &Running,
        next: Next,
        ending: &Ending<'_>,
    ) -> Result<TaskState, StorageError> {
        let after = After::Final(TaskState::Cancelled);
        match next {
            Next::GiveBack | Next::Postpone(_) => {
                let why = "the task was cancelled before this attempt began";
                let outcome = &Outcome::Failed(Failure::new(FailureKind::Cancelled, why));
                self.settle(task, after, &Ending { outcome, ..*ending })
            }
            Next::Complete | Next::Fail | Next::Cancel | Next::RetryAt(_) => {
                match is_loss(ending.outcome) {
                    true => self.settle_loss(task, after, ending),
                    false => self.settle(task, after, ending),
                }
            }
        }
    }

    /// Takes a claim back, as if it had not been made.
    fn give_back(
        &mut self,
        task: &Running,
        at: Timestamp,
        run_at: Option<Timestamp>,
    ) -> Result<TaskState, StorageError> {
        self.conn.prepare_cached(UNCLAIM)?.execute(params![
            task.seq,
            at.as_millis(),
            self.tallies.next_change(),
            run_at.map(Timestamp::as_millis)
        ])?;
        self.tallies
            .moved(TaskState::Running, TaskState::Pending, 1);
        Ok(TaskState::Pending)
    }
}

/// Records progress; progress from a stale holder is dropped.
pub(super) fn report_progress(
    db: &mut Db,
    reports: &[Progress],
    now: Timestamp,
) -> Result<(), StorageError> {
    let Db { conn, tallies, .. } = db;
    let mut statement = conn.prepare_cached(
        "UPDATE task SET progress = ?3, progress_note = ?4, updated_at = ?5, change = ?6
         WHERE id = ?1 AND state = 2 AND fence = ?2",
    )?;
    for report in reports {
        // SQLite cannot keep NaN, so it is dropped.
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
            tallies.next_change(),
        ])?;
    }
    Ok(())
}
