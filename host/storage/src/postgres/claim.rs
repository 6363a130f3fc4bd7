//! Claiming: which tasks are next, and handing them to a worker. The claim counts the attempt.
//!
//! Where the tasks of one tenant alone wait, in one lane and without bounds, one statement finds and takes
//! them, and whoever is locked by another host is passed over. Where several lanes wait, hosts take turns
//! (an advisory lock): what is under way is counted, candidates are looked for in each lane, and those
//! are taken whose turn it is (`turns`). So no bound is ever exceeded, whatever other hosts do.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Row;
use uuid::Uuid;

use super::alone::Alone;
use super::call::Call;
use super::fault::{Fault, get, get_u32};
use super::lanes::{self, RING};
use super::params::params;
use super::settle::{self, Settling};
use super::spec::{priority_of, spec_parts};
use super::templates;
use super::tx::{Mode, Tx};
use crate::StorageError;
use crate::fate::After;
use crate::rows::Ending;
use crate::turns::{self, Chosen, LOOKS_MAX, Lane};
use cofferdam_domain::attempt::{Failure, FailureKind, Fence, Outcome, WorkerId};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, TaskId};
use cofferdam_domain::time::Timestamp;

/// The advisory lock of a claim that takes turns.
const TAKING_TURNS: i64 = 0x4366_6672_0004;

