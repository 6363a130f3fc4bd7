//! The tier on disk: what runs gave outlives this process, one file each.
//!
//! Results are written in the background, as they come; more than the disk is quick enough for are kept in
//! memory alone. Until what earlier processes left was gone through, nothing is found here. Files of what went
//! are removed in the background too, and what a crash leaves of either goes at the next start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::entry::Entry;
use super::kept::Kept;
use super::kept::written::{BEGINNING_BYTES, Head};
use super::key::Key;
use super::settings::CacheConfig;
use super::tier::{Bounds, Tier};
use crate::shutdown::Shutdown;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::StorageError;
use cofferdam_storage::files::results::{ResultFiles, ResultName};

/// What is kept for less time than this is not worth a file.
const TTL_MIN: Duration = Duration::from_secs(10);
/// Results that wait to be written, and their bytes.
const WAITING_MAX: usize = 256;
const WAITING_BYTES_MAX: u64 = 32 << 20;
/// Results that are written at one go.
const AT_ONCE: usize = 32;
/// What is over is looked for this often.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Who may keep what they have, by their name and since when they have it.
pub(super) type Keeps = Box<dyn Fn(&Tenant, Timestamp) -> bool + Send>;

/// The tier.
pub(super) struct Disk {
    place: Arc<Place>,
    waiting: mpsc::Sender<Wanted>,
}

/// What it shares with whoever writes.
struct Place {
    files: ResultFiles,
    tier: Tier<Arc<Lying>>,
    /// Files of what went. They were entries, so there are no more than those.
    gone: Arc<Gone>,
    waiting_bytes: AtomicU64,
    /// The longest file.
    most_bytes: u64,
    clock: Clock,
}

type Gone = Mutex<Vec<ResultName>>;

/// A result that is to be written.
struct Wanted {
    key: Key,
    kept: Arc<Kept>,
    made: Timestamp,
}

/// A result in its file.
struct Lying {
    name: ResultName,
    tenant: Tenant,
    bytes: u64,
    until: Instant,
    gone: Arc<Gone>,
}

