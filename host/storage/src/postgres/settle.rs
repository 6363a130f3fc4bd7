//! Writing down what becomes of tasks whose attempts ended: many in one statement.

mod columns;

use tokio_postgres::Row;
use uuid::Uuid;

pub(super) use self::columns::{Left, number};
use self::columns::{MOVE, Moved, Moves, RECORD, Records};
use super::fault::{Fault, get, get_u32};
use super::params::{Params, Raw, params};
use super::places::{Places, place_of};
use super::release::{EndedNodes, Heir, Released};
use super::tx::Tx;
use crate::StorageError;
use crate::fate::{After, NodeAt, Running};
use crate::rows::{EndedRow, Ending};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

/// The columns of a [`RunningTask`], which is locked.
macro_rules! running_columns {
    () => {
        "t.seq, s.template, t.attempt, t.max_attempts, t.lost, t.cancel_requested, t.worker,
         t.claimed_at, t.run_at, s.id, t.batch, t.batch_bound, t.tenant, t.workflow, t.place"
    };
}
pub(super) use running_columns;

const BY_SEQ: &str = concat!(
    "SELECT ",
    running_columns!(),
    " FROM cofferdam.task t JOIN cofferdam.task_spec s ON s.seq = t.seq
      WHERE t.seq = $1 FOR UPDATE OF t"
);
const OUTPUT: &str = "
    INSERT INTO cofferdam.output (seq, number, blob, size_bytes, tenant) VALUES ($1, $2, $3, $4, $5)";

/// Rows of one statement, and their bytes.
pub(super) const ROWS_MAX: usize = 2000;
pub(super) const ROWS_BYTES_MAX: usize = 16 << 20;

/// A task that runs, and what of its row the rules do not ask for.
pub(super) struct RunningTask {
    pub(super) task: Running,
    pub(super) run_at: i64,
    pub(super) id: Uuid,
}

/// The task in a row of `running_columns`.
pub(super) fn running(row: &Row) -> Result<RunningTask, StorageError> {
    Ok(RunningTask {
        task: Running {
            seq: get(row, 0)?,
            tenant: get(row, 12)?,
            template: get(row, 1)?,
            attempt: get_u32(row, 2)?,
            max_attempts: get_u32(row, 3)?,
            lost: get_u32(row, 4)?,
            cancel_requested: get(row, 5)?,
            worker: *get::<Uuid>(row, 6)?.as_bytes(),
            claimed_at: get(row, 7)?,
            place: place_of(row, 10)?,
            node: node_at(row, 13)?,
            told: None,
        },
        run_at: get(row, 8)?,
        id: get(row, 9)?,
    })
}

/// The node that columns `first` and the next tell of.
pub(super) fn node_at(row: &Row, first: usize) -> Result<Option<NodeAt>, StorageError> {
    let (workflow, place): (Option<i64>, Option<i32>) = (get(row, first)?, get(row, first + 1)?);
    let both = workflow.zip(place.map(i32::cast_unsigned));
    Ok(both.map(|(workflow, place)| NodeAt { workflow, place }))
}

/// The running task of that number.
pub(super) async fn running_by_seq(tx: &mut Tx, seq: i64) -> Result<RunningTask, Fault> {
    let row = tx
        .query_opt(BY_SEQ, params![seq])
        .await?
        .ok_or_else(|| StorageError::corrupt("a claimed task is not there"))?;
    Ok(running(&row)?)
}

/// Ends that are written down together.
#[derive(Default)]
pub(super) struct Settling {
    moves: Moves,
    records: Vec<Records>,
    outputs: Vec<Params>,
    /// Whose task came into which state, and the bytes that are kept of its attempt.
    states: Vec<(String, TaskState, i64)>,
    /// The batches of those that ended, here and at once.
    pub(super) places: Places,
    /// The nodes among those.
    pub(super) ended: EndedNodes,
}

