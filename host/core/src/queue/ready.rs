//! Claims that were taken from storage and wait for a free slot.
//!
//! The dispatcher fills it and the lanes empty it. Tenants take turns, so that nobody's lone task waits
//! behind what another has had claimed ahead; inside a tenant the order is that of the configured strategy,
//! whenever each claim came: a critical task that was claimed last begins first. It is short by design: it
//! has the work of some milliseconds.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::time::{Duration, Instant};

use super::hands::Taken;
use super::locks::{Mutex, MutexGuard, Notify, PoisonError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::task::{ClaimOrder, Priority};

/// The claims, in the order in which they run.
#[derive(Debug)]
pub(crate) struct Ready {
    order: ClaimOrder,
    lines: Mutex<Lines>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    /// One for each tenant that has claims here; the first has the next turn.
    round: VecDeque<Line>,
    batches: i64,
}

/// The claims of one tenant; never empty between two calls.
#[derive(Debug)]
struct Line {
    tenant: Tenant,
    claims: BTreeMap<Turn, Waiting>,
}

/// The sort key inside a tenant, smallest first: priority, time, batch, and the place in the batch, because
/// storage orders each batch itself.
type Turn = (u8, i64, i64, usize);

#[derive(Debug)]
struct Waiting {
    taken: Taken,
    since: Instant,
}

impl Ready {
    /// An empty list with that order.
    pub(crate) fn new(order: ClaimOrder) -> Ready {
        Ready {
            order,
            lines: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Adds a batch and wakes the lanes.
    pub(crate) fn push(&self, batch: Vec<Taken>) {
        let since = Instant::now();
        let single = batch.len() == 1;
        let mut lines = self.lock();
        lines.batches += 1;
        let number = lines.batches;
        for (place, taken) in batch.into_iter().enumerate() {
            let turn = turn(self.order, &taken, number, place);
            let line = lines.of(&taken.tenant);
            line.claims.insert(turn, Waiting { taken, since });
        }
        drop(lines);
        if single {
            self.arrived.notify_one();
        } else {
            self.arrived.notify_waiters();
        }
    }

    /// The next claim, as soon as there is one, converted by `begin` before anybody can see that it
    /// is gone from here.
    pub(crate) async fn pop<T>(&self, begin: impl Fn(&Claim) -> T) -> (Taken, T) {
        loop {
            // Registered before the check, so that a push between the check and the wait is not
            // missed, and two pushes wake two lanes.
            let mut arrived = pin!(self.arrived.notified());
            arrived.as_mut().enable();
            {
                let mut lines = self.lock();
                if let Some(taken) = lines.pop() {
                    let begun = begin(&taken);
                    return (taken, begun);
                }
            }
            arrived.await;
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().round.iter().map(|line| line.claims.len()).sum()
    }

    /// Whether the claim of a task waits here.
    #[cfg(test)]
    pub(crate) fn holds(&self, id: cofferdam_domain::task::TaskId) -> bool {
        let lines = self.lock();
        let mut waiting = lines.round.iter().flat_map(|line| line.claims.values());
        waiting.any(|waiting| waiting.taken.task_id == id)
    }

    /// How many of so many new tasks of that tenant and priority go before something that waits here.
    pub(crate) fn overtaken_by(&self, tenant: &Tenant, priority: Priority, tasks: usize) -> usize {
        let lines = self.lock();
        let Some(line) = lines.round.iter().find(|line| line.tenant == *tenant) else {
            // Its turn comes in the round that goes on, if there is one.
            return tasks.min(lines.round.len());
        };
        match self.order {
            ClaimOrder::Priority => {
                let last = line.claims.last_key_value();
                match last.is_some_and(|((rank, ..), _)| priority.rank() < *rank) {
                    true => tasks,
                    false => 0,
                }
            }
            ClaimOrder::Fifo | ClaimOrder::Lifo => 0,
        }
    }

    /// Takes out the first claim that `is_meant`.
    pub(crate) fn remove(&self, is_meant: impl Fn(&Claim) -> bool) -> Option<Taken> {
        let mut lines = self.lock();
        let found = lines.round.iter_mut().find_map(|line| {
            let mut places = line.claims.iter();
            let (turn, _) = places.find(|(_, waiting)| is_meant(&waiting.taken))?;
            let turn = *turn;
            line.claims.remove(&turn)
        });
        lines.round.retain(|line| !line.claims.is_empty());
        found.map(|waiting| waiting.taken)
    }

    /// Takes out what has waited for at least `age`, and what of its tenant comes after it, which must not
    /// begin before it.
    pub(crate) fn take_older_than(&self, age: Duration) -> Vec<Taken> {
        let mut lines = self.lock();
        let mut old = Vec::new();
        for line in &mut lines.round {
            let is_old = |(_, waiting): &(&Turn, &Waiting)| waiting.since.elapsed() >= age;
            if let Some(first) = line.claims.iter().find(is_old).map(|(turn, _)| *turn) {
                old.extend(line.claims.split_off(&first).into_values());
            }
        }
        lines.round.retain(|line| !line.claims.is_empty());
        old.into_iter().map(|waiting| waiting.taken).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Nothing panics while holding it; even if something did, the lines would be consistent.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// The line of a tenant; a new one has the last turn of the round.
    fn of(&mut self, tenant: &Tenant) -> &mut Line {
        let found = self.round.iter().position(|line| line.tenant == *tenant);
        let place = found.unwrap_or_else(|| {
            self.round.push_back(Line {
                tenant: tenant.clone(),
                claims: BTreeMap::new(),
            });
            self.round.len() - 1
        });
        &mut self.round[place]
    }

    /// The first claim of the tenant whose turn it is.
    fn pop(&mut self) -> Option<Taken> {
        let mut line = self.round.pop_front()?;
        let first = line.claims.pop_first();
        if !line.claims.is_empty() {
            self.round.push_back(line);
        }
        first.map(|(_, waiting)| waiting.taken)
    }
}

fn turn(order: ClaimOrder, claim: &Claim, batch: i64, place: usize) -> Turn {
    let run_at = claim.run_at.as_millis();
    if claim.ahead {
        // It has waited for long, whatever came when.
        return (Priority::Critical.rank(), i64::MIN, batch, place);
    }
    match order {
        ClaimOrder::Priority => (claim.spec.priority.rank(), run_at, batch, place),
        ClaimOrder::Fifo => (0, run_at, batch, place),
        ClaimOrder::Lifo => (0, run_at.saturating_neg(), -batch, place),
    }
}
