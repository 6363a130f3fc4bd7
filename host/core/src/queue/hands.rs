//! The claims in this host's hands: from storage's answer until their end is recorded.
//!
//! What storage says runs here and is in nobody's hands was claimed by a call whose answer was
//! lost; `reconciler` gives it back. Whoever drops a claim lets go of it, however that came about.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_domain::attempt::Fence;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::task::TaskId;

/// All claims in hand, by their fence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hands(Arc<Mutex<HashMap<Fence, TaskId>>>);

/// A claim in hand.
#[derive(Debug)]
pub(crate) struct Taken {
    claim: Claim,
    hold: Hold,
}

/// What is left of a claim once its end is on the way to storage.
#[derive(Debug)]
pub(crate) struct Hold {
    fence: Fence,
    hands: Hands,
}

impl Hands {
    /// Takes claims in hand.
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

    /// Everything in hand now.
    pub(crate) fn all(&self) -> HashMap<Fence, TaskId> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Fence, TaskId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Lets the claim go and stays in hand.
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
