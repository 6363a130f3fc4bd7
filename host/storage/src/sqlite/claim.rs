//! Claiming: finds the next tasks and gives them to a worker.

use std::sync::Arc;

use rand::Rng;
use rusqlite::{Row, params};

use super::db::Db;
use super::settle::{Settling, node_at, running};
use super::spec::spec_parts;
use super::{lanes, nodes, release};
use crate::StorageError;
use crate::fate::{After, NodeAt};
use crate::rows::{Ending, SpecParts, Template, tenant_of};
use crate::turns::{self, Chosen, LOOKS_MAX};
use cofferdam_domain::attempt::{Failure, FailureKind, Fence, Outcome, WorkerId};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, Priority, TaskId};
use cofferdam_domain::time::Timestamp;

const READ: &str = "
    SELECT t.id, t.template, t.priority, t.attempt, t.max_attempts, t.lost, t.created_at,
        t.run_at, s.content_type, s.blob, s.blob_bytes, s.args, s.env, s.metadata, s.body,
        t.batch_bound IS NOT NULL, t.workflow, t.place, t.lane, t.state
    FROM task t JOIN task_spec s ON s.seq = t.seq WHERE t.seq = ?1";
const TAKE: &str = "
    UPDATE task SET state = 2, attempt = attempt + 1, fence = ?2, worker = ?3, claimed_at = ?4,
        updated_at = ?4, progress = 0, progress_note = '', change = ?5, counted = ?6,
        run_at = max(run_at, ?7) WHERE seq = ?1
    RETURNING tenant";

const HELD: &str = "
    SELECT seq, template, attempt, max_attempts, lost, cancel_requested, worker, claimed_at,
        batch, batch_bound, tenant, callback, workflow, place
    FROM task WHERE seq = ?1";

/// A row of [`READ`].
pub(super) struct Candidate {
    id: TaskId,
    template: i64,
    pub(super) priority: u8,
    attempt: u32,
    max_attempts: u32,
    lost: u32,
    created_at: Timestamp,
    pub(super) run_at: Timestamp,
    parts: SpecParts,
    holds_place: bool,
    pub(super) node: Option<NodeAt>,
    pub(super) lane: i64,
    pub(super) state: u8,
}

/// Takes up to `slots` tasks for `worker`. A task with inconsistent rows ends failed, so that it
/// does not block the others.
pub(super) fn claim(
    db: &mut Db,
    worker: WorkerId,
    slots: u32,
    order: ClaimOrder,
    now: Timestamp,
) -> Result<Vec<Claim>, StorageError> {
    db.budget.check_for_ends(&db.conn)?;
    let chosen = choose(db, worker, slots, order, now)?;
    let mut claims = Vec::with_capacity(chosen.len());
    let mut unreadable = Vec::new();
    for chosen in chosen {
        let seq = chosen.seq;
        let found = read(db, seq).and_then(|(found, template)| {
            let node = found.node.map(|at| nodes::claimed_node(&db.conn, at));
            Ok((found, template, node.transpose()?))
        });
        let fence = fence(db);
        let by = (worker, fence, now);
        let tenant = take(db, seq, by, chosen.is_counted, Timestamp::EPOCH)?;
        db.tallies
            .moved(&tenant, TaskState::Pending, TaskState::Running, 1);
        let claim = found.and_then(|(found, template, node)| {
            let claim = found.into_claim(&template, &tenant, fence, now)?;
            Ok(Claim {
                holds_place: claim.holds_place || chosen.is_counted,
                ahead: chosen.ahead,
                node: node.map(Box::new),
                ..claim
            })
        });
        match claim {
            Ok(claim) => claims.push(claim),
            Err(StorageError::Corrupt(why)) => unreadable.push((seq, why)),
            Err(error) => return Err(error),
        }
    }
    end_unreadable(db, unreadable, now)?;
    Ok(claims)
}

/// What is to be known of a task that is claimed.
pub(super) fn read(db: &mut Db, seq: i64) -> Result<(Candidate, Arc<Template>), StorageError> {
    let mut read = db.conn.prepare_cached(READ)?;
    let found = read.query_row([seq], candidate)?;
    let template = db.templates.get(&db.conn, found.template)?;
    Ok((found, template))
}

/// A new fence.
pub(super) fn fence(db: &mut Db) -> Fence {
    Fence(db.random.random())
}

