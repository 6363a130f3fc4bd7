//! The usual ends, in one statement: an attempt that completed, failed for good or is cancelled, of a task that nobody
//! asked to cancel and whose batch, if any, sets no bound. What the statement does not find is left to those who
//! look at each task (`finish`).

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;
use uuid::Uuid;

use super::{Told, attempt_of};
use crate::StorageError;
use crate::fate::{NodeAt, Place};
use crate::postgres::fault::{Fault, get};
use crate::postgres::params::{Params, params};
use crate::postgres::places::Places;
use crate::postgres::release;
use crate::postgres::settle::{Left, ROWS_BYTES_MAX, ROWS_MAX, Settling, node_at};
use crate::postgres::tx::Tx;
use crate::rows::{EndedRow, Ending, state_number};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::claim::{AttemptEnd, Next};
use cofferdam_domain::state::TaskState;

/// A fence is that of a running task, so `state` is not asked for: with it the planner would take the
/// index of running tasks, which its statistics call empty, for each end anew.
const END: &str = "
    WITH e AS MATERIALIZED (
        SELECT s.seq, u.* FROM unnest($1::uuid[], $2::int8[], $3::int4[], $4::int2[], $5::text[],
            $7::int8[], $8::text[], $9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::int8[],
            $14::int2[], $15::text[], $16::text[], $17::bytea[], $18::bytea[], $19::bytea[],
            $20::bytea[], $21::text[], $22::int8[])
            WITH ORDINALITY AS u(id, fence, attempt, state, error_kind, finished_at, failure,
                duration_us, cpu_us, fuel, peak_memory_bytes, disk_bytes, truncated, artifacts,
                content_type, output, stdout, stderr, log, egress, kept_bytes, place)
        JOIN cofferdam.task_spec s ON s.id = u.id
        ORDER BY s.seq, u.place),
    m AS (
        UPDATE cofferdam.task t SET state = e.state, updated_at = e.finished_at,
            finished_at = e.finished_at, fence = NULL, error_kind = e.error_kind,
            change = (SELECT cofferdam.change_number($6)) + e.place,
            kept_bytes = t.kept_bytes + e.kept_bytes
        FROM e WHERE t.seq = e.seq AND t.fence = e.fence AND t.attempt = e.attempt
            AND NOT t.cancel_requested AND t.batch_bound IS NULL
        RETURNING t.worker, t.claimed_at, t.tenant, t.batch, t.workflow, t.place AS in_workflow, e.*),
    r AS (
        INSERT INTO cofferdam.attempt (seq, number, worker, started_at, finished_at, failure,
            duration_us, cpu_us, fuel, peak_memory_bytes, disk_bytes, truncated, artifacts,
            content_type, output, stdout, stderr, log, egress, tenant)
        SELECT seq, attempt, worker, claimed_at, finished_at, failure, duration_us, cpu_us, fuel,
            peak_memory_bytes, disk_bytes, truncated, artifacts, content_type, output, stdout,
            stderr, log, egress, tenant
        FROM m)
    SELECT place, tenant, kept_bytes,
        (SELECT c.batch FROM cofferdam.callback c WHERE c.batch = m.batch), workflow, in_workflow
    FROM m";

/// Ends for one statement, column by column.
#[derive(Default)]
struct Ends {
    /// Where each of them is among those that were told, and the state of its task afterwards.
    places: Vec<(usize, TaskState)>,
    ids: Vec<Uuid>,
    fences: Vec<i64>,
    attempts: Vec<i32>,
    states: Vec<i16>,
    error_kinds: Vec<Option<&'static str>>,
    kept_bytes: Vec<i64>,
    left: Left,
}

/// Locks the workflows that the ends tell of, and records those that are as usual; notes their batches and nodes. Gives
/// where they are among those that were told with the states of their tasks, and which workflows are locked.
pub(super) async fn end(
    tx: &mut Tx,
    told: &[Told],
    settling: &mut Settling,
) -> Result<(HashMap<usize, TaskState>, HashSet<i64>), Fault> {
    let (mut recorded, mut locked) = (HashMap::new(), HashSet::new());
    let workflows = told.iter().filter_map(|(end, _)| end.workflow);
    let workflows: Vec<Uuid> = workflows.map(|workflow| workflow.0).collect();
    let mut lock = (!workflows.is_empty()).then(|| release::lock(workflows));
    let mut before = 0;
    for ends in usual(told)? {
        let some = i64::try_from(ends.places.len()).map_err(StorageError::corrupt)?;
        let (ended, more) = ends
            .write(tx, before, &mut settling.places, lock.take())
            .await?;
        locked.extend(more);
        for (place, state, node) in ended {
            recorded.insert(place, state);
            if let Some(node) = node {
                let (end, _) = &told[place];
                let kind = end.outcome.failure_kind();
                settling.ended.push(node, state, kind, end.finished_at);
            }
        }
        before += some;
    }
    if let Some((sql, asked)) = lock {
        locked.extend(numbers(&tx.query(sql, asked).await?)?);
    }
    Ok((recorded, locked))
}

