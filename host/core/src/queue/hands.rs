//! The claims that this host holds: from storage's answer until their end is recorded.
//!
//! If storage says that a task runs here but no claim is held for it, the answer to its claim was
//! lost; `reconciler` gives it back. A call that is not answered yet may still deliver the claim, so
//! calls are numbered. Dropping a claim releases it, for whatever reason it is dropped.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;

use super::locks::{Mutex, MutexGuard, Notify, PoisonError};
use cofferdam_domain::attempt::Fence;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::task::TaskId;

/// All held claims, by their fence. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hands(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    held: Mutex<Held>,
    released: Notify,
}

#[derive(Debug, Default)]
struct Held {
    claims: HashMap<Fence, TaskId>,
    /// Calls that claim, counted.
    calls: u64,
    /// Those of them that were not answered yet, and for how many claims they ask.
    unanswered: BTreeMap<u64, usize>,
}

/// A call that claims. It is answered, or given up, when this is dropped.
#[derive(Debug)]
pub(crate) struct Reach {
    hands: Hands,
    number: u64,
}

/// A held claim.
#[derive(Debug)]
pub(crate) struct Taken {
    claim: Claim,
    hold: Hold,
}

/// The rest of a claim once its end is on the way to storage.
#[derive(Debug)]
pub(crate) struct Hold {
    fence: Fence,
    hands: Hands,
}

impl Hands {
    /// Records that a call for so many claims begins. They are held before the record is dropped.
    pub(crate) fn reach(&self, claims: usize) -> Reach {
        let mut held = self.lock();
        held.calls += 1;
        let number = held.calls;
        held.unanswered.insert(number, claims);
        drop(held);
        let hands = self.clone();
        Reach { hands, number }
    }

    /// How many calls have begun.
    pub(crate) fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Whether the first so many calls were all answered.
    pub(crate) fn are_answered(&self, calls: u64) -> bool {
        let held = self.lock();
        held.unanswered
            .first_key_value()
            .is_none_or(|(first, _)| *first > calls)
    }

    /// Waits until every call that claims is answered.
    pub(crate) async fn answered(&self) {
        self.until(|held| held.unanswered.is_empty()).await;
    }

    /// How many claims may still come by calls that were not answered yet.
    pub(crate) fn asked(&self) -> usize {
        self.lock().unanswered.values().sum()
    }

    /// Starts to hold claims.
    pub(crate) fn take(&self, claims: Vec<Claim>) -> Vec<Taken> {
        let mut held = self.lock();
        let named = claims.iter().map(|claim| (claim.fence, claim.task_id));
        held.claims.extend(named);
        drop(held);
        let taken = claims.into_iter().map(|claim| Taken {
            hold: Hold {
                fence: claim.fence,
                hands: self.clone(),
            },
            claim,
        });
        taken.collect()
    }

    /// All claims held at the moment.
    pub(crate) fn all(&self) -> HashMap<Fence, TaskId> {
        self.lock().claims.clone()
    }

    /// Waits until none of these is held any more.
    pub(crate) async fn released(&self, fences: &[Fence]) {
        let is_free = |held: &Held| !fences.iter().any(|fence| held.claims.contains_key(fence));
        self.until(is_free).await;
    }

    /// Waits until it is so. Something is released whenever it may have become so.
    async fn until(&self, is_so: impl Fn(&Held) -> bool) {
        loop {
            // Registered before the check, so that a release between the two is not missed.
            let mut released = pin!(self.0.released.notified());
            released.as_mut().enable();
            if is_so(&self.lock()) {
                return;
            }
            released.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Separates the claim; it still counts as held.
    pub(crate) fn into_hold(self) -> Hold {
        self.hold
    }
}

impl Deref for Taken {
    type Target = Claim;

    fn deref(&self) -> &Claim {
        &self.claim
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.hands.lock().claims.remove(&self.fence);
        self.hands.0.released.notify_waiters();
    }
}

impl Drop for Reach {
    fn drop(&mut self) {
        self.hands.lock().unanswered.remove(&self.number);
        self.hands.0.released.notify_waiters();
    }
}
