//! Parking: a claimed node waits for instances or for a signal.

use rusqlite::{OptionalExtension, params};

use super::{Stored, store_node};
use crate::fate::NodeAt;
use crate::rows::{INSTANCES, NOTHING, SIGNAL, state_number, workflow_bytes};
use crate::sqlite::db::Db;
use crate::sqlite::insert;
use crate::sqlite::release::{In, within_of};
use crate::workflows::WORKFLOW_NODES_MAX;
use crate::{Bounds, HeldNode, NewNode, Park, Parking, StorageError};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

const HELD: &str = "
    SELECT seq, workflow, place, cancel_requested FROM task
    WHERE id = ?1 AND state = 2 AND fence = ?2 AND attempt = ?3 AND workflow IS NOT NULL";
const PARK: &str = "
    UPDATE task SET state = ?2, fence = NULL, updated_at = ?3, change = ?4, attempt = attempt - 1,
        worker = iif(attempt = 1, NULL, worker), claimed_at = iif(attempt = 1, NULL, claimed_at),
        run_at = coalesce(?5, run_at)
    WHERE seq = ?1";
const NODE: &str = "
    UPDATE node SET remaining = ?3, waits = ?4, waits_for = ?5, at_once = ?6,
        first_instance = ?7, next_instance = ?8, last_instance = ?9
    WHERE workflow = ?1 AND place = ?2";
const GROW: &str = "
    UPDATE workflow SET nodes = nodes + ?2, open = open + ?2, kept_bytes = kept_bytes + ?3,
        change = change + 1, updated_at = ?4
    WHERE seq = ?1";

/// Parks a node.
pub(in crate::sqlite) fn park(
    db: &mut Db,
    held: &HeldNode,
    park: &Park,
    bounds: Bounds,
    now: Timestamp,
) -> Result<Parking, StorageError> {
    let key = params![
        held.task_id.0.as_bytes(),
        held.fence.0.cast_signed(),
        held.attempt
    ];
    let found: Option<(i64, NodeAt, bool)> = db
        .conn
        .prepare_cached(HELD)?
        .query_row(key, |row| {
            let (workflow, place) = (row.get(1)?, row.get(2)?);
            Ok((row.get(0)?, NodeAt { workflow, place }, row.get(3)?))
        })
        .optional()?;
    let Some((seq, at, is_cancelled)) = found else {
        return Ok(Parking::Stale);
    };
    if is_cancelled {
        return Ok(Parking::CancelRequested);
    }
    let within = within_of(&db.conn, at.workflow)?;
    let parked = Parked {
        seq,
        at,
        within,
        now,
    };
    match park {
        Park::Paused => parked.for_resume(db),
        Park::Signal { name, until } => parked.for_signal(db, name, *until),
        Park::Instances { nodes, at_once } => insert::all_or_none(db, |db| {
            insert::within_bounds(db, Some(&held.tenant), bounds, |db| {
                let parking = parked.for_instances(db, nodes, *at_once)?;
                Ok((parking, !nodes.is_empty()))
            })
        }),
    }
}

/// A node that is being parked.
struct Parked {
    seq: i64,
    at: NodeAt,
    within: In,
    now: Timestamp,
}

/// What its row says afterwards.
#[derive(Default)]
struct Waiting<'a> {
    remaining: u32,
    waits: u8,
    signal: Option<&'a str>,
    at_once: Option<u32>,
    /// The first and the last instance, and the first that has to wait for its turn.
    instances: Option<(u32, u32, u32)>,
    run_at: Option<i64>,
}

