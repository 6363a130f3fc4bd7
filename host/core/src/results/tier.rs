//! One tier of the cache: which results it has, which go first, and what each tenant has of it.
//!
//! What an entry is, and where its bytes are, is the caller's business, who hears of each that goes: because
//! there is no more room, because it is over, because another took its place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::entry::Entry;
use super::fifo::Fifo;
use super::key::Key;
use super::settings::CachePolicy;
use super::shares::Shares;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::time::Timestamp;

/// How much a tier has, and which go first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: u64,
    pub(super) entries: u64,
    /// What one tenant may have of it; 0 means all.
    pub(super) tenant_bytes: u64,
    pub(super) policy: CachePolicy,
}

/// The tier.
pub(super) struct Tier<E> {
    order: Order<E>,
    shares: Arc<Shares>,
    tenant_bytes: u64,
    goes: Goes<E>,
}

/// Hears of an entry that goes.
pub(super) type Goes<E> = fn(&E);

enum Order<E> {
    ByUse(Cache<Key, E>),
    ByAge(Fifo<E>),
}

impl<E: Entry> Tier<E> {
    /// An empty one. `goes` is told of what goes, on any thread: it must not block.
    pub(super) fn new(bounds: Bounds, goes: Goes<E>) -> Tier<E> {
        let shares = Arc::new(Shares::default());
        let by_use = |policy| Order::ByUse(by_use(bounds, policy, Arc::clone(&shares), goes));
        let order = match bounds.policy {
            CachePolicy::Lfu => by_use(EvictionPolicy::tiny_lfu()),
            CachePolicy::Lru => by_use(EvictionPolicy::lru()),
            CachePolicy::Fifo => Order::ByAge(Fifo::new(bounds.bytes, bounds.entries)),
        };
        Tier {
            order,
            shares,
            tenant_bytes: bounds.tenant_bytes,
            goes,
        }
    }

    /// Puts an entry, if its tenant may have it. `made` is when its tenant had it first.
    pub(super) fn put(&self, key: Key, entry: E, (now, made): (Instant, Timestamp)) -> bool {
        let most = match self.tenant_bytes {
            // The tier gives up others for it.
            0 => u64::MAX,
            bytes => bytes,
        };
        let take = || {
            let (tenant, bytes) = (entry.tenant(), entry.bytes());
            self.shares.take(tenant, bytes, most, made)
        };
        let makes_room = || {
            // What is over may be there still.
            self.tidy(now);
            take()
        };
        let fits = take() || makes_room();
        if fits {
            match &self.order {
                Order::ByUse(cache) => cache.insert(key, entry),
                Order::ByAge(fifo) => self.gone(&fifo.insert(key, entry)),
            }
        }
        fits
    }

    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<E> {
        let found = match &self.order {
            Order::ByUse(cache) => cache.get(key),
            Order::ByAge(fifo) => fifo.get(key),
        };
        found.filter(|entry| !entry.left(now).is_zero())
    }

    pub(super) fn remove(&self, key: &Key) {
        match &self.order {
            Order::ByUse(cache) => cache.invalidate(key),
            Order::ByAge(fifo) => self.gone(fifo.remove(key).as_slice()),
        }
    }

    /// Lets go what is over.
    pub(super) fn tidy(&self, now: Instant) {
        match &self.order {
            Order::ByUse(cache) => cache.run_pending_tasks(),
            Order::ByAge(fifo) => self.gone(&fifo.sweep(now)),
        }
    }

    /// Gives up everything.
    pub(super) fn shed(&self) {
        match &self.order {
            Order::ByUse(cache) => {
                cache.invalidate_all();
                cache.run_pending_tasks();
            }
            Order::ByAge(fifo) => self.gone(&fifo.clear()),
        }
    }

    /// How many there are, and the bytes that they take, both as of lately.
    pub(super) fn size(&self) -> (u64, u64) {
        let entries = match &self.order {
            Order::ByUse(cache) => cache.entry_count(),
            Order::ByAge(fifo) => fifo.len(),
        };
        (entries, self.shares.all())
    }

    /// Whether every tenant that has something may keep it, by its name and since when it has.
    pub(super) fn all_keep(&self, keeps: impl Fn(&Tenant, Timestamp) -> bool) -> bool {
        self.shares.all_keep(keeps)
    }

    fn gone(&self, entries: &[E]) {
        for entry in entries {
            self.shares.give(entry.tenant(), entry.bytes());
            (self.goes)(entry);
        }
    }
}

fn by_use<E: Entry>(
    bounds: Bounds,
    policy: EvictionPolicy,
    shares: Arc<Shares>,
    goes: Goes<E>,
) -> Cache<Key, E> {
    let least = bounds.bytes / bounds.entries.max(1);
    Cache::builder()
        .max_capacity(bounds.bytes)
        // Each takes its part of the whole at least, so that their number is bounded too.
        .weigher(move |_key, entry: &E| u32::try_from(entry.bytes().max(least)).unwrap_or(u32::MAX))
        .eviction_policy(policy)
        .expire_after(UntilOver)
        .eviction_listener(move |_key, entry: E, _cause| {
            shares.give(entry.tenant(), entry.bytes());
            goes(&entry);
        })
        .build()
}

/// Entries go once they are over, so that they give back their tenant's share.
struct UntilOver;

impl<E: Entry> Expiry<Key, E> for UntilOver {
    fn expire_after_create(&self, _: &Key, entry: &E, now: Instant) -> Option<Duration> {
        Some(entry.left(now))
    }

    fn expire_after_update(
        &self,
        _: &Key,
        entry: &E,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.left(now))
    }
}
