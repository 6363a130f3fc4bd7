//! A cache of the versions that names refer to, each owner's apart.
//!
//! This host's own changes are seen at once. A change made through another host on the same
//! storage is seen when the entry has grown old.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::{ModuleInfo, ModuleName, ModuleRef};

/// The most references remembered; at one more all are forgotten and learnt again as they are used.
const REFERENCES_MAX: usize = 4096;
/// How long an answer is used before storage is asked again.
const AGE_MAX: Duration = Duration::from_secs(10);

/// The memory.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: RwLock<HashMap<Tenant, HashMap<ModuleRef, Known>>>,
    era: AtomicU64,
}

#[derive(Debug)]
struct Known {
    info: Arc<ModuleInfo>,
    since: Instant,
}

/// A marker that shows whether an answer from storage is older than a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Era(u64);

impl Names {
    /// The version that the owner's `reference` names, if it is known.
    pub(crate) fn get(&self, owner: &Tenant, reference: &ModuleRef) -> Option<Arc<ModuleInfo>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let entry = known.get(owner)?.get(reference)?;
        (entry.since.elapsed() < AGE_MAX).then(|| Arc::clone(&entry.info))
    }

    /// Must be taken before storage is asked.
    pub(crate) fn era(&self) -> Era {
        Era(self.era.load(Ordering::SeqCst))
    }

    /// Remembers storage's answer, unless a change was made since it was asked.
    pub(crate) fn learn(
        &self,
        asked_in: Era,
        (owner, reference): (&Tenant, &ModuleRef),
        info: &Arc<ModuleInfo>,
    ) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if self.era() == asked_in {
            if known.values().map(HashMap::len).sum::<usize>() >= REFERENCES_MAX {
                known.clear();
            }
            let entry = Known {
                info: Arc::clone(info),
                since: Instant::now(),
            };
            let own = known.entry(owner.clone()).or_default();
            own.insert(reference.clone(), entry);
        }
    }

    /// Forgets the owner's `name`, in every version.
    pub(crate) fn forget(&self, owner: &Tenant, name: &ModuleName) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        self.era.fetch_add(1, Ordering::SeqCst);
        if let Some(own) = known.get_mut(owner) {
            own.retain(|reference, _| reference.name != *name);
            if own.is_empty() {
                known.remove(owner);
            }
        }
    }
}