impl Entry for Arc<Lying> {
    fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn left(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

impl Disk {
    /// Begins: what is there and `keeps` keeps is taken up, the rest is removed. It works until `end`.
    pub(super) fn begin(
        files: ResultFiles,
        config: &CacheConfig,
        clock: Clock,
        keeps: Keeps,
        end: &Shutdown,
    ) -> Disk {
        let bounds = Bounds {
            bytes: config.disk_bytes,
            entries: config.disk_entries,
            tenant_bytes: config.disk_tenant_bytes,
            policy: config.policy,
        };
        let place = Arc::new(Place {
            files,
            tier: Tier::new(bounds, |lying: &Arc<Lying>| lying.goes()),
            gone: Arc::default(),
            waiting_bytes: AtomicU64::new(0),
            most_bytes: config.entry_bytes.saturating_add(BEGINNING_BYTES as u64),
            clock,
        });
        let (waiting, wanted) = mpsc::channel(WAITING_MAX);
        let work = work(Arc::clone(&place), wanted, keeps, end.clone());
        end.spawn("results on disk", work);
        Disk { place, waiting }
    }

    /// Has a result written, if there is time for it.
    pub(super) fn put(&self, key: Key, kept: &Arc<Kept>, made: Timestamp) {
        let place = &self.place;
        let (bytes, before) = (kept.bytes(), place.waiting_bytes.load(Ordering::Relaxed));
        if kept.ttl() < TTL_MIN || before.saturating_add(bytes) > WAITING_BYTES_MAX {
            return;
        }
        place.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let kept = Arc::clone(kept);
        if self.waiting.try_send(Wanted { key, kept, made }).is_err() {
            place.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// The result of a key, if its file is there and whole.
    pub(super) async fn get(&self, key: Key, tenant: &Tenant, now: Instant) -> Option<Arc<Kept>> {
        let lying = self.place.tier.get(&key, now)?;
        let (place, tenant) = (Arc::clone(&self.place), tenant.clone());
        let read = move || place.read(&key, &tenant, (now, &lying));
        tokio::task::spawn_blocking(read).await.ok()?
    }

    /// Gives up everything.
    pub(super) fn shed(&self) {
        self.place.tier.shed();
    }

    /// How many there are, and the space that they take, both as of lately.
    pub(super) fn size(&self) -> (u64, u64) {
        self.place.tier.size()
    }

    /// Whether every tenant that has something may keep it, by its name and since when it has.
    pub(super) fn all_keep(&self, keeps: impl Fn(&Tenant, Timestamp) -> bool) -> bool {
        self.place.tier.all_keep(keeps)
    }
}

/// Takes up what is there, then writes and removes until the end.
async fn work(place: Arc<Place>, mut wanted: mpsc::Receiver<Wanted>, keeps: Keeps, end: Shutdown) {
    let (found, until) = (Arc::clone(&place), end.clone());
    aside(move || found.take_up(&keeps, &until)).await;
    loop {
        let mut some = Vec::with_capacity(AT_ONCE);
        tokio::select! {
            biased;
            _count = wanted.recv_many(&mut some, AT_ONCE) => {}
            () = tokio::time::sleep(TIDY_EVERY) => {}
            () = end.requested() => return,
        }
        let place = Arc::clone(&place);
        aside(move || place.write(some)).await;
    }
}

/// Runs what blocks where it may.
async fn aside(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        tracing::error!(%error, "results on disk are not kept in order");
    }
}

impl Place {
    /// Goes through what earlier processes left, the oldest first.
    fn take_up(&self, keeps: &Keeps, end: &Shutdown) {
        let names = self.files.names().unwrap_or_else(|error| {
            tracing::warn!(%error, "kept results of earlier are not found again");
            Vec::new()
        });
        for name in names {
            if end.is_requested() {
                return;
            }
            if self.take(name, keeps).is_none() {
                self.lock_gone().push(name);
            }
            self.remove_gone();
        }
    }

    fn take(&self, name: ResultName, keeps: &Keeps) -> Option<()> {
        let (begins, bytes) = self.files.beginning(name, BEGINNING_BYTES).ok()?;
        let head = Head::read(&begins)?;
        let (key, tenant, made) = (head.key()?, head.tenant()?, head.made());
        let left = head.left(self.clock.now());
        if left.is_zero() || !keeps(&tenant, made) {
            return None;
        }
        let now = Instant::now();
        let lying = self.lying((name, bytes), tenant, now.checked_add(left)?);
        self.tier.put(key, lying, (now, made)).then_some(())
    }

    fn lying(
        &self,
        (name, bytes): (ResultName, u64),
        tenant: Tenant,
        until: Instant,
    ) -> Arc<Lying> {
        Arc::new(Lying {
            name,
            tenant,
            bytes,
            until,
            gone: Arc::clone(&self.gone),
        })
    }

    fn write(&self, wanted: Vec<Wanted>) {
        for Wanted { key, kept, made } in wanted {
            if let Err(error) = self.write_one(key, &kept, made) {
                // A full disk is told of where the host looks at it.
                tracing::debug!(%error, "a result is kept in memory alone");
            }
            self.waiting_bytes
                .fetch_sub(kept.bytes(), Ordering::Relaxed);
        }
        self.tier.tidy(Instant::now());
        self.remove_gone();
    }

    fn write_one(&self, key: Key, kept: &Arc<Kept>, made: Timestamp) -> Result<(), StorageError> {
        let now = Instant::now();
        let until = now.checked_add(kept.ttl().saturating_sub(kept.age(now)));
        let (Some(parts), Some(until)) = (kept.written(&key, made), until) else {
            return Ok(());
        };
        let name = self.files.new_name(made);
        let parts: Vec<&[u8]> = parts.iter().map(Bytes::as_ref).collect();
        let bytes = self.files.put(name, &parts)?;
        let lying = self.lying((name, bytes), kept.tenant().clone(), until);
        if !self.tier.put(key, lying, (now, made)) {
            self.lock_gone().push(name);
        }
        Ok(())
    }

    fn read(
        &self,
        key: &Key,
        tenant: &Tenant,
        (now, lying): (Instant, &Lying),
    ) -> Option<Arc<Kept>> {
        let read = self.files.get(lying.name, self.most_bytes);
        let file = read.map_err(|error| {
            // It may have gone meanwhile, which is no defect.
            if self
                .tier
                .get(key, now)
                .is_some_and(|it| it.name == lying.name)
            {
                tracing::warn!(%error, "a kept result cannot be read");
                self.tier.remove(key);
            }
        });
        let times = (now, self.clock.now());
        Kept::read(file.ok()?.into(), (key, tenant), times).map(Arc::new)
    }

    fn remove_gone(&self) {
        let gone = std::mem::take(&mut *self.lock_gone());
        for name in gone {
            if let Err(error) = self.files.remove(name) {
                tracing::warn!(%error, "a file of a result was left behind until the next start");
            }
        }
    }

    fn lock_gone(&self) -> MutexGuard<'_, Vec<ResultName>> {
        // Nothing panics while holding it.
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lying {
    fn goes(&self) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.push(self.name);
    }
}

#[cfg(test)]
mod tests;