impl Settling {
    /// Notes that an attempt ended and where its task goes. A loss is not charged to a task that goes
    /// on.
    pub(super) fn settle(
        &mut self,
        running: &RunningTask,
        after: After,
        is_loss: bool,
        ending: &Ending<'_>,
    ) -> Result<TaskState, StorageError> {
        let task = &running.task;
        let row = ending.row()?;
        let kept_bytes = row.kept_bytes;
        self.record(task, ending, row)?;
        let (state, run_at) = match after {
            After::Final(state) => {
                self.places.freed(task.place);
                if let Some(node) = task.node {
                    let kind = ending.outcome.failure_kind();
                    self.ended.push(node, state, kind, ending.finished_at);
                }
                (state, None)
            }
            After::Again(run_at) => (TaskState::Pending, run_at),
        };
        let more = if is_loss { after.allowed_more() } else { 0 };
        let moved = Moved {
            state,
            attempt: task.attempt,
            max_attempts: task.max_attempts + more,
            lost: task.lost + u32::from(is_loss),
            run_at: run_at.map_or(running.run_at, Timestamp::as_millis),
            at: ending.finished_at,
            has_run: true,
            ended: Some(ending.outcome.failure_kind()),
            kept_bytes,
        };
        self.moves.push(task, &moved)?;
        self.states.push((task.tenant.clone(), state, kept_bytes));
        Ok(state)
    }

    /// Notes that a claim is taken back, as if it had never been made.
    pub(super) fn give_back(
        &mut self,
        running: &RunningTask,
        at: Timestamp,
        run_at: Option<Timestamp>,
    ) -> Result<TaskState, StorageError> {
        let task = &running.task;
        let later = run_at.map_or(i64::MIN, Timestamp::as_millis);
        let moved = Moved {
            state: TaskState::Pending,
            attempt: task.attempt - 1,
            max_attempts: task.max_attempts,
            lost: task.lost,
            run_at: running.run_at.max(later),
            at,
            has_run: task.attempt > 1,
            ended: None,
            kept_bytes: 0,
        };
        self.moves.push(task, &moved)?;
        self.states
            .push((task.tenant.clone(), TaskState::Pending, 0));
        Ok(TaskState::Pending)
    }

    /// Sends it all with the commit, but for what it releases of workflows that are locked, which the heir claims.
    pub(super) async fn write(self, tx: &mut Tx, heir: Option<Heir>) -> Result<Released, Fault> {
        let released = self.ended.release(tx, heir).await?;
        for (tenant, state, kept_bytes) in self.states {
            tx.moved(&tenant, TaskState::Running, state);
            tx.kept(&tenant, kept_bytes);
        }
        if !self.moves.seqs.is_empty() {
            tx.later(MOVE, self.moves.into_params());
        }
        for records in self.records {
            tx.later(RECORD, records.into_params());
        }
        for output in self.outputs {
            tx.later(OUTPUT, output);
        }
        self.places.fill(tx);
        Ok(released)
    }

    fn record(
        &mut self,
        task: &Running,
        ending: &Ending<'_>,
        row: EndedRow<'_>,
    ) -> Result<(), StorageError> {
        let number = number(task.attempt)?;
        if let Some((blob, size_bytes)) = row.elsewhere {
            let blob = Raw::copy(&blob.0);
            let owner = task.tenant.clone();
            self.outputs
                .push(params![task.seq, number, blob, size_bytes, owner]);
        }
        let bytes = row.bytes();
        let has_room = |records: &Records| {
            let has_bytes = records.left.bytes.saturating_add(bytes) <= ROWS_BYTES_MAX;
            records.seqs.len() < ROWS_MAX && has_bytes
        };
        if !self.records.last().is_some_and(has_room) {
            self.records.push(Records::default());
        }
        if let Some(records) = self.records.last_mut() {
            records.push(task, number, ending.finished_at, row);
        }
        Ok(())
    }
}
