//! The result cache: what runs gave is kept for a while, for the same tenant and the same work.
//!
//! A run is looked up only if its caller asked for it, and only where nothing but its key decides what comes
//! out: it sends no requests and writes to no directory of the operator's. Completed runs that left no files are
//! kept as long as their caller said and there is room: in memory, and on disk, where they outlive the process.
//! While one of several that are alike runs, the others wait for it. The runner says what a run is made of;
//! nothing here runs one.

mod disk;
mod entry;
mod fifo;
mod flights;
mod kept;
mod key;
pub mod settings;
mod shares;
mod tier;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use self::disk::Disk;
use self::flights::{Flights, Found};
use self::kept::Kept;
use self::settings::CacheConfig;
use self::tier::{Bounds, Tier};
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::{Stream, Usage};
use cofferdam_domain::cache::{CacheTier, CacheUse};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::time::Timestamp;
use cofferdam_sandbox::Report;
use cofferdam_sandbox::control::Control;
use cofferdam_storage::files::results::ResultFiles;

use self::key::Key;
pub(crate) use self::key::{Door, KeyParts};

/// The results of this host.
pub struct Results {
    config: CacheConfig,
    memory: Tier<Arc<Kept>>,
    disk: OnceLock<Disk>,
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
    /// An empty cache, in memory alone.
    pub fn new(config: CacheConfig, clock: Clock, metrics: Arc<Metrics>) -> Results {
        let bounds = Bounds {
            bytes: config.bytes,
            entries: config.entries,
            tenant_bytes: config.tenant_bytes,
            policy: config.policy,
        };
        Results {
            config,
            memory: Tier::new(bounds, |_kept| ()),
            disk: OnceLock::new(),
            flights: Flights::default(),
            clock,
            metrics,
        }
    }

    /// Keeps results in these files as well, if there is to be room for any, until `end`. What is in them
    /// already is found again if `keeps` keeps what its tenant has, by its name and since when it has it.
    pub fn keep_on_disk(
        &self,
        files: ResultFiles,
        keeps: impl Fn(&Tenant, Timestamp) -> bool + Send + 'static,
        end: &Shutdown,
    ) {
        let clock = self.clock.clone();
        self.disk
            .get_or_init(|| Disk::begin(files, &self.config, clock, Box::new(keeps), end));
    }

    /// The report of `run`, or that of another run that is like it.
    pub(crate) async fn serve<E>(
        &self,
        ask: Ask,
        control: &Control,
        run: impl Future<Output = Result<Report, E>>,
    ) -> Result<(Report, CacheUse), E> {
        let came = Instant::now();
        if let Some(kept) = self.get(&ask, came).await
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
            if let Some(disk) = self.disk.get()
                && self.fits(&kept)
            {
                disk.put(ask.key, &kept, self.clock.now());
            }
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
        self.memory.shed();
        if let Some(disk) = self.disk.get() {
            disk.shed();
        }
    }

    /// Gives up everything if `keeps` does not keep what one tenant has, by its name and since when it has:
    /// another of that name must not find it. Tenants are seldom removed.
    pub fn keep_those(&self, keeps: impl Fn(&Tenant, Timestamp) -> bool) {
        let disk_keeps = |disk: &Disk| disk.all_keep(&keeps);
        if !self.memory.all_keep(&keeps) || !self.disk.get().is_none_or(disk_keeps) {
            self.shed();
        }
    }

    /// How many results are kept in each tier, and the bytes that they take, both as of lately.
    pub fn sizes(&self) -> [(u64, u64); CacheTier::ALL.len()] {
        CacheTier::ALL.map(|tier| match tier {
            CacheTier::Memory => self.memory.size(),
            CacheTier::Disk => self.disk.get().map_or((0, 0), Disk::size),
        })
    }

    async fn get(&self, ask: &Ask, now: Instant) -> Option<Arc<Kept>> {
        let is_young = |kept: &Arc<Kept>| kept.age(now) <= ask.ttl;
        if let Some(kept) = self.memory.get(&ask.key, now) {
            // What is on disk is no younger.
            let kept = Some(kept).filter(is_young)?;
            self.metrics.cache_hit(CacheTier::Memory);
            return Some(kept);
        }
        let kept = self.disk.get()?.get(ask.key, &ask.tenant, now).await;
        let kept = kept.filter(is_young)?;
        self.metrics.cache_hit(CacheTier::Disk);
        self.put(ask, &kept);
        Some(kept)
    }

    /// Keeps a result in memory.
    fn put(&self, ask: &Ask, kept: &Arc<Kept>) {
        let now = Instant::now();
        let made = self.clock.now().minus(kept.age(now));
        if self.fits(kept) {
            self.memory.put(ask.key, Arc::clone(kept), (now, made));
        }
    }

    fn fits(&self, kept: &Kept) -> bool {
        kept.bytes() <= self.config.entry_bytes
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

#[cfg(test)]
mod tests;
