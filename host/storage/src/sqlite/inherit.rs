//! What ends have freed moves on: to the worker that told the ends, as far as it may have it, and otherwise to whoever
//! claims it.

use super::claim::{self, Candidate};
use super::db::Db;
use super::lanes::{self, Place};
use super::nodes;
use super::release::{self, Freed};
use crate::rows::state_number;
use crate::turns::COMMON_LANE;
use crate::{Heir, StorageError};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::Priority;

/// Moves on what was freed. Gives the heir's claims, and whether anything is left to be claimed.
pub(super) fn inherit(
    db: &mut Db,
    freed: &[Freed],
    heir: Option<Heir>,
) -> Result<(Vec<Claim>, bool), StorageError> {
    let Some(first) = freed.first() else {
        return Ok((Vec::new(), false));
    };
    let share = match heir {
        Some(heir) if heir.slots > 0 => Share::of(db, heir, &first.tenant)?,
        Some(_) | None => None,
    };
    let mut claims = Vec::new();
    let mut is_more = false;
    for task in freed {
        let claim = match &share {
            Some(share) => share.claim(db, task, claims.len())?,
            None => None,
        };
        if claim.is_none() {
            let own = (task.tenant.as_str(), task.seq);
            release::release(&db.conn, &mut db.tallies, own, task.at)?;
            is_more = true;
        }
        claims.extend(claim);
    }
    Ok((claims, is_more))
}

/// What an heir may have.
struct Share<'t> {
    heir: Heir,
    tenant: &'t str,
    /// Nothing that waits is of a higher priority.
    least: Priority,
}

impl<'t> Share<'t> {
    /// If the tasks of one tenant alone wait, in one lane without bounds, its own are the heir's. Where others wait
    /// too, claims decide whose turn it is.
    fn of(db: &Db, heir: Heir, tenant: &'t str) -> Result<Option<Share<'t>>, StorageError> {
        let (ring, last) = lanes::ring(&db.conn, &Place::default())?;
        let own = lanes::lane(&db.conn, &Place::new(tenant, COMMON_LANE))?;
        let is_simple = !own.is_bounded(&db.rules) && !own.is_ageing(&db.rules, heir.now);
        let waits = lanes::served(&db.conn, &db.serving, heir.worker, ring, &db.rules)?;
        let mut waits = waits.iter().filter(|lane| lane.is_due(heir.now));
        let is_alone = waits.all(|lane| lane.tenant == tenant && lane.number == COMMON_LANE);
        let may_have = is_simple
            && is_alone
            && last.is_first()
            && !db.serving.holds_back(tenant)
            && db.budget.check_for_ends(&db.conn).is_ok();
        let heads = Priority::ALL.into_iter().zip(own.heads);
        let mut due = heads.filter(|(_, head)| head.is_some_and(|at| at <= heir.now.as_millis()));
        let least = due.next().map_or(Priority::Low, |(priority, _)| priority);
        Ok(may_have.then_some(Share {
            heir,
            tenant,
            least,
        }))
    }

    /// The claim of a task that was freed, if it is a part of the share, behind so many others.
    fn claim(
        &self,
        db: &mut Db,
        task: &Freed,
        before: usize,
    ) -> Result<Option<Claim>, StorageError> {
        let slots = usize::try_from(self.heir.slots).unwrap_or(usize::MAX);
        if before >= slots || task.tenant != self.tenant {
            return Ok(None);
        }
        let claim = match claim::read(db, task.seq) {
            Ok((candidate, template)) if self.holds(&candidate) => {
                let node = candidate.node.map(|at| nodes::claimed_node(&db.conn, at));
                let node = node.transpose()?;
                let fence = claim::fence(db);
                let claim = candidate.into_claim(&template, self.tenant, fence, self.heir.now);
                claim.map(|claim| Claim {
                    run_at: claim.run_at.max(task.at),
                    node: node.map(Box::new),
                    ..claim
                })
            }
            Ok(_) => return Ok(None),
            Err(error) => Err(error),
        };
        match claim {
            Ok(claim) => {
                let by = (self.heir.worker, claim.fence, self.heir.now);
                claim::take(db, task.seq, by, false, task.at)?;
                let (from, to) = (TaskState::Blocked, TaskState::Running);
                db.tallies.moved(self.tenant, from, to, 1);
                Ok(Some(claim))
            }
            // Whoever claims it ends it.
            Err(StorageError::Corrupt(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn holds(&self, candidate: &Candidate) -> bool {
        // Whatever was cancelled before is freed as well.
        let is_blocked = candidate.state == state_number(TaskState::Blocked);
        let is_due = candidate.run_at <= self.heir.now;
        let is_first = candidate.priority <= self.least.rank();
        is_blocked && is_due && is_first && candidate.lane == COMMON_LANE
    }
}
