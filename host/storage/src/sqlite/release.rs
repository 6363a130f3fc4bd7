//! What the end of a node brings about: the nodes behind it wait for one less, its workflow has one open node less, and
//! the last one makes the workflow final.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::callbacks;
use super::db::Tallies;
use crate::StorageError;
use crate::fate::NodeAt;
use crate::rows::{Ends, final_state, is_skipped, places_of, workflow_state_number};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::WorkflowState;

const BEHIND: &str = "SELECT kids, instance_of FROM node WHERE workflow = ?1 AND place = ?2";
/// A node that stops its workflow does so once.
const COUNT: &str = "
    UPDATE workflow SET open = open - ?2, completed = completed + ?3, failed = failed + ?4,
        cancelled = cancelled + ?5, skipped = skipped + ?6, fails = fails + ?7, cancels = cancels + ?8,
        stopping = iif(?7 > 0 AND on_failure = 0, 1, stopping),
        updated_at = max(updated_at, ?9), change = change + 1
    WHERE seq = ?1
    RETURNING state, open, fails, cancels, cancelling, tenant, stopping, cancel_running";
const DECREMENT: &str = "
    UPDATE node SET remaining = remaining - 1, parents_completed = parents_completed AND ?3
    WHERE workflow = ?1 AND place = ?2 AND remaining > 0
    RETURNING remaining, seq";
const RELEASE: &str = "
    UPDATE task SET state = 1, run_at = max(run_at, ?2), updated_at = ?2, change = ?3
    WHERE seq = ?1 AND state = 0";
const RUNNING: &str = "
    SELECT t.seq FROM node n JOIN task t ON t.seq = n.seq
    WHERE n.workflow = ?1 AND t.state = 2 AND t.cancel_requested = 0";
/// What waits for a signal goes on without one.
const WAITS: &str = "
    SELECT t.seq FROM node n JOIN task t ON t.seq = n.seq
    WHERE n.workflow = ?1 AND n.waits = 2 AND t.state IN (0, 1) AND t.run_at > ?2";
const GO_ON: &str = "UPDATE task SET run_at = ?2, updated_at = ?2, change = ?3 WHERE seq = ?1";
const FINISH: &str = "
    UPDATE workflow SET state = ?2, finished_at = ?3 WHERE seq = ?1 RETURNING callback IS NOT NULL";

/// A node that has come into a final state.
#[derive(Clone, Copy)]
pub(super) struct EndedNode {
    pub(super) at: NodeAt,
    state: TaskState,
    is_skipped: bool,
    /// Whether it was not even pending, so that no other instance can have its turn.
    waited_in_vain: bool,
}

impl EndedNode {
    /// One whose task is in that state now, after an attempt that failed so.
    pub(super) fn of(at: NodeAt, state: TaskState, kind: Option<FailureKind>) -> EndedNode {
        EndedNode {
            at,
            state,
            is_skipped: is_skipped(state, kind),
            waited_in_vain: false,
        }
    }

    /// The same, which was in that state before.
    pub(super) fn having_been(self, state: TaskState) -> EndedNode {
        EndedNode {
            waited_in_vain: state == TaskState::Blocked,
            ..self
        }
    }
}

/// What waits for the ends in one workflow.
#[derive(Default)]
struct Behind {
    ends: Ends,
    at: Option<Timestamp>,
    /// Nodes that wait for one less, and whether that completed; those named more than once, for so many.
    kids: Vec<(u32, bool)>,
    /// Nodes that may let in another instance, once for each time.
    turns: Vec<u32>,
}

/// A task that waits for nothing any more. It is blocked until somebody moves it on ([`pending`], or a claim).
pub(super) struct Freed {
    pub(super) seq: i64,
    pub(super) tenant: String,
    pub(super) at: Timestamp,
}

