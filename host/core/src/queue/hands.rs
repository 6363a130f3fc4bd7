//! The claims that this host holds: from storage's answer until their end is recorded.
//!
//! If storage says that a task runs here but no claim is held for it, the answer to its claim was
//! lost; `reconciler` gives it back. Dropping a claim releases it, for whatever reason it is
//! dropped.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_domain::attempt::Fence;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::task::TaskId;

/// All held claims, by their fence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hands(Arc<Mutex<HashMap<Fence, TaskId>>>);

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
    /// Starts to hold claims.
    pub(crate) fn take(&self, claims: Vec<Claim>) -> Vec<Taken> {
        let mut held = self.lock();
        held.extend(claims.iter().map(|claim| (claim.fence, claim.task_id)));
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
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Fence, TaskId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.hands.lock().remove(&self.fence);
    }
}
