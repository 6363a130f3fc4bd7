//! The quota of one attempt: bytes and entries of `/work` and `/out` together.
//!
//! Every operation that can change the size of a file or the number of entries holds the
//! [`Ledger`]'s lock: it reads the file's state, asks for room, acts, and records what really
//! happened. The lock makes the figures exact even if a guest has several writes in progress. The
//! apparent size counts, so a sparse file costs its length. The files themselves are elsewhere.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::settings::OverQuota;

/// The figure that a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Apparent sizes of files.
    Bytes,
    /// Files, directories and links.
    Entries,
}

/// A guest asked for more disk than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk quota is {allowed} {unit} and the guest asked for {used}", unit = match axis {
    Axis::Bytes => "bytes",
    Axis::Entries => "files and directories",
})]
pub struct DiskExceeded {
    /// The exceeded figure.
    pub axis: Axis,
    /// The use that was asked for.
    pub used: u64,
    /// The limit.
    pub allowed: u64,
}

/// Where a descriptor leads, which decides how writes there are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// `/in`: nothing can be written.
    Input,
    /// `/work` and `/out`: counted, and given back when removed.
    Scratch,
    /// The granted directory of that number. Writes are counted for good, because a file that the
    /// guest removes there may not be its own and must not give it room.
    Mount(usize),
}

/// A file's identity: device and inode.
pub(super) type FileId = (u64, u64);

/// A file's figures at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileFacts {
    /// Which file.
    pub(super) id: FileId,
    /// Whether it is a regular file.
    pub(super) regular: bool,
    /// Whether it is neither a file nor a directory: a pipe, a device, a socket.
    pub(super) special: bool,
    /// How many names it has.
    pub(super) links: u64,
    /// Its apparent size.
    pub(super) size: u64,
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    /// The guest sees that there is no space.
    NoSpace(DiskExceeded),
    /// The guest is ended.
    Kill(DiskExceeded),
}

/// A handle of one attempt's ledger. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Quota {
    ledger: Arc<Mutex<Ledger>>,
    figures: Arc<Figures>,
}

/// The figures that can be read without the lock, also while a write is in progress.
#[derive(Debug, Default)]
struct Figures {
    peak_bytes: AtomicU64,
    exceeded: OnceLock<DiskExceeded>,
}

impl Quota {
    /// An empty scratch under these limits.
    pub(super) fn new(bytes_max: u64, entries_max: u64, over: OverQuota) -> Quota {
        let figures = Arc::new(Figures::default());
        let ledger = Ledger {
            bytes_max,
            entries_max,
            over,
            bytes: 0,
            entries: 0,
            open: HashMap::new(),
            prune_at: PRUNE_MIN,
            figures: Arc::clone(&figures),
        };
        Quota {
            ledger: Arc::new(Mutex::new(ledger)),
            figures,
        }
    }

    /// Waits until no other change is in progress.
    pub(super) async fn lock(&self) -> OwnedMutexGuard<Ledger> {
        Arc::clone(&self.ledger).lock_owned().await
    }

    /// The ledger, unless a change is in progress.
    pub(super) fn try_lock(&self) -> Option<OwnedMutexGuard<Ledger>> {
        Arc::clone(&self.ledger).try_lock_owned().ok()
    }

    /// The most bytes that were in use at once.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.figures.peak_bytes.load(Ordering::Relaxed)
    }

    /// The first time the guest met its quota.
    pub(super) fn exceeded(&self) -> Option<DiskExceeded> {
        self.figures.exceeded.get().copied()
    }
}

/// The present use.
#[derive(Debug)]
pub(super) struct Ledger {
    bytes_max: u64,
    entries_max: u64,
    over: OverQuota,
    bytes: u64,
    entries: u64,
    /// Files the guest holds open. An open file keeps its bytes when its last name goes.
    open: HashMap<FileId, OpenFile>,
    prune_at: usize,
    figures: Arc<Figures>,
}

/// A file the guest opened and may still hold open.
#[derive(Debug)]
struct OpenFile {
    handles: Vec<Weak<dyn Any + Send + Sync>>,
    /// The bytes that a file without a name keeps until it is closed.
    nameless_bytes: Option<u64>,
}

impl OpenFile {
    fn is_held(&mut self) -> bool {
        self.handles.retain(|handle| handle.strong_count() > 0);
        !self.handles.is_empty()
    }
}

/// Closed files are forgotten when the table has doubled, and no sooner than at this size.
const PRUNE_MIN: usize = 64;

