//! Claiming: finds the next tasks and gives them to a worker.

use std::sync::Arc;

use rand::Rng;
use rusqlite::{Connection, Row, params};

use super::db::Db;
use super::settle::{Settling, running};
use super::spec::spec_parts;
use crate::StorageError;
use crate::fate::After;
use crate::rows::{Ending, SpecParts, Template};
use cofferdam_domain::attempt::{Failure, FailureKind, Fence, Outcome, WorkerId};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, Priority, TaskId};
use cofferdam_domain::time::Timestamp;

/// Candidates come from the index alone, with one range for each priority: tasks whose time has not
/// come are behind the end of the range and cost nothing.
const OLDEST: &str = "
    SELECT run_at, seq FROM task WHERE state = 1 AND priority = ?1 AND run_at <= ?2
    ORDER BY run_at, seq LIMIT ?3";
const NEWEST: &str = "
    SELECT run_at, seq FROM task WHERE state = 1 AND priority = ?1 AND run_at <= ?2
    ORDER BY run_at DESC, seq DESC LIMIT ?3";

const READ: &str = "
    SELECT t.id, t.template, t.priority, t.attempt, t.max_attempts, t.lost, t.created_at,
        t.run_at, s.content_type, s.blob, s.blob_bytes, s.args, s.env, s.metadata, s.body,
        t.batch_bound IS NOT NULL
    FROM task t JOIN task_spec s ON s.seq = t.seq WHERE t.seq = ?1";
const TAKE: &str = "
    UPDATE task SET state = 2, attempt = attempt + 1, fence = ?2, worker = ?3, claimed_at = ?4,
        updated_at = ?4, progress = 0, progress_note = '', change = ?5 WHERE seq = ?1";

const HELD: &str = "
    SELECT seq, template, attempt, max_attempts, lost, cancel_requested, worker, claimed_at,
        batch, batch_bound
    FROM task WHERE seq = ?1";

/// A row of [`READ`].
struct Candidate {
    id: TaskId,
    template: i64,
    priority: u8,
    attempt: u32,
    max_attempts: u32,
    lost: u32,
    created_at: Timestamp,
    run_at: Timestamp,
    parts: SpecParts,
    holds_place: bool,
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
    let Db {
        conn,
        templates,
        tallies,
        random,
        budget,
    } = db;
    budget.check_for_ends(conn)?;
    let seqs = candidates(conn, slots, order, now)?;
    let mut read = conn.prepare_cached(READ)?;
    let mut take = conn.prepare_cached(TAKE)?;
    let mut claims = Vec::with_capacity(seqs.len());
    let mut unreadable = Vec::new();
    for seq in seqs {
        let found = read
            .query_row([seq], candidate)
            .map_err(StorageError::from)
            .and_then(|found| Ok((templates.get(conn, found.template)?, found)));
        let fence = Fence(random.random());
        take.execute(params![
            seq,
            fence.0.cast_signed(),
            worker.0.as_bytes(),
            now.as_millis(),
            tallies.next_change(),
        ])?;
        match found.and_then(|(template, found)| found.into_claim(&template, fence, now)) {
            Ok(claim) => claims.push(claim),
            Err(StorageError::Corrupt(why)) => unreadable.push((seq, why)),
            Err(error) => return Err(error),
        }
    }
    let taken = i64::try_from(claims.len() + unreadable.len()).map_err(StorageError::corrupt)?;
    tallies.moved(TaskState::Pending, TaskState::Running, taken);
    drop((read, take));
    end_unreadable(db, unreadable, now)?;
    Ok(claims)
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
    settling.fill_places()
}

fn candidates(
    conn: &Connection,
    slots: u32,
    order: ClaimOrder,
    now: Timestamp,
) -> Result<Vec<i64>, StorageError> {
    let wanted = usize::try_from(slots).unwrap_or(usize::MAX);
    let mut found: Vec<(i64, i64)> = Vec::new();
    let range = |sql: &str, priority: Priority, limit: usize, found: &mut Vec<(i64, i64)>| {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = conn.prepare_cached(sql)?;
        let rows = statement
            .query_map(params![priority.rank(), now.as_millis(), limit], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        for row in rows {
            found.push(row?);
        }
        Ok::<(), StorageError>(())
    };
    for priority in Priority::ALL {
        match order {
            ClaimOrder::Priority => range(OLDEST, priority, wanted - found.len(), &mut found)?,
            ClaimOrder::Fifo => range(OLDEST, priority, wanted, &mut found)?,
            ClaimOrder::Lifo => range(NEWEST, priority, wanted, &mut found)?,
        }
    }
    match order {
        ClaimOrder::Priority => {}
        ClaimOrder::Fifo => found.sort_unstable(),
        ClaimOrder::Lifo => found.sort_unstable_by(|a, b| b.cmp(a)),
    }
    found.truncate(wanted);
    Ok(found.into_iter().map(|(_run_at, seq)| seq).collect())
}

impl Candidate {
    fn into_claim(
        self,
        template: &Template,
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
            spec: Arc::new(self.parts.into_spec(template, priority)?),
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
    })
}