/// Frees what waited for these nodes. Nothing of their workflows may be looked at before what is freed has moved on.
#[must_use = "what is freed has to move on"]
pub(super) fn free(
    conn: &Connection,
    tallies: &mut Tallies,
    ended: &[(EndedNode, Timestamp)],
) -> Result<Vec<Freed>, StorageError> {
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    let mut behind: BTreeMap<i64, Behind> = BTreeMap::new();
    let mut look = conn.prepare_cached(BEHIND)?;
    for (node, at) in ended {
        let NodeAt { workflow, place } = node.at;
        let behind = behind.entry(workflow).or_default();
        let mut rows = look.query(params![workflow, place])?;
        let row = rows
            .next()?
            .ok_or_else(|| StorageError::corrupt("a node is not in its workflow"))?;
        let completed = node.state == TaskState::Completed;
        let kids = places_of(row.get_ref(0)?.as_blob().map_err(StorageError::corrupt)?)?;
        let kids = kids.into_iter().map(|kid| (kid, completed));
        behind.kids.extend(kids);
        let instance_of: Option<u32> = row.get(1)?;
        if let Some(around) = instance_of {
            behind.kids.push((around, completed));
            behind
                .turns
                .extend((!node.waited_in_vain).then_some(around));
        }
        behind
            .ends
            .add(node.state, node.is_skipped, instance_of.is_some());
        behind.at = behind.at.max(Some(*at));
    }
    drop(look);
    let mut freeing = Freeing {
        conn,
        tallies,
        freed: Vec::new(),
    };
    for (workflow, behind) in behind {
        freeing.pass_on(workflow, &behind)?;
    }
    Ok(freeing.freed)
}

/// What was freed may be claimed from now on.
pub(super) fn pending(
    conn: &Connection,
    tallies: &mut Tallies,
    freed: &[Freed],
) -> Result<(), StorageError> {
    for Freed { seq, tenant, at } in freed {
        release(conn, tallies, (tenant, *seq), *at)?;
    }
    Ok(())
}

/// A blocked task is pending from now on.
pub(super) fn release(
    conn: &Connection,
    tallies: &mut Tallies,
    (tenant, seq): (&str, i64),
    at: Timestamp,
) -> Result<(), StorageError> {
    let change = tallies.next_change();
    let mut released = conn.prepare_cached(RELEASE)?;
    if released.execute(params![seq, at.as_millis(), change])? > 0 {
        tallies.moved(tenant, TaskState::Blocked, TaskState::Pending, 1);
    }
    Ok(())
}

/// Makes a workflow final.
pub(super) fn finish(
    conn: &Connection,
    workflow: i64,
    state: WorkflowState,
    at: Timestamp,
) -> Result<(), StorageError> {
    let ended = params![workflow, workflow_state_number(state), at.as_millis()];
    match conn
        .prepare_cached(FINISH)?
        .query_row(ended, |row| row.get(0))?
    {
        true => callbacks::workflow_is_told(conn, workflow),
        false => Ok(()),
    }
}

/// A workflow whose nodes are released.
pub(super) struct In {
    pub(super) workflow: i64,
    pub(super) tenant: String,
    pub(super) is_paused: bool,
}

/// Frees nodes.
struct Freeing<'db> {
    conn: &'db Connection,
    tallies: &'db mut Tallies,
    freed: Vec<Freed>,
}

