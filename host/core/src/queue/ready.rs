//! Claims that were taken from storage and wait for a free slot.
//!
//! The dispatcher fills it and the lanes empty it, in the order of the configured strategy,
//! whenever each claim came: a critical task that was claimed last begins first. It is short by
//! design: it has the work of some milliseconds.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::hands::Taken;
use super::locks::{Mutex, MutexGuard, Notify, PoisonError};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::task::{ClaimOrder, Priority};

/// The claims, in the order in which they run.
#[derive(Debug)]
pub(crate) struct Ready {
    order: ClaimOrder,
    line: Mutex<Line>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Line {
    claims: BTreeMap<Turn, Waiting>,
    batches: i64,
}

/// The sort key, smallest first: priority, time, batch, and the place in the batch, because storage
/// orders each batch itself.
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
            line: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Adds a batch and wakes the lanes.
    pub(crate) fn push(&self, batch: Vec<Taken>) {
        let since = Instant::now();
        let single = batch.len() == 1;
        let mut line = self.lock();
        line.batches += 1;
        let number = line.batches;
        for (place, taken) in batch.into_iter().enumerate() {
            let turn = turn(self.order, &taken, number, place);
            line.claims.insert(turn, Waiting { taken, since });
        }
        drop(line);
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
                let mut line = self.lock();
                if let Some((_, waiting)) = line.claims.pop_first() {
                    let begun = begin(&waiting.taken);
                    return (waiting.taken, begun);
                }
            }
            arrived.await;
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().claims.len()
    }

    /// Whether the claim of a task waits here.
    #[cfg(test)]
    pub(crate) fn holds(&self, id: cofferdam_domain::task::TaskId) -> bool {
        let line = self.lock();
        line.claims
            .values()
            .any(|waiting| waiting.taken.task_id == id)
    }

    /// Whether a task of `priority` goes before something that waits here.
    pub(crate) fn is_overtaken_by(&self, priority: Priority) -> bool {
        match self.order {
            ClaimOrder::Priority => {
                let line = self.lock();
                let last = line.claims.last_key_value();
                last.is_some_and(|((rank, ..), _)| priority.rank() < *rank)
            }
            ClaimOrder::Fifo | ClaimOrder::Lifo => false,
        }
    }

    /// Takes out the first claim that `is_meant`.
    pub(crate) fn remove(&self, is_meant: impl Fn(&Claim) -> bool) -> Option<Taken> {
        let mut line = self.lock();
        let mut places = line.claims.iter();
        let (turn, _) = places.find(|(_, waiting)| is_meant(&waiting.taken))?;
        let turn = *turn;
        line.claims.remove(&turn).map(|waiting| waiting.taken)
    }

    /// Takes out what has waited for at least `age`, and what comes after it, which must not begin
    /// before it.
    pub(crate) fn take_older_than(&self, age: Duration) -> Vec<Taken> {
        let mut line = self.lock();
        let is_old = |(_, waiting): &(&Turn, &Waiting)| waiting.since.elapsed() >= age;
        let Some(first) = line.claims.iter().find(is_old).map(|(turn, _)| *turn) else {
            return Vec::new();
        };
        let taken = line.claims.split_off(&first).into_values();
        taken.map(|waiting| waiting.taken).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // Nothing panics while holding it; even if something did, the list would be consistent.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn turn(order: ClaimOrder, claim: &Claim, batch: i64, place: usize) -> Turn {
    let run_at = claim.run_at.as_millis();
    if claim.ahead {
        // Whoever claimed it knew that it is its turn, whatever came when.
        return (Priority::Critical.rank(), i64::MIN, batch, place);
    }
    match order {
        ClaimOrder::Priority => (claim.spec.priority.rank(), run_at, batch, place),
        ClaimOrder::Fifo => (0, run_at, batch, place),
        ClaimOrder::Lifo => (0, run_at.saturating_neg(), -batch, place),
    }
}
