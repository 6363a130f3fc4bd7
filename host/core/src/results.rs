//! The result cache: what runs gave is kept for a while, for the same tenant and the same work.
//!
//! A run is looked up only if its caller asked for it, and only where nothing but its key decides what comes
//! out: it sends no requests and writes to no directory of the operator's. Completed runs that left no files are
//! kept, in memory, as long as their caller said and there is room; a restart loses them. While one of several
//! that are alike runs, the others wait for it. The runner says what a run is made of; nothing here runs one.

mod flights;
mod kept;
mod key;
pub mod settings;
mod shares;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use self::flights::{Flights, Found};
use self::kept::Kept;
use self::settings::{CacheConfig, CachePolicy};
use self::shares::Shares;
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::{Stream, Usage};
use cofferdam_domain::cache::CacheUse;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::time::Timestamp;
use cofferdam_sandbox::Report;
use cofferdam_sandbox::control::Control;

use self::key::Key;
pub(crate) use self::key::{Door, KeyParts};

/// What an entry takes besides its bytes.
const ENTRY_OVERHEAD_BYTES: u64 = 512;

/// The results of this host.
pub struct Results {
    config: CacheConfig,
    kept: Cache<Key, Arc<Kept>>,
    shares: Arc<Shares>,
    flights: Flights,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// A look-up that a caller asked for.
pub(crate) struct Ask {
    tenant: Tenant,
    key: Key,
    /// How old a result may be, and how long this one is kept.
    ttl: Duration,
}

impl Ask {
    /// The look-up of a run of these parts, if it has a key.
    pub(crate) async fn of(parts: KeyParts, ttl: Duration) -> Option<Ask> {
        let tenant = parts.tenant.clone();
        let key = parts.key().await?;
        Some(Ask { tenant, key, ttl })
    }
}

impl Results {
    /// An empty cache.
    pub fn new(config: CacheConfig, clock: Clock, metrics: Arc<Metrics>) -> Results {
        let shares = Arc::new(Shares::default());
        let policy = match config.policy {
            CachePolicy::Lfu => EvictionPolicy::tiny_lfu(),
            CachePolicy::Lru => EvictionPolicy::lru(),
        };
        let least = config.bytes / config.entries.max(1);
        let freed = Arc::clone(&shares);
        let kept = Cache::builder()
            .max_capacity(config.bytes)
            // Each takes its part of the whole at least, so that their number is bounded too.
            .weigher(move |_key, kept: &Arc<Kept>| weight(kept, least))
            .eviction_policy(policy)
            .expire_after(ByTtl)
            .eviction_listener(move |_key, kept: Arc<Kept>, _cause| {
                freed.give(kept.tenant(), kept.bytes() + ENTRY_OVERHEAD_BYTES);
            })
            .build();
        Results {
            config,
            kept,
            shares,
            flights: Flights::default(),
            clock,
            metrics,
        }
    }

    /// The report of `run`, or that of another run that is like it.
    pub(crate) async fn serve<E>(
        &self,
        ask: Ask,
        control: &Control,
        run: impl Future<Output = Result<Report, E>>,
    ) -> Result<(Report, CacheUse), E> {
        let came = Instant::now();
        if let Some(kept) = self.get(&ask, came)
            && let Some(report) = self.unpacked(&kept, came, control).await
        {
            return Ok(self.told(report, CacheUse::Hit));
        }
        let lead = match self.flights.find(&ask.key) {
            Found::Lead(lead) => Some(lead),
            Found::Join(flight) => {
                // Whoever is stopped meanwhile is stopped as if it ran.
                let landed = tokio::select! {
                    landed = flight.landed() => landed,
                    () = control.kill.cancelled() => None,
                    () = control.cancel.cancelled() => None,
                };
                if let Some(kept) = landed
                    && let Some(report) = self.unpacked(&kept, came, control).await
                {
                    return Ok(self.told(report, CacheUse::Joined));
                }
                // The other did not complete: this one finds out for itself.
                None
            }
        };
        let report = run.await?;
        if let Some(kept) = Kept::of(&ask.tenant, &report, ask.ttl).await {
            let kept = Arc::new(kept);
            self.put(&ask, &kept);
            if let Some(lead) = lead {
                lead.lands(kept);
            }
        }
        Ok(self.told(report, CacheUse::Miss))
    }

    /// Whether nothing is ever kept.
    pub(crate) fn is_off(&self) -> bool {
        self.config.bytes == 0
    }

    /// Gives up everything.
    pub fn shed(&self) {
        self.kept.invalidate_all();
        self.kept.run_pending_tasks();
    }

    /// Gives up everything if `keeps` does not keep what one tenant has, by its name and since when it has:
    /// another of that name must not find it. Tenants are seldom removed.
    pub fn keep_those(&self, keeps: impl Fn(&Tenant, Timestamp) -> bool) {
        if !self.shares.all_keep(keeps) {
            self.shed();
        }
    }

    /// How many results are kept, and the bytes that they take, both as of lately.
    pub fn size(&self) -> (u64, u64) {
        (self.kept.entry_count(), self.shares.all())
    }

    fn get(&self, ask: &Ask, now: Instant) -> Option<Arc<Kept>> {
        let kept = self.kept.get(&ask.key)?;
        (kept.age(now) <= ask.ttl).then_some(kept)
    }

    fn put(&self, ask: &Ask, kept: &Arc<Kept>) {
        let bytes = kept.bytes() + ENTRY_OVERHEAD_BYTES;
        let most = match self.config.tenant_bytes {
            // The cache gives up others for it.
            0 => u64::MAX,
            bytes => bytes,
        };
        let take = || self.shares.take(&ask.tenant, bytes, most, self.clock.now());
        let makes_room = || {
            // What is over may be there still.
            self.kept.run_pending_tasks();
            take()
        };
        if kept.bytes() <= self.config.entry_bytes && (take() || makes_room()) {
            self.kept.insert(ask.key, Arc::clone(kept));
        }
    }

    /// A kept result as the report of this look-up, told to whoever listens.
    async fn unpacked(&self, kept: &Kept, came: Instant, control: &Control) -> Option<Report> {
        let mut report = kept.report().await?;
        report.usage = Usage {
            duration: came.elapsed(),
            ..Usage::default()
        };
        if let Some(observer) = &control.observer {
            let streams = &report.streams;
            for (stream, said) in [
                (Stream::Stdout, &streams.stdout),
                (Stream::Stderr, &streams.stderr),
                (Stream::Log, &streams.log),
            ] {
                if !said.bytes.is_empty() {
                    observer.wrote(stream, &said.bytes);
                }
            }
        }
        Some(report)
    }

    fn told(&self, report: Report, how: CacheUse) -> (Report, CacheUse) {
        self.metrics.cache_asked(how);
        (report, how)
    }
}

/// Results go once they were kept as long as they were to be, so that they give back their tenant's share.
struct ByTtl;

impl Expiry<Key, Arc<Kept>> for ByTtl {
    fn expire_after_create(&self, _: &Key, kept: &Arc<Kept>, _: Instant) -> Option<Duration> {
        Some(kept.ttl())
    }

    fn expire_after_update(
        &self,
        _: &Key,
        kept: &Arc<Kept>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.ttl())
    }
}

fn weight(kept: &Kept, least: u64) -> u32 {
    let bytes = (kept.bytes() + ENTRY_OVERHEAD_BYTES).max(least);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