/// Gives a task to a worker under a fence from now on; it was there to be claimed at `run_at` at the earliest. Tells
/// whose it is.
pub(super) fn take(
    db: &mut Db,
    seq: i64,
    (worker, fence, now): (WorkerId, Fence, Timestamp),
    is_counted: bool,
    run_at: Timestamp,
) -> Result<String, StorageError> {
    let taken = params![
        seq,
        fence.0.cast_signed(),
        worker.0.as_bytes(),
        now.as_millis(),
        db.tallies.next_change(),
        is_counted,
        run_at.as_millis(),
    ];
    let mut take = db.conn.prepare_cached(TAKE)?;
    Ok(take.query_row(taken, |row| row.get(0))?)
}

fn end_unreadable(
    db: &mut Db,
    unreadable: Vec<(i64, String)>,
    now: Timestamp,
) -> Result<(), StorageError> {
    if unreadable.is_empty() {
        return Ok(());
    }
    let mut settling = Settling::prepare(db)?;
    for (seq, why) in unreadable {
        tracing::error!(
            seq,
            why,
            "a task's stored data cannot be read; it ends failed"
        );
        let task = settling
            .conn
            .prepare_cached(HELD)?
            .query_row([seq], running)?;
        let message = format!("the stored data of this task cannot be read: {why}");
        let outcome = Outcome::Failed(Failure::new(FailureKind::HostError, message));
        let ending = Ending::bare(now, &outcome);
        settling.settle(&task, After::Final(TaskState::Failed), &ending)?;
    }
    let freed = settling.pass_on()?;
    release::pending(&db.conn, &mut db.tallies, &freed)
}

/// The tasks whose turn it is.
fn choose(
    db: &mut Db,
    worker: WorkerId,
    slots: u32,
    order: ClaimOrder,
    now: Timestamp,
) -> Result<Vec<Chosen>, StorageError> {
    let Db {
        conn,
        rules,
        serving,
        turns,
        looked,
        ..
    } = db;
    let mut lanes = Vec::new();
    // What this worker does not serve must not hide what it does.
    for _ in 0..LOOKS_MAX {
        let (ring, last) = lanes::ring(conn, looked)?;
        *looked = last;
        lanes = lanes::served(conn, serving, worker, ring, rules)?;
        if looked.is_first() || lanes.iter().any(|lane| lane.is_due(now)) {
            break;
        }
    }
    let running = lanes::running(conn, &lanes, rules)?;
    let how = (slots, order);
    let wanted = turns::wanted(&lanes, rules, &running, how, now);
    let found: Result<Vec<_>, StorageError> = wanted
        .iter()
        .map(|wanted| lanes::candidates(conn, wanted, order))
        .collect();
    Ok(turns.choose(&wanted, &found?, how))
}

impl Candidate {
    pub(super) fn into_claim(
        self,
        template: &Template,
        tenant: &str,
        fence: Fence,
        now: Timestamp,
    ) -> Result<Claim, StorageError> {
        let priority = Priority::from_rank(self.priority)
            .ok_or_else(|| StorageError::corrupt("a task has no priority"))?;
        Ok(Claim {
            task_id: self.id,
            attempt: self.attempt + 1,
            max_attempts: self.max_attempts,
            fence,
            lost: self.lost,
            created_at: self.created_at,
            run_at: self.run_at,
            claimed_at: now,
            holds_place: self.holds_place,
            ahead: false,
            tenant: tenant_of(tenant)?,
            spec: Arc::new(self.parts.into_spec(template, priority)?),
            node: None,
        })
    }
}

fn candidate(row: &Row<'_>) -> rusqlite::Result<Candidate> {
    Ok(Candidate {
        id: TaskId(uuid::Uuid::from_bytes(row.get(0)?)),
        template: row.get(1)?,
        priority: row.get(2)?,
        attempt: row.get(3)?,
        max_attempts: row.get(4)?,
        lost: row.get(5)?,
        created_at: Timestamp::from_millis(row.get(6)?),
        run_at: Timestamp::from_millis(row.get(7)?),
        parts: spec_parts(row, 8)?,
        holds_place: row.get(15)?,
        node: node_at(row, 16)?,
        lane: row.get(18)?,
        state: row.get(19)?,
    })
}
