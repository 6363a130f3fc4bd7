//! Records the ends of attempts, as their workers report them, and progress before that.
//!
//! The usual ends take one statement (`at_once`). Of all others the task is locked and looked at, and the
//! rules decide.

mod at_once;

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::blobs::Stored;
use super::call::Call;
use super::claim;
use super::fault::{Fault, get};
use super::params::{params, text};
use super::settle::{RunningTask, Settling, running, running_columns};
use super::templates;
use super::tx::{Mode, Tx};
use crate::fate::{self, Fate};
use crate::rows::Ending;
use crate::{Finished, Heir, Progress, Recorded, StorageError};
use cofferdam_domain::attempt::Outcome;
use cofferdam_domain::claim::{AttemptEnd, Next};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

/// The tasks whose current holders tell an end, locked in one order for all who lock several. A fence is
/// that of a running task, so `state` is not asked for: with it the planner would go through the index of
/// running tasks, which its statistics call empty, for each end anew.
const HOLDERS: &str = concat!(
    "SELECT ",
    running_columns!(),
    ", e.place
     FROM unnest($1::uuid[], $2::int8[], $3::int4[], $4::int8[]) AS e(id, fence, attempt, place)
     JOIN cofferdam.task_spec s ON s.id = e.id JOIN cofferdam.task t ON t.seq = s.seq
     WHERE t.fence = e.fence AND t.attempt = e.attempt
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

/// Records ends, in order; the heir claims what they release, if its tenant's turn it is.
pub(super) async fn record(
    call: &Call,
    ends: &[Told],
    heir: Option<Heir>,
) -> Result<Recorded, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let mut finished = vec![Finished::Stale; ends.len()];
    let mut settling = Settling::default();
    let (recorded, locked) = at_once::end(&mut tx, ends, &mut settling).await?;
    for (place, state) in &recorded {
        finished[*place] = Finished::Recorded(*state);
    }
    let left = (0..ends.len()).filter(|place| !recorded.contains_key(place));
    let holders = holders(&mut tx, ends, left.collect()).await?;
    if recorded.is_empty() && holders.is_empty() {
        tx.rollback().await?;
        return Ok(Recorded {
            finished,
            ..Recorded::default()
        });
    }
    let max_lost = max_lost(&mut tx, ends, &holders).await?;
    for (place, task) in &holders {
        let max_lost = || {
            let known = max_lost.get(&task.task.template).cloned();
            known.unwrap_or_else(|| Err(StorageError::corrupt("a template was not looked for")))
        };
        let state = settle(&mut settling, task, &ends[*place], max_lost)?;
        finished[*place] = Finished::Recorded(state);
    }
    settling.ended.lock(&mut tx, &locked).await?;
    let heir = heir.filter(|_| !settling.ended.is_empty());
    let of = heir.and_then(|heir| claim::heir(call, heir));
    let released = settling.write(&mut tx, of).await?;
    let claims = match heir {
        Some(heir) if !released.claimed.is_empty() => {
            claim::inherited(&mut tx, released.claimed, heir.now).await?
        }
        Some(_) | None => Vec::new(),
    };
    tx.commit().await?;
    Ok(Recorded {
        finished,
        claims,
        is_more: released.is_more,
    })
}

/// The holder of each of the places at which its end is told for the first time.
async fn holders(
    tx: &mut Tx,
    ends: &[Told],
    places: Vec<usize>,
) -> Result<BTreeMap<usize, RunningTask>, Fault> {
    let mut holders = BTreeMap::new();
    if places.is_empty() {
        return Ok(holders);
    }
    let told = || places.iter().map(|place| &ends[*place].0);
    let ids: Vec<Uuid> = told().map(|end| end.task_id.0).collect();
    let fences: Vec<i64> = told().map(|end| end.fence.0.cast_signed()).collect();
    let attempts: Vec<i32> = told().map(attempt_of).collect();
    let numbers: Result<Vec<i64>, _> = places.iter().map(|place| i64::try_from(*place)).collect();
    let numbers = numbers.map_err(StorageError::corrupt)?;
    let mut seen = HashSet::new();
    let wanted = params![ids, fences, attempts, numbers];
    for row in tx.query(HOLDERS, wanted).await? {
        let task = running(&row)?;
        let place: i64 = get(&row, 15)?;
        if seen.insert(task.task.seq) {
            let place = usize::try_from(place).map_err(StorageError::corrupt)?;
            holders.insert(place, task);
        }
    }
    Ok(holders)
}

/// The number of an attempt. One that is too large belongs to no attempt, and -1 neither.
fn attempt_of(end: &AttemptEnd) -> i32 {
    i32::try_from(end.attempt).unwrap_or(-1)
}

/// How often those tasks may be lost for which that matters, by their templates.
async fn max_lost(
    tx: &mut Tx,
    ends: &[Told],
    holders: &BTreeMap<usize, RunningTask>,
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
            let outcome = instead.as_ref().unwrap_or(&end.outcome);
            let ending = Ending::of(end, outcome, output.as_ref().map(Stored::hash));
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