impl Parked {
    fn write(&self, db: &mut Db, waiting: &Waiting<'_>) -> Result<Parking, StorageError> {
        let state = match waiting.remaining > 0 || self.within.is_paused {
            true => TaskState::Blocked,
            false => TaskState::Pending,
        };
        db.conn.prepare_cached(PARK)?.execute(params![
            self.seq,
            state_number(state),
            self.now.as_millis(),
            db.tallies.next_change(),
            waiting.run_at,
        ])?;
        let (first, last, next) = match waiting.instances {
            Some((first, last, next)) => (Some(first), Some(last), Some(next)),
            None => (None, None, None),
        };
        if waiting.waits != NOTHING {
            db.conn.prepare_cached(NODE)?.execute(params![
                self.at.workflow,
                self.at.place,
                waiting.remaining,
                waiting.waits,
                waiting.signal,
                waiting.at_once,
                first,
                next,
                last,
            ])?;
        }
        let tenant = &self.within.tenant;
        db.tallies.moved(tenant, TaskState::Running, state, 1);
        Ok(Parking::Parked(state))
    }

    /// Until its workflow is resumed.
    fn for_resume(&self, db: &mut Db) -> Result<Parking, StorageError> {
        self.write(db, &Waiting::default())
    }

    fn for_signal(
        &self,
        db: &mut Db,
        name: &str,
        until: Option<Timestamp>,
    ) -> Result<Parking, StorageError> {
        let given = db
            .conn
            .prepare_cached(
                "UPDATE workflow_signal SET place = ?3 WHERE workflow = ?1 AND number = (
                    SELECT min(number) FROM workflow_signal
                    WHERE workflow = ?1 AND name = ?2 AND place IS NULL)",
            )?
            .execute(params![self.at.workflow, name, self.at.place])?;
        let is_stopping: bool = db
            .conn
            .prepare_cached("SELECT stopping FROM workflow WHERE seq = ?1")?
            .query_row([self.at.workflow], |row| row.get(0))?;
        let run_at = match (given > 0 || is_stopping, until) {
            (true, _) => self.now.as_millis(),
            (false, Some(until)) => until.as_millis(),
            (false, None) => i64::MAX,
        };
        let waiting = Waiting {
            waits: SIGNAL,
            signal: Some(name),
            run_at: Some(run_at),
            ..Waiting::default()
        };
        self.write(db, &waiting)
    }

    fn for_instances(
        &self,
        db: &mut Db,
        nodes: &[NewNode],
        at_once: Option<u32>,
    ) -> Result<Parking, StorageError> {
        let first: u32 = db
            .conn
            .prepare_cached("SELECT nodes FROM workflow WHERE seq = ?1")?
            .query_row([self.at.workflow], |row| row.get(0))?;
        let room = WORKFLOW_NODES_MAX.saturating_sub(first as usize);
        if nodes.len() > room {
            return Ok(Parking::TooManyNodes);
        }
        // Places are never given twice, also where instances of an earlier run are no nodes any more.
        let first: u32 = db
            .conn
            .prepare_cached("SELECT coalesce(max(place) + 1, 0) FROM node WHERE workflow = ?1")?
            .query_row([self.at.workflow], |row| row.get(0))?;
        let count = u32::try_from(nodes.len()).map_err(StorageError::corrupt)?;
        let let_in = at_once.unwrap_or(count).max(1).min(count);
        let bytes = workflow_bytes("", nodes)?;
        for (number, node) in (0..count).zip(nodes) {
            let new = Stored {
                workflow: self.at.workflow,
                place: first + number,
                remaining: u32::from(number >= let_in),
                kids: &[],
                instance_of: Some(self.at.place),
                is_paused: self.within.is_paused,
            };
            store_node(db, node, &new, self.now)?;
        }
        let grown = params![self.at.workflow, count, bytes, self.now.as_millis()];
        db.conn.prepare_cached(GROW)?.execute(grown)?;
        db.tallies.kept(&self.within.tenant, bytes);
        let waiting = Waiting {
            remaining: count,
            waits: INSTANCES,
            at_once,
            instances: (count > 0).then(|| (first, first + count - 1, first + let_in)),
            ..Waiting::default()
        };
        self.write(db, &waiting)
    }
}