impl Freeing<'_> {
    fn pass_on(&mut self, workflow: i64, behind: &Behind) -> Result<(), StorageError> {
        let ends = &behind.ends;
        let at = behind.at.unwrap_or(Timestamp::EPOCH);
        let mut count = self.conn.prepare_cached(COUNT)?;
        let counted = params![
            workflow,
            ends.all(),
            ends.completed,
            ends.failed,
            ends.cancelled,
            ends.skipped,
            ends.fails,
            ends.cancels,
            at.as_millis()
        ];
        let (state, open, last, tenant, (is_stopping, cancels_running)) =
            count.query_row(counted, |row| {
                let state: u8 = row.get(0)?;
                let open: u32 = row.get(1)?;
                let last = final_state(row.get(4)?, row.get(2)?, row.get(3)?);
                let tenant: String = row.get(5)?;
                let stop: (bool, bool) = (row.get(6)?, row.get(7)?);
                Ok((state, open, last, tenant, stop))
            })?;
        drop(count);
        let within = In {
            workflow,
            tenant,
            is_paused: state == workflow_state_number(WorkflowState::Paused),
        };
        if is_stopping && ends.fails > 0 {
            self.end_waits(workflow, at)?;
            if cancels_running {
                self.cancel_running(workflow, at)?;
            }
        }
        for kid in &behind.kids {
            self.decrement(&within, *kid, at)?;
        }
        for around in &behind.turns {
            self.let_in(&within, *around, at)?;
        }
        if open == 0 {
            finish(self.conn, workflow, last, at)?;
        }
        Ok(())
    }

    fn end_waits(&mut self, workflow: i64, at: Timestamp) -> Result<(), StorageError> {
        let waiting: Vec<i64> = self
            .conn
            .prepare_cached(WAITS)?
            .query_map([workflow, at.as_millis()], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut go_on = self.conn.prepare_cached(GO_ON)?;
        for seq in waiting {
            go_on.execute(params![seq, at.as_millis(), self.tallies.next_change()])?;
        }
        Ok(())
    }

    fn cancel_running(&mut self, workflow: i64, at: Timestamp) -> Result<(), StorageError> {
        let running: Vec<i64> = self
            .conn
            .prepare_cached(RUNNING)?
            .query_map([workflow], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for seq in running {
            ask_for_end(self.conn, self.tallies, seq, at)?;
        }
        Ok(())
    }

    /// A node waits for one less, which completed or did not, and is free if that was the last.
    fn decrement(
        &mut self,
        within: &In,
        (place, completed): (u32, bool),
        at: Timestamp,
    ) -> Result<(), StorageError> {
        let left: Option<(u32, i64)> = self
            .conn
            .prepare_cached(DECREMENT)?
            .query_row(params![within.workflow, place, completed], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        match left {
            Some((0, seq)) if !within.is_paused => self.freed.push(Freed {
                seq,
                tenant: within.tenant.clone(),
                at,
            }),
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Gives the next instance of a node its turn.
    fn let_in(&mut self, within: &In, around: u32, at: Timestamp) -> Result<(), StorageError> {
        let turn: Option<(u32, u32)> = self
            .conn
            .prepare_cached(
                "SELECT next_instance, last_instance FROM node
                 WHERE workflow = ?1 AND place = ?2 AND next_instance <= last_instance",
            )?
            .query_row(params![within.workflow, around], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((first, last)) = turn else {
            return Ok(());
        };
        let mut waits = self.conn.prepare_cached(
            "SELECT 1 FROM node n JOIN task t ON t.seq = n.seq
             WHERE n.workflow = ?1 AND n.place = ?2 AND n.instance_of = ?3 AND n.remaining > 0
                AND t.state = 0",
        )?;
        let mut next = last + 1;
        for place in first..=last {
            if waits.exists(params![within.workflow, place, around])? {
                self.decrement(within, (place, true), at)?;
                next = place + 1;
                break;
            }
        }
        self.conn
            .prepare_cached(
                "UPDATE node SET next_instance = ?3 WHERE workflow = ?1 AND place = ?2",
            )?
            .execute(params![within.workflow, around, next])?;
        Ok(())
    }
}

/// What releasing needs to know of a workflow.
pub(super) fn within_of(conn: &Connection, workflow: i64) -> Result<In, StorageError> {
    let paused = workflow_state_number(WorkflowState::Paused);
    Ok(conn
        .prepare_cached("SELECT tenant, state = ?2 FROM workflow WHERE seq = ?1")?
        .query_row(params![workflow, paused], |row| {
            Ok(In {
                workflow,
                tenant: row.get(0)?,
                is_paused: row.get(1)?,
            })
        })?)
}

/// Marks a running task for its worker.
pub(super) fn ask_for_end(
    conn: &Connection,
    tallies: &mut Tallies,
    seq: i64,
    now: Timestamp,
) -> Result<(), StorageError> {
    conn.prepare_cached(
        "UPDATE task SET cancel_requested = 1, updated_at = ?2, change = ?3
         WHERE seq = ?1 AND cancel_requested = 0",
    )?
    .execute(params![seq, now.as_millis(), tallies.next_change()])?;
    Ok(())
}