/// A statement that claims what `$candidates` finds for the worker $2 at $1, with the fences $3.
macro_rules! claim_sql {
    ($candidates:expr, $is_counted:literal, $first_change:literal) => {
        concat!(
            "WITH c AS MATERIALIZED (",
            $candidates,
            "),
            n AS MATERIALIZED (SELECT seq, row_number() OVER () AS place FROM c),
            u AS (
                UPDATE cofferdam.task t SET state = 2, attempt = t.attempt + 1,
                    fence = ($3::int8[])[n.place], worker = $2, claimed_at = $1, updated_at = $1,
                    progress = 0, progress_note = '', counted = ",
            $is_counted,
            ",
                    change = (SELECT cofferdam.change_number(",
            $first_change,
            ")) + n.place
                FROM n WHERE t.seq = n.seq
                RETURNING t.seq, n.place, t.priority, t.attempt, t.max_attempts, t.lost, t.run_at,
                    t.fence, t.batch_bound IS NOT NULL AS holds_place)
            SELECT s.id, s.template, u.priority, u.attempt, u.max_attempts, u.lost, s.created_at,
                u.run_at, u.fence, u.seq, s.content_type, s.blob, s.blob_bytes, s.args, s.env,
                s.metadata, s.body, u.holds_place
            FROM u JOIN cofferdam.task_spec s ON s.seq = u.seq ORDER BY u.place"
        )
    };
}

/// At most $4 tasks of the lane without bounds of the tenant $5. Candidates come from the index alone, one
/// range a priority: tasks whose time has not come lie behind the end of the range and cost nothing.
/// Nothing is locked that is not taken, except where several ranges have to be sorted together.
macro_rules! alone_sql {
    ($order:literal, $all:literal) => {
        claim_sql!(
            concat!(
                "SELECT f.seq
                 FROM (VALUES (0::int2), (1::int2), (2::int2), (3::int2)) AS p(priority)
                 CROSS JOIN LATERAL (
                    SELECT t.seq, t.run_at FROM cofferdam.task t
                    WHERE t.state = 1 AND t.tenant = $5 AND t.lane = 0 AND t.priority = p.priority
                        AND t.run_at <= $1
                    ORDER BY ",
                $order,
                " LIMIT $4 FOR UPDATE SKIP LOCKED) f",
                $all,
                " LIMIT $4"
            ),
            "false",
            "0"
        )
    };
}

const BY_PRIORITY: &str = alone_sql!("t.run_at, t.seq", "");
const OLDEST: &str = alone_sql!("t.run_at, t.seq", " ORDER BY f.run_at, f.seq");
const NEWEST: &str = alone_sql!(
    "t.run_at DESC, t.seq DESC",
    " ORDER BY f.run_at DESC, f.seq DESC"
);
/// The tasks $4 as far as they still wait, behind $6 that were taken before; those of $5 are counted against
/// a bound. They are looked for by their numbers: the sum hides that they wait, because the planner may take
/// the index of what waits for empty and walk through it for each of them.
const CHOSEN: &str = claim_sql!(
    "SELECT t.seq FROM unnest($4::int8[]) WITH ORDINALITY AS w(seq, place)
     JOIN cofferdam.task t ON t.seq = w.seq
     WHERE t.state + 0 = 1 ORDER BY w.place FOR UPDATE OF t SKIP LOCKED",
    "t.seq = ANY($5::int8[])",
    "$6"
);

/// Takes up to `slots` tasks for `worker`. One whose rows make no sense ends failed, so that it does not
/// keep the others from being claimed.
pub(super) async fn claim(
    call: &Call,
    worker: WorkerId,
    slots: u32,
    order: ClaimOrder,
    now: Timestamp,
) -> Result<Vec<Claim>, Fault> {
    if slots == 0 {
        return Ok(Vec::new());
    }
    let mut claiming = Claiming {
        tx: call.begin(Mode::Hasty).await?,
        worker,
        order,
        now,
        claims: Vec::new(),
        unreadable: Vec::new(),
    };
    let mut taken = 0;
    let others_wait = match call.db.lanes.alone(now) {
        None => true,
        Some(alone) => {
            let (took, others_wait) = claiming.take_alone(slots, alone).await?;
            taken = took;
            others_wait
        }
    };
    if others_wait && taken < slots {
        taken += claiming.take_turns(slots - taken, taken).await?;
    }
    let Claiming {
        mut tx,
        claims,
        unreadable,
        ..
    } = claiming;
    end_unreadable(&mut tx, unreadable, now).await?;
    match taken {
        0 => tx.rollback().await?,
        _ => tx.commit().await?,
    }
    Ok(claims)
}

/// A claim under way.
struct Claiming {
    tx: Tx,
    worker: WorkerId,
    order: ClaimOrder,
    now: Timestamp,
    claims: Vec<Claim>,
    /// Numbers of tasks that cannot be read, and why.
    unreadable: Vec<(i64, String)>,
}

impl Claiming {
    /// Takes the tasks of the one tenant that waits; tells how many, and whether others may wait too.
    async fn take_alone(&mut self, slots: u32, alone: Alone) -> Result<(u32, bool), Fault> {
        let sql = match self.order {
            ClaimOrder::Priority => BY_PRIORITY,
            ClaimOrder::Fifo => OLDEST,
            ClaimOrder::Lifo => NEWEST,
        };
        let db = Arc::clone(&self.tx.call().db);
        let (at, limit) = (self.now.as_millis(), i64::from(slots));
        let fences = db.fences(slots);
        let take = params![at, self.worker.0, fences, limit, alone.tenant];
        if !alone.is_stale {
            let rows = self.tx.query(sql, take).await?;
            let taken = self.keep(&rows, &HashMap::new()).await?;
            // Whoever finds nothing does not know why.
            return Ok((taken, taken == 0));
        }
        let look = lanes::next_look(&self.tx);
        let (rows, ring) = self.tx.query_both((sql, take), (RING, look)).await?;
        let (lanes, _) = self.learn(&ring).await?;
        let taken = self.keep(&rows, &HashMap::new()).await?;
        let is_due = lanes.iter().any(|lane| lane.is_due(self.now));
        Ok((taken, is_due && db.lanes.alone(self.now).is_none()))
    }

    /// Takes the tasks whose turn it is while no other host does the same, behind those that were taken
    /// before.
    async fn take_turns(&mut self, slots: u32, before: u32) -> Result<u32, Fault> {
        let lock = ("SELECT pg_advisory_xact_lock($1)", params![TAKING_TURNS]);
        let look = lanes::next_look(&self.tx);
        let (_, ring) = self.tx.query_both(lock, (RING, look)).await?;
        let (mut lanes, mut was_last) = self.learn(&ring).await?;
        // What this worker does not serve must not hide what it does.
        for _ in 1..LOOKS_MAX {
            if was_last || lanes.iter().any(|lane| lane.is_due(self.now)) {
                break;
            }
            let look = lanes::next_look(&self.tx);
            let ring = self.tx.query(RING, look).await?;
            (lanes, was_last) = self.learn(&ring).await?;
        }
        if !lanes.iter().any(|lane| lane.is_due(self.now)) {
            return Ok(0);
        }
        let rules = self.tx.call().db.rules.clone();
        let running = lanes::running(&mut self.tx, &lanes, &rules).await?;
        let how = (slots, self.order);
        let wanted = turns::wanted(&lanes, &rules, &running, how, self.now);
        if wanted.is_empty() {
            return Ok(0);
        }
        let found = lanes::candidates(&mut self.tx, &wanted, self.order).await?;
        let known = &self.tx.call().db.lanes;
        let chosen = known.lock().turns.choose(&wanted, &found, how);
        let seqs: Vec<i64> = chosen.iter().map(|chosen| chosen.seq).collect();
        let counted = chosen.iter().filter(|chosen| chosen.is_counted);
        let counted: Vec<i64> = counted.map(|chosen| chosen.seq).collect();
        let fences = self.tx.call().db.fences(slots);
        let take = params![
            self.now.as_millis(),
            self.worker.0,
            fences,
            seqs,
            counted,
            i64::from(before)
        ];
        let rows = self.tx.query(CHOSEN, take).await?;
        let chosen = chosen.into_iter().map(|chosen| (chosen.seq, chosen));
        self.keep(&rows, &chosen.collect()).await
    }

    /// The lanes in rows of the ring that this worker serves, and whether no lanes come behind them.
    async fn learn(&mut self, ring: &[Row]) -> Result<(Vec<Lane>, bool), Fault> {
        let db = Arc::clone(&self.tx.call().db);
        let lanes = lanes::lanes_of(ring)?;
        let was_last = db.lanes.looked(&lanes);
        let lanes = lanes::served(&mut self.tx, self.worker, lanes).await?;
        db.lanes.learn(&lanes, &db.rules, self.now);
        Ok((lanes, was_last))
    }

    /// Keeps what was taken; tells how much that is.
    async fn keep(&mut self, rows: &[Row], chosen: &HashMap<i64, Chosen>) -> Result<u32, Fault> {
        let tasks = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        self.tx.moved(TaskState::Pending, TaskState::Running, tasks);
        for row in rows {
            let seq = get(row, 9)?;
            match claim_of(&mut self.tx, row, chosen.get(&seq), self.now).await {
                Ok(claim) => self.claims.push(claim),
                Err(Fault {
                    error: StorageError::Corrupt(why),
                    ..
                }) => self.unreadable.push((seq, why)),
                Err(fault) => return Err(fault),
            }
        }
        Ok(u32::try_from(rows.len()).unwrap_or(u32::MAX))
    }
}

async fn claim_of(
    tx: &mut Tx,
    row: &Row,
    chosen: Option<&Chosen>,
    now: Timestamp,
) -> Result<Claim, Fault> {
    let template = templates::by_id(tx, get(row, 1)?).await?;
    let spec = spec_parts(row, 10)?.into_spec(&template, priority_of(row, 2)?)?;
    Ok(Claim {
        task_id: TaskId(get::<Uuid>(row, 0)?),
        attempt: get_u32(row, 3)?,
        max_attempts: get_u32(row, 4)?,
        fence: Fence(get::<i64>(row, 8)?.cast_unsigned()),
        lost: get_u32(row, 5)?,
        created_at: Timestamp::from_millis(get(row, 6)?),
        run_at: Timestamp::from_millis(get(row, 7)?),
        claimed_at: now,
        holds_place: get::<bool>(row, 17)? || chosen.is_some_and(|chosen| chosen.is_counted),
        ahead: chosen.is_some_and(|chosen| chosen.ahead),
        spec: Arc::new(spec),
    })
}

async fn end_unreadable(
    tx: &mut Tx,
    unreadable: Vec<(i64, String)>,
    now: Timestamp,
) -> Result<(), Fault> {
    if unreadable.is_empty() {
        return Ok(());
    }
    let mut settling = Settling::default();
    for (seq, why) in unreadable {
        tracing::error!(
            seq,
            why,
            "a task's stored data cannot be read; it ends failed"
        );
        let task = settle::running_by_seq(tx, seq).await?;
        let message = format!("the stored data of this task cannot be read: {why}");
        let outcome = Outcome::Failed(Failure::new(FailureKind::HostError, message));
        let after = After::Final(TaskState::Failed);
        settling.settle(&task, after, false, &Ending::bare(now, &outcome))?;
    }
    settling.write(tx);
    Ok(())
}
