//! What each tenant has of the cache, so that none fills it alone, and since when.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofferdam_domain::caller::Tenant;
use cofferdam_domain::time::Timestamp;

/// The shares of the tenants that have any.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<HashMap<Tenant, Share>>);

/// What a tenant has.
#[derive(Clone, Copy, Debug)]
struct Share {
    bytes: u64,
    /// No result of it is older.
    since: Timestamp,
}

impl Shares {
    /// Takes bytes for a tenant, if it then has no more than `most`.
    pub(super) fn take(&self, tenant: &Tenant, bytes: u64, most: u64, now: Timestamp) -> bool {
        let mut shares = self.lock();
        let has = shares.get(tenant).map_or(0, |share| share.bytes);
        let fits = has.saturating_add(bytes) <= most;
        if fits {
            let since = now;
            let share = shares.entry(tenant.clone());
            share.or_insert(Share { bytes: 0, since }).bytes += bytes;
        }
        fits
    }

    /// Gives bytes back.
    pub(super) fn give(&self, tenant: &Tenant, bytes: u64) {
        let mut shares = self.lock();
        if let Some(share) = shares.get_mut(tenant) {
            share.bytes = share.bytes.saturating_sub(bytes);
            if share.bytes == 0 {
                shares.remove(tenant);
            }
        }
    }

    /// Whether every tenant that has something may keep it, by its name and since when it has.
    pub(super) fn all_keep(&self, keeps: impl Fn(&Tenant, Timestamp) -> bool) -> bool {
        self.lock()
            .iter()
            .all(|(tenant, share)| keeps(tenant, share.since))
    }

    /// What all have together.
    pub(super) fn all(&self) -> u64 {
        self.lock().values().map(|share| share.bytes).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Tenant, Share>> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
