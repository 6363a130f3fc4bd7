//! Claims that were taken from storage and wait for a free slot.
//!
//! The dispatcher fills it, the lanes empty it. It is short by design: as long as what this host
//! gets through in some milliseconds, so that what is urgent is never stuck behind it for long.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use cofferdam_domain::claim::Claim;
use cofferdam_domain::task::TaskId;

/// The claims, in the order they are to be run.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    claims: Mutex<VecDeque<Held>>,
    arrived: Notify,
}

#[derive(Debug)]
struct Held {
    claim: Claim,
    since: Instant,
}

impl Ready {
    /// Appends a batch and wakes the lanes.
    pub(crate) fn push(&self, batch: Vec<Claim>) {
        let since = Instant::now();
        let single = batch.len() == 1;
        self.lock()
            .extend(batch.into_iter().map(|claim| Held { claim, since }));
        if single {
            self.arrived.notify_one();
        } else {
            self.arrived.notify_waiters();
        }
    }

    /// The next claim, as soon as there is one, and what `begin` makes of it before anybody can see
    /// that it is gone from here.
    pub(crate) async fn pop<T>(&self, begin: impl Fn(&Claim) -> T) -> (Claim, T) {
        loop {
            // Made before the look, so that a push between the look and the wait is not missed.
            let arrived = self.arrived.notified();
            {
                let mut claims = self.lock();
                if let Some(held) = claims.pop_front() {
                    let begun = begin(&held.claim);
                    return (held.claim, begun);
                }
            }
            arrived.await;
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Takes out the claim of one task.
    pub(crate) fn remove(&self, id: TaskId) -> Option<Claim> {
        let mut claims = self.lock();
        let place = claims.iter().position(|held| held.claim.task_id == id)?;
        claims.remove(place).map(|held| held.claim)
    }

    /// Takes out what has waited for at least `age`.
    pub(crate) fn take_older_than(&self, age: Duration) -> Vec<Claim> {
        let mut claims = self.lock();
        let old = claims
            .iter()
            .take_while(|held| held.since.elapsed() >= age)
            .count();
        claims.drain(..old).map(|held| held.claim).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Held>> {
        // Nothing panics while holding it; if something did, the deque is whole all the same.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
