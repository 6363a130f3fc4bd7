//! Records the ends of attempts, as their workers report them, and progress before that.

use rusqlite::{OptionalExtension, params};

use super::beside::Fresh;
use super::db::Db;
use super::inherit;
use super::settle::{Settling, running};
use crate::blobs::BlobHash;
use crate::fate::{self, Fate, Running};
use crate::rows::Ending;
use crate::{Finished, Heir, Progress, Recorded, StorageError};
use cofferdam_domain::attempt::Outcome;
use cofferdam_domain::claim::AttemptEnd;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

const HOLDER: &str = "
    SELECT seq, template, attempt, max_attempts, lost, cancel_requested, worker, claimed_at,
        batch, batch_bound, tenant, callback, workflow, place
    FROM task WHERE id = ?1 AND state = 2 AND fence = ?2 AND attempt = ?3";
const UNCLAIM: &str = "
    UPDATE task SET state = 1, fence = NULL, updated_at = ?2, change = ?3, attempt = attempt - 1,
        worker = iif(attempt = 1, NULL, worker), claimed_at = iif(attempt = 1, NULL, claimed_at),
        run_at = max(run_at, coalesce(?4, run_at))
    WHERE seq = ?1";

/// Records ends in order. An output that is already beside the database comes with its place. The heir claims what
/// they release.
pub(super) fn record(
    db: &mut Db,
    ends: &[(AttemptEnd, Option<Fresh>)],
    heir: Option<Heir>,
) -> Result<Recorded, StorageError> {
    let mut settling = Settling::prepare(db)?;
    let mut holder = settling.conn.prepare_cached(HOLDER)?;
    let mut finished = Vec::with_capacity(ends.len());
    for (end, output) in ends {
        let key = params![
            end.task_id.0.as_bytes(),
            end.fence.0.cast_signed(),
            end.attempt
        ];
        let task = holder.query_row(key, running).optional()?;
        finished.push(match task {
            None => Finished::Stale,
            Some(task) => {
                Finished::Recorded(settling.finish(&task, end, output.as_ref().map(Fresh::hash))?)
            }
        });
    }
    drop(holder);
    let freed = settling.pass_on()?;
    let (claims, is_more) = inherit::inherit(db, &freed, heir)?;
    Ok(Recorded {
        finished,
        claims,
        is_more,
    })
}

impl Settling<'_> {
    fn finish(
        &mut self,
        task: &Running,
        end: &AttemptEnd,
        output: Option<BlobHash>,
    ) -> Result<TaskState, StorageError> {
        match fate::of_end(task, end, || self.max_lost(task))? {
            Fate::GivenBack(run_at) => self.give_back(task, end.finished_at, run_at),
            Fate::Settled {
                after,
                is_loss,
                instead,
            } => {
                let instead = instead.map(Outcome::Failed);
                let outcome = instead.as_ref().unwrap_or(&end.outcome);
                let ending = Ending::of(end, outcome, output);
                match is_loss {
                    true => self.settle_loss(task, after, &ending),
                    false => self.settle(task, after, &ending),
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
            .moved(&task.tenant, TaskState::Running, TaskState::Pending, 1);
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
        statement.execute(params![
            report.task_id.0.as_bytes(),
            report.fence.0.cast_signed(),
            report.kept_fraction(),
            report.note,
            now.as_millis(),
            tallies.next_change(),
        ])?;
    }
    Ok(())
}