impl Ledger {
    /// Whether there is room for this much more. Nothing is recorded.
    pub(super) fn admit(&mut self, bytes: u64, entries: u64) -> Result<(), Refusal> {
        if self.lacks(bytes, entries).is_some() {
            self.forget_closed();
        }
        let Some(exceeded) = self.lacks(bytes, entries) else {
            return Ok(());
        };
        self.figures.exceeded.get_or_init(|| exceeded);
        Err(match self.over {
            OverQuota::Refuse => Refusal::NoSpace(exceeded),
            OverQuota::Kill => Refusal::Kill(exceeded),
        })
    }

    /// Whether a guest past its quota is ended.
    pub(super) fn kills(&self) -> bool {
        match self.over {
            OverQuota::Refuse => false,
            OverQuota::Kill => true,
        }
    }

    /// Records a new entry.
    pub(super) fn entered(&mut self) {
        self.entries += 1;
    }

    /// Records a file's new size; `now` was read after the change.
    pub(super) fn resized(&mut self, zone: Zone, size_before: u64, now: &FileFacts) {
        if now.size >= size_before {
            self.bytes = self.bytes.saturating_add(now.size - size_before);
            self.figures
                .peak_bytes
                .fetch_max(self.bytes, Ordering::Relaxed);
        } else if zone == Zone::Scratch {
            self.bytes = self.bytes.saturating_sub(size_before - now.size);
        }
        if now.links == 0
            && let Some(file) = self.open.get_mut(&now.id)
        {
            file.nameless_bytes = Some(now.size);
        }
    }

    /// Records that an entry of the scratch is gone; `was` was read before.
    pub(super) fn removed(&mut self, was: &FileFacts) {
        self.entries = self.entries.saturating_sub(1);
        if !was.regular || was.links > 1 {
            return;
        }
        if let Some(file) = self.held(&was.id) {
            file.nameless_bytes = Some(was.size);
        } else {
            self.open.remove(&was.id);
            self.bytes = self.bytes.saturating_sub(was.size);
        }
    }

    /// Records that the guest holds a file of the scratch open as long as `handle` lives.
    pub(super) fn opened(&mut self, id: FileId, handle: Weak<dyn Any + Send + Sync>) {
        if self.open.len() >= self.prune_at {
            self.forget_closed();
            self.prune_at = PRUNE_MIN.max(self.open.len() * 2);
        }
        if let Some(file) = self.held(&id) {
            file.handles.push(handle);
        } else {
            // The inode of a file without a name is free again once it is closed.
            self.forget(&id);
            self.open.insert(
                id,
                OpenFile {
                    handles: vec![handle],
                    nameless_bytes: None,
                },
            );
        }
    }

    /// A file the guest holds open at this moment.
    fn held(&mut self, id: &FileId) -> Option<&mut OpenFile> {
        let file = self.open.get_mut(id)?;
        file.is_held().then_some(file)
    }

    fn forget(&mut self, id: &FileId) {
        if let Some(file) = self.open.remove(id) {
            self.bytes = self.bytes.saturating_sub(file.nameless_bytes.unwrap_or(0));
        }
    }

    fn forget_closed(&mut self) {
        let mut freed = 0;
        self.open.retain(|_, file| {
            let held = file.is_held();
            if !held {
                freed += file.nameless_bytes.unwrap_or(0);
            }
            held
        });
        self.bytes = self.bytes.saturating_sub(freed);
    }

    /// Bytes and entries in use, less what was closed meanwhile.
    #[cfg(any(test, fuzzing))]
    pub(super) fn in_use(&mut self) -> (u64, u64) {
        self.forget_closed();
        (self.bytes, self.entries)
    }

    /// How many files are remembered as open.
    #[cfg(test)]
    pub(super) fn files_known(&self) -> usize {
        self.open.len()
    }

    fn lacks(&self, bytes: u64, entries: u64) -> Option<DiskExceeded> {
        let used = self.bytes.saturating_add(bytes);
        if bytes > 0 && used > self.bytes_max {
            return Some(DiskExceeded {
                axis: Axis::Bytes,
                used,
                allowed: self.bytes_max,
            });
        }
        let used = self.entries.saturating_add(entries);
        if entries > 0 && used > self.entries_max {
            return Some(DiskExceeded {
                axis: Axis::Entries,
                used,
                allowed: self.entries_max,
            });
        }
        None
    }
}
