//! Writing down what becomes of a task whose attempt ended.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection, Row, params};

use super::db::{Db, Tallies};
use super::release::{self, EndedNode, Freed};
use super::templates::Templates;
use super::{batch, callbacks, record};
use crate::StorageError;
use crate::fate::{After, NodeAt, Place, Running};
use crate::rows::{Ending, state_number};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::callback::Ends;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

const END: &str = "
    UPDATE task SET state = ?2, fence = NULL, cancel_requested = 0, updated_at = ?3,
        finished_at = ?3, change = ?4, error_kind = ?5, kept_bytes = kept_bytes + ?6 WHERE seq = ?1";
const AGAIN: &str = "
    UPDATE task SET state = 1, fence = NULL, cancel_requested = 0, updated_at = ?2,
        run_at = coalesce(?3, run_at), change = ?4, error_kind = ?5, kept_bytes = kept_bytes + ?6
    WHERE seq = ?1";

/// The statements for settling, prepared once for many attempts.
pub(super) struct Settling<'db> {
    pub(super) conn: &'db Connection,
    templates: &'db mut Templates,
    pub(super) tallies: &'db mut Tallies,
    record: CachedStatement<'db>,
    end: CachedStatement<'db>,
    again: CachedStatement<'db>,
    /// Batches of which a task ended.
    freed: BTreeSet<Place>,
    /// Nodes of workflows that are final now, and since when.
    ended: Vec<(EndedNode, Timestamp)>,
}

impl<'db> Settling<'db> {
    pub(super) fn prepare(db: &'db mut Db) -> Result<Settling<'db>, StorageError> {
        let Db {
            conn,
            templates,
            tallies,
            random: _,
            budget: _,
            rules: _,
            turns: _,
            serving: _,
            looked: _,
        } = db;
        let conn: &'db Connection = conn;
        Ok(Settling {
            conn,
            templates,
            tallies,
            record: conn.prepare_cached(record::RECORD)?,
            end: conn.prepare_cached(END)?,
            again: conn.prepare_cached(AGAIN)?,
            freed: BTreeSet::new(),
            ended: Vec::new(),
        })
    }
}

impl Settling<'_> {
    /// How often the task may be lost.
    pub(super) fn max_lost(&mut self, task: &Running) -> Result<u32, StorageError> {
        Ok(self.templates.get(self.conn, task.template)?.retry.max_lost)
    }

    /// Records a lost attempt: it counts as a loss, and not as an attempt if the task goes on.
    pub(super) fn settle_loss(
        &mut self,
        task: &Running,
        after: After,
        ending: &Ending<'_>,
    ) -> Result<TaskState, StorageError> {
        self.conn
            .prepare_cached(
                "UPDATE task SET lost = lost + 1, max_attempts = max_attempts + ?2 WHERE seq = ?1",
            )?
            .execute(params![task.seq, after.allowed_more()])?;
        self.settle(task, after, ending)
    }

    /// Gives away the places that became free in batches and notices their ends, and frees the nodes that waited
    /// for those that ended. The last act of what settled.
    pub(super) fn pass_on(self) -> Result<Vec<Freed>, StorageError> {
        for place in self.freed {
            batch::task_ended(self.conn, place)?;
        }
        release::free(self.conn, self.tallies, &self.ended)
    }

    /// Records an attempt and moves its task on.
    pub(super) fn settle(
        &mut self,
        task: &Running,
        after: After,
        ending: &Ending<'_>,
    ) -> Result<TaskState, StorageError> {
        let kept = record::record(self.conn, &mut self.record, task, ending)?;
        self.tallies.kept(&task.tenant, kept);
        let at = ending.finished_at.as_millis();
        let change = self.tallies.next_change();
        let error_kind = ending.outcome.failure_kind().map(FailureKind::as_str);
        let state = match after {
            After::Final(state) => {
                let number = state_number(state);
                self.end
                    .execute(params![task.seq, number, at, change, error_kind, kept])?;
                self.freed.extend(task.place);
                let kind = ending.outcome.failure_kind();
                let node = task.node.map(|at| EndedNode::of(at, state, kind));
                self.ended
                    .extend(node.map(|node| (node, ending.finished_at)));
                if task.told.is_some_and(|ends| ends.has(state)) {
                    callbacks::end_is_told(self.conn, task.seq)?;
                }
                state
            }
            After::Again(run_at) => {
                let run_at = run_at.map(Timestamp::as_millis);
                self.again
                    .execute(params![task.seq, at, run_at, change, error_kind, kept])?;
                TaskState::Pending
            }
        };
        self.tallies
            .moved(&task.tenant, TaskState::Running, state, 1);
        Ok(state)
    }
}

/// seq, template, attempt, max_attempts, lost, cancel_requested, worker, claimed_at, batch, batch_bound,
/// tenant, callback, workflow and place of a task that runs.
pub(super) fn running(row: &Row<'_>) -> rusqlite::Result<Running> {
    Ok(Running {
        seq: row.get(0)?,
        template: row.get(1)?,
        attempt: row.get(2)?,
        max_attempts: row.get(3)?,
        lost: row.get(4)?,
        cancel_requested: row.get(5)?,
        worker: row.get(6)?,
        claimed_at: row.get(7)?,
        place: batch::place_of(row, 8)?,
        tenant: row.get(10)?,
        node: node_at(row, 12)?,
        told: row.get::<_, Option<u8>>(11)?.and_then(Ends::from_bits),
    })
}

/// The node that columns `first` and the next tell of.
pub(super) fn node_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<NodeAt>> {
    let (workflow, place): (Option<i64>, Option<u32>) = (row.get(first)?, row.get(first + 1)?);
    let both = workflow.zip(place);
    Ok(both.map(|(workflow, place)| NodeAt { workflow, place }))
}
