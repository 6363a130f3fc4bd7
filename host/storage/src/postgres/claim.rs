//! Claiming: which tasks are next, and handing them to a worker. The claim counts the attempt.
//!
//! Where the tasks of one tenant alone wait, in one lane and without bounds, one statement finds and takes
//! them, and whoever is locked by another host is passed over. Where several lanes wait, hosts take turns
//! (an advisory lock): what is under way is counted, candidates are looked for in each lane, and those
//! are taken whose turn it is (`turns`). So no bound is ever exceeded, whatever other hosts do.

mod inherited;
mod statements;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::Row;
use uuid::Uuid;

pub(super) use self::inherited::{heir, inherited};
use super::alone::Alone;
use super::call::Call;
use super::fault::{Fault, get, get_u32};
use super::floors::NO_FLOORS;
use super::look::{self, Look, Seen};
use super::params::params;
use super::settle::{self, Settling};
use super::spec::{priority_of, spec_parts};
use super::templates;
use super::tx::{Mode, Tx};
use super::{lanes, nodes};
use crate::StorageError;
use crate::fate::After;
use crate::rows::{Ending, tenant_of};
use crate::turns::{self, Chosen, LOOKS_MAX, Lane};
use cofferdam_domain::attempt::{Failure, FailureKind, Fence, Outcome, WorkerId};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::ClaimedNode;

/// The advisory lock of a claim that takes turns.
pub(super) const TAKING_TURNS: i64 = 0x4366_6672_0004;

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
    let alone = call.db.lanes.alone(now);
    let is_held = |alone: &Alone| call.db.serving.holds_back(&alone.tenant);
    let others_wait = match alone.filter(|alone| !is_held(alone)) {
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
            ClaimOrder::Priority => statements::BY_PRIORITY,
            ClaimOrder::Fifo => statements::OLDEST,
            ClaimOrder::Lifo => statements::NEWEST,
        };
        let db = Arc::clone(&self.tx.call().db);
        let (at, limit) = (self.now.as_millis(), i64::from(slots));
        let fences = db.fences(slots);
        let floors = alone.floors.to_vec();
        let take = params![
            at,
            self.worker.0,
            fences,
            limit,
            alone.tenant.clone(),
            floors
        ];
        db.lanes.took(&alone.tenant);
        if !alone.is_stale {
            let rows = self.tx.query(sql, take).await?;
            let taken = self.keep(&rows, &HashMap::new()).await?;
            // Whoever finds nothing does not know why, nor does one who looked at a part.
            let is_part = alone.floors != NO_FLOORS;
            return Ok((taken, taken == 0 || (is_part && taken < slots)));
        }
        let look = db.lanes.look_at_all().statement();
        let (rows, ring) = self.tx.query_both((sql, take), look).await?;
        let (lanes, _) = self.learn(&ring).await?;
        let taken = self.keep(&rows, &HashMap::new()).await?;
        let is_due = lanes.iter().any(|lane| lane.is_due(self.now));
        Ok((taken, is_due && db.lanes.alone(self.now).is_none()))
    }

    /// Takes the tasks whose turn it is while no other host does the same, behind those that were taken
    /// before.
    async fn take_turns(&mut self, slots: u32, before: u32) -> Result<u32, Fault> {
        let db = Arc::clone(&self.tx.call().db);
        let lock = ("SELECT pg_advisory_xact_lock($1)", params![TAKING_TURNS]);
        let look = db.lanes.look();
        let is_part = matches!(look, Look::Known(_));
        let (_, ring) = self.tx.query_both(lock, look.statement()).await?;
        let lanes = self.learn_what_is_due(&ring).await?;
        let taken = self.take_in(&lanes, slots, before).await?;
        if !is_part || taken == slots || !db.lanes.may_look() {
            return Ok(taken);
        }
        let (sql, asked) = db.lanes.look_at_all().statement();
        let ring = self.tx.query(sql, asked).await?;
        let lanes = self.learn_what_is_due(&ring).await?;
        Ok(taken + self.take_in(&lanes, slots - taken, before + taken).await?)
    }

    /// The lanes in the rows of a look, and of further looks if nothing in them is due.
    async fn learn_what_is_due(&mut self, ring: &[Row]) -> Result<Vec<Lane>, Fault> {
        let (mut lanes, mut was_last) = self.learn(ring).await?;
        // What this worker does not serve must not hide what it does.
        for _ in 1..LOOKS_MAX {
            if was_last || lanes.iter().any(|lane| lane.is_due(self.now)) {
                break;
            }
            let (sql, asked) = self.tx.call().db.lanes.look_at_all().statement();
            let ring = self.tx.query(sql, asked).await?;
            (lanes, was_last) = self.learn(&ring).await?;
        }
        Ok(lanes)
    }

    /// Takes the tasks of these lanes whose turn it is, behind those that were taken before.
    async fn take_in(&mut self, lanes: &[Lane], slots: u32, before: u32) -> Result<u32, Fault> {
        if !lanes.iter().any(|lane| lane.is_due(self.now)) {
            return Ok(0);
        }
        let rules = self.tx.call().db.rules.clone();
        let running = lanes::running(&mut self.tx, lanes, &rules).await?;
        let how = (slots, self.order);
        let wanted = turns::wanted(lanes, &rules, &running, how, self.now);
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
        let rows = self.tx.query(statements::CHOSEN, take).await?;
        let chosen = chosen.into_iter().map(|chosen| (chosen.seq, chosen));
        self.keep(&rows, &chosen.collect()).await
    }

    /// The lanes in the rows of a look that this worker serves, and whether no lanes come behind them.
    async fn learn(&mut self, ring: &[Row]) -> Result<(Vec<Lane>, bool), Fault> {
        let db = Arc::clone(&self.tx.call().db);
        let Seen { lanes, took } = look::seen(ring)?;
        let was_last = took.is_none_or(|took| db.lanes.looked(&lanes, took, self.now));
        let lanes = lanes::served(&mut self.tx, self.worker, lanes).await?;
        db.lanes.learn(&lanes, &db.rules, self.now);
        Ok((lanes, was_last))
    }

    /// The nodes among what was taken.
    async fn nodes(&mut self, rows: &[Row]) -> Result<HashMap<i64, ClaimedNode>, Fault> {
        let mut seqs = Vec::new();
        for row in rows {
            if get::<bool>(row, 19)? {
                seqs.push(get(row, 9)?);
            }
        }
        match seqs.is_empty() {
            true => Ok(HashMap::new()),
            false => {
                let (sql, asked) = nodes::of_claimed(seqs);
                Ok(nodes::claimed_nodes(&self.tx.query(sql, asked).await?)?)
            }
        }
    }

    /// Keeps what was taken; tells how much that is.
    async fn keep(&mut self, rows: &[Row], chosen: &HashMap<i64, Chosen>) -> Result<u32, Fault> {
        let mut nodes = self.nodes(rows).await?;
        for row in rows {
            let tenant = get(row, 18)?;
            self.tx
                .moved(tenant, TaskState::Pending, TaskState::Running);
            let seq = get(row, 9)?;
            match claim_of(&mut self.tx, row, chosen.get(&seq), self.now).await {
                Ok(claim) => self.claims.push(Claim {
                    node: nodes.remove(&seq).map(Box::new),
                    ..claim
                }),
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
        tenant: tenant_of(get(row, 18)?)?,
        spec: Arc::new(spec),
        node: None,
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
    settling.ended.lock(tx, &HashSet::new()).await?;
    settling.write(tx, None).await?;
    Ok(())
}
