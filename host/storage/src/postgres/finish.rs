//! Records the ends of attempts, as their workers report them, and progress before that.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::blobs::Stored;
use super::call::Call;
use super::fault::{Fault, get};
use super::params::{params, text};
use super::settle::{RunningTask, Settling, running, running_columns};
use super::templates;
use super::tx::{Mode, Tx};
use crate::fate::{self, Fate};
use crate::rows::Ending;
use crate::{Finished, Progress, StorageError};
use cofferdam_domain::attempt::Outcome;
use cofferdam_domain::claim::{AttemptEnd, Next};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

/// The tasks whose current holders tell an end, locked in one order for all who lock several.
const HOLDERS: &str = concat!(
    "SELECT ",
    running_columns!(),
    ", e.place
     FROM unnest($1::uuid[], $2::int8[], $3::int4[]) WITH ORDINALITY AS e(id, fence, attempt, place)
     JOIN cofferdam.task_spec s ON s.id = e.id JOIN cofferdam.task t ON t.seq = s.seq
     WHERE t.state = 2 AND t.fence = e.fence AND t.attempt = e.attempt
     ORDER BY t.seq, e.place FOR UPDATE OF t"
);
const PROGRESS: &str = "
    WITH u AS (
        SELECT DISTINCT ON (s.seq) s.seq, r.fence, r.fraction, r.note, r.place
        FROM unnest($1::uuid[], $2::int8[], $3::float8[], $4::text[])
            WITH ORDINALITY AS r(id, fence, fraction, note, place)
        JOIN cofferdam.task_spec s ON s.id = r.id
        JOIN cofferdam.task t ON t.seq = s.seq AND t.state = 2 AND t.fence = r.fence
        ORDER BY s.seq, r.place DESC),
    l AS (
        SELECT t.seq FROM cofferdam.task t JOIN u ON u.seq = t.seq
        WHERE t.state = 2 AND t.fence = u.fence ORDER BY t.seq FOR UPDATE OF t)
    UPDATE cofferdam.task t SET progress = u.fraction, progress_note = u.note, updated_at = $5,
        change = (SELECT cofferdam.change_number(0)) + u.place
    FROM u JOIN l ON l.seq = u.seq
    WHERE t.seq = u.seq AND t.state = 2 AND t.fence = u.fence";

/// An end, and where its output is if that is too long for a row.
pub(super) type Told = (AttemptEnd, Option<Stored>);

/// Records ends, in order.
pub(super) async fn finish(call: &Call, ends: &[Told]) -> Result<Vec<Finished>, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let holders = holders(&mut tx, ends).await?;
    let max_lost = max_lost(&mut tx, ends, &holders).await?;
    let mut settling = Settling::default();
    let mut finished = Vec::with_capacity(ends.len());
    for (place, told) in ends.iter().enumerate() {
        finished.push(match holders.get(&place) {
            None => Finished::Stale,
            Some(task) => {
                let max_lost = || {
                    let template = task.task.template;
                    max_lost.get(&template).cloned().unwrap_or_else(|| {
                        Err(StorageError::corrupt("a template was not looked for"))
                    })
                };
                Finished::Recorded(settle(&mut settling, task, told, max_lost)?)
            }
        });
    }
    match holders.is_empty() {
        true => tx.rollback().await?,
        false => {
            settling.write(&mut tx);
            tx.commit().await?;
        }
    }
    Ok(finished)
}

/// The holder of each place at which its end is told for the first time.
async fn holders(tx: &mut Tx, ends: &[Told]) -> Result<HashMap<usize, RunningTask>, Fault> {
    let ids: Vec<Uuid> = ends.iter().map(|(end, _)| end.task_id.0).collect();
    let fences = ends.iter().map(|(end, _)| end.fence.0.cast_signed());
    let fences: Vec<i64> = fences.collect();
    // A number that is too large belongs to no attempt, and -1 neither.
    let attempts = ends
        .iter()
        .map(|(end, _)| i32::try_from(end.attempt).unwrap_or(-1));
    let attempts: Vec<i32> = attempts.collect();
    let mut seen = HashSet::new();
    let mut holders = HashMap::new();
    for row in tx.query(HOLDERS, params![ids, fences, attempts]).await? {
        let task = running(&row)?;
        let place: i64 = get(&row, 12)?;
        if seen.insert(task.task.seq) {
            let place = usize::try_from(place - 1).map_err(StorageError::corrupt)?;
            holders.insert(place, task);
        }
    }
    Ok(holders)
}

/// How often those tasks may be lost for which that matters, by their templates.
async fn max_lost(
    tx: &mut Tx,
    ends: &[Told],
    holders: &HashMap<usize, RunningTask>,
) -> Result<HashMap<i64, Result<u32, StorageError>>, Fault> {
    let mut known = HashMap::new();
    for (place, task) in holders {
        let (end, _) = &ends[*place];
        let matters = fate::is_loss(end) && matches!(end.next, Next::RetryAt(_));
        if matters && !known.contains_key(&task.task.template) {
            let max_lost = max_lost_of(tx, task.task.template).await?;
            known.insert(task.task.template, max_lost);
        }
    }
    Ok(known)
}

/// How often a task of that template may be lost, or that nobody can read it.
pub(super) async fn max_lost_of(
    tx: &mut Tx,
    template: i64,
) -> Result<Result<u32, StorageError>, Fault> {
    match templates::by_id(tx, template).await {
        Ok(template) => Ok(Ok(template.retry.max_lost)),
        Err(Fault {
            error: error @ StorageError::Corrupt(_),
            ..
        }) => Ok(Err(error)),
        Err(fault) => Err(fault),
    }
}

fn settle(
    settling: &mut Settling,
    task: &RunningTask,
    (end, output): &Told,
    max_lost: impl FnOnce() -> Result<u32, StorageError>,
) -> Result<TaskState, StorageError> {
    match fate::of_end(&task.task, end, max_lost)? {
        Fate::GivenBack(run_at) => settling.give_back(task, end.finished_at, run_at),
        Fate::Settled {
            after,
            is_loss,
            instead,
        } => {
            let instead = instead.map(Outcome::Failed);
            let ending = Ending {
                finished_at: end.finished_at,
                outcome: instead.as_ref().unwrap_or(&end.outcome),
                output: output.as_ref().map(Stored::hash),
                usage: end.usage,
                streams: &end.streams,
                artifacts: &end.artifacts,
                left_out: end.left_out,
            };
            settling.settle(task, after, is_loss, &ending)
        }
    }
}

/// Records progress; progress from a stale holder is dropped.
pub(super) async fn report_progress(
    call: &Call,
    reports: &[Progress],
    now: Timestamp,
) -> Result<(), Fault> {
    if reports.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = reports.iter().map(|report| report.task_id.0).collect();
    let fences = reports.iter().map(|report| report.fence.0.cast_signed());
    let fences: Vec<i64> = fences.collect();
    let fractions: Vec<f64> = reports.iter().map(Progress::kept_fraction).collect();
    let notes: Vec<String> = reports.iter().map(|report| text(&report.note)).collect();
    let mut tx = call.begin(Mode::Hasty).await?;
    tx.later(
        PROGRESS,
        params![ids, fences, fractions, notes, now.as_millis()],
    );
    tx.commit().await
}