/// The final state of an end that is as usual.
fn usual_state(end: &AttemptEnd) -> Option<TaskState> {
    match end.next {
        Next::Complete => Some(TaskState::Completed),
        Next::Fail => Some(TaskState::Failed),
        Next::Cancel => Some(TaskState::Cancelled),
        Next::RetryAt(_) | Next::GiveBack | Next::Postpone(_) => None,
    }
}

/// The usual ends. If several ends of one task are told, only the first may count, so only that may be
/// one of these.
fn usual(told: &[Told]) -> Result<Vec<Ends>, StorageError> {
    let mut all: Vec<Ends> = Vec::new();
    let mut seen = HashSet::new();
    for (place, (end, output)) in told.iter().enumerate() {
        let is_first = seen.insert(end.task_id);
        let (true, Some(state), None) = (is_first, usual_state(end), output) else {
            continue;
        };
        let row = Ending::of(end, &end.outcome, None).row()?;
        let bytes = row.bytes();
        let has_room = |ends: &Ends| {
            let has_bytes = ends.left.bytes.saturating_add(bytes) <= ROWS_BYTES_MAX;
            ends.places.len() < ROWS_MAX && has_bytes
        };
        if !all.last().is_some_and(has_room) {
            all.push(Ends::default());
        }
        if let Some(ends) = all.last_mut() {
            ends.push(place, end, state, row);
        }
    }
    Ok(all)
}

impl Ends {
    fn push(&mut self, place: usize, end: &AttemptEnd, state: TaskState, row: EndedRow<'_>) {
        self.places.push((place, state));
        self.ids.push(end.task_id.0);
        self.fences.push(end.fence.0.cast_signed());
        self.attempts.push(attempt_of(end));
        self.states.push(state_number(state).into());
        let failure = end.outcome.failure_kind();
        self.error_kinds.push(failure.map(FailureKind::as_str));
        self.kept_bytes.push(row.kept_bytes);
        self.left.push(end.finished_at, row);
    }

    /// Sends them behind what locks their workflows; their changes are numbered behind so many of the same
    /// transaction. Gives those that were recorded, and which workflows are locked now.
    async fn write(
        self,
        tx: &mut Tx,
        before: i64,
        batches: &mut Places,
        lock: Option<(&'static str, Params)>,
    ) -> Result<(Vec<(usize, TaskState, Option<NodeAt>)>, Vec<i64>), Fault> {
        let mut params = params![
            self.ids,
            self.fences,
            self.attempts,
            self.states,
            self.error_kinds,
            before,
        ];
        params.extend(self.left.into_params());
        params.extend(params![self.kept_bytes]);
        let mut recorded = Vec::with_capacity(self.places.len());
        let (locked, rows) = match lock {
            Some(lock) => tx.query_both(lock, (END, params)).await?,
            None => (Vec::new(), tx.query(END, params).await?),
        };
        for row in rows {
            let place = usize::try_from(get::<i64>(&row, 0)? - 1).map_err(StorageError::corrupt)?;
            let told = self.places.get(place).copied();
            let (place, state) = told.ok_or_else(|| StorageError::corrupt("an end nobody told"))?;
            let tenant = get(&row, 1)?;
            tx.moved(tenant, TaskState::Running, state);
            tx.kept(tenant, get(&row, 2)?);
            let batch: Option<Uuid> = get(&row, 3)?;
            batches.freed(batch.map(|batch| Place {
                batch: *batch.as_bytes(),
                bound: None,
            }));
            recorded.push((place, state, node_at(&row, 4)?));
        }
        Ok((recorded, numbers(&locked)?))
    }
}

/// The numbers in the rows of what locks workflows.
fn numbers(rows: &[Row]) -> Result<Vec<i64>, StorageError> {
    rows.iter().map(|row| get(row, 0)).collect()
}
