//! Copies of bytes that hosts share, on this host's disk: bounded, the least recently used goes first.
//!
//! What somebody uses is not removed meanwhile. A copy is compared with its digest when it is made, and
//! again at its first use after a start, because nobody waited until the disk had it. Where the bytes
//! come from is the caller's business.

use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use cofferdam_trees::occupied;
use tempfile::NamedTempFile;
use tokio::sync::Mutex as Turns;

use super::{absent_is_fine, private_dir};
use crate::StorageError;
use crate::blobs::BlobHash;
use crate::blobs::content::Content;
use crate::blocking::blocking;

/// The start of the name of a copy that is not whole.
const UNFINISHED: &str = ".unfinished-";
/// Turns that are kept before those are forgotten that nobody waits for.
const TURNS_KEPT: usize = 64;

/// The copies of one data directory.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    limit_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used_bytes: u64,
    /// Counts uses; a copy remembers the last one of its own.
    uses: u64,
    copies: HashMap<BlobHash, Entry>,
    /// Whoever makes a copy has the turn; others wait and then find it.
    turns: HashMap<BlobHash, Weak<Turns<()>>>,
}

#[derive(Debug)]
struct Entry {
    occupied_bytes: u64,
    used_at: u64,
    /// How many use it now.
    users: u32,
    is_checked: bool,
}

/// Bytes by their address, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) hash: BlobHash,
    pub(crate) size_bytes: u64,
}

/// A copy in use. It stays until this is dropped.
#[derive(Debug)]
pub(super) struct Cached {
    cache: Arc<Cache>,
    hash: BlobHash,
    path: PathBuf,
}

impl Cached {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        if let Some(copy) = self.cache.state().copies.get_mut(&self.hash) {
            copy.users = copy.users.saturating_sub(1);
        }
    }
}

/// Room for a copy that is being made.
struct Room {
    cache: Arc<Cache>,
    occupied_bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        state.used_bytes = state.used_bytes.saturating_sub(self.occupied_bytes);
    }
}

impl Cache {
    /// Opens the directory, or makes it, and finds the copies of earlier incarnations. Blocks.
    pub(super) fn open(dir: PathBuf, limit_bytes: u64) -> Result<Arc<Cache>, StorageError> {
        private_dir().recursive(true).create(&dir)?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&dir)? {
            let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            match name.to_str().and_then(BlobHash::parse) {
                Some(hash) => {
                    let metadata = entry.symlink_metadata()?;
                    let made = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    found.push((made, hash, occupied(metadata.len())));
                }
                None => std::fs::remove_file(entry)?,
            }
        }
        found.sort_unstable();
        let cache = Arc::new(Cache {
            dir,
            limit_bytes,
            state: Mutex::default(),
        });
        for (_, hash, occupied_bytes) in found {
            cache.state().enter(hash, occupied_bytes, false);
        }
        // The limit may be lower than it was.
        let room = cache.room_for(0)?;
        drop(room);
        Ok(cache)
    }

    /// The most bytes that copies may take.
    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// The copy of these bytes, which `fetch` makes in the given file if there is none.
    /// [`StorageError::Full`] if copies in use leave no room for it.
    pub(super) async fn get<F>(
        self: &Arc<Cache>,
        wanted: Address,
        fetch: impl FnOnce(File) -> F,
    ) -> Result<Cached, StorageError>
    where
        F: Future<Output = Result<(), StorageError>>,
    {
        let turns = self.state().turns_of(wanted.hash);
        let _turn = turns.lock().await;
        if let Some(found) = self.checked(wanted.hash).await? {
            return Ok(found);
        }
        let cache = Arc::clone(self);
        let (room, draft) = blocking(move || {
            let room = cache.room_for(occupied(wanted.size_bytes))?;
            let draft = tempfile::Builder::new()
                .prefix(UNFINISHED)
                .tempfile_in(&cache.dir)?;
            Ok((room, draft))
        })
        .await?;
        fetch(draft.as_file().try_clone()?).await?;
        let cache = Arc::clone(self);
        blocking(move || cache.finish(wanted.hash, room, draft)).await
    }

    /// Takes over a file that has these bytes. If there is no room for it, it is removed.
    pub(super) async fn adopt(self: &Arc<Cache>, wanted: Address, path: PathBuf) {
        let turns = self.state().turns_of(wanted.hash);
        let _turn = turns.lock().await;
        let cache = Arc::clone(self);
        let adopted = blocking(move || {
            let is_there = cache.state().copies.contains_key(&wanted.hash);
            let room = match is_there {
                true => None,
                false => cache.room_for(occupied(wanted.size_bytes)).ok(),
            };
            match room {
                None => std::fs::remove_file(&path)?,
                Some(room) => {
                    std::fs::rename(&path, cache.path(wanted.hash))?;
                    drop(cache.enter(wanted.hash, room));
                }
            }
            Ok(())
        });
        if let Err(error) = adopted.await {
            tracing::warn!(%error, "a spooled input was left behind");
        }
    }

    fn finish(
        self: &Arc<Cache>,
        hash: BlobHash,
        room: Room,
        draft: NamedTempFile,
    ) -> Result<Cached, StorageError> {
        draft
            .persist(self.path(hash))
            .map_err(|refused| refused.error)?;
        Ok(self.enter(hash, room))
    }

    fn enter(self: &Arc<Cache>, hash: BlobHash, mut room: Room) -> Cached {
        let occupied_bytes = std::mem::take(&mut room.occupied_bytes);
        let mut state = self.state();
        state.used_bytes = state.used_bytes.saturating_sub(occupied_bytes);
        state.enter(hash, occupied_bytes, true);
        state.begin_use(hash);
        drop(state);
        self.cached(hash)
    }

    /// The copy, if there is one that is what it should be.
    async fn checked(self: &Arc<Cache>, hash: BlobHash) -> Result<Option<Cached>, StorageError> {
        let Some(is_checked) = self.state().begin_use(hash) else {
            return Ok(None);
        };
        let cached = self.cached(hash);
        if is_checked {
            return Ok(Some(cached));
        }
        let found = Content::of_file(cached.path.clone()).await;
        if found.is_ok_and(|found| found.hash() == hash) {
            if let Some(copy) = self.state().copies.get_mut(&hash) {
                copy.is_checked = true;
            }
            return Ok(Some(cached));
        }
        tracing::warn!(
            hash = hash.hex(),
            "a copy is not what it was; it is fetched again"
        );
        drop(cached);
        self.state().forget(hash);
        let path = self.path(hash);
        blocking(move || Ok(absent_is_fine(std::fs::remove_file(path))?)).await?;
        Ok(None)
    }

    fn cached(self: &Arc<Cache>, hash: BlobHash) -> Cached {
        Cached {
            cache: Arc::clone(self),
            hash,
            path: self.path(hash),
        }
    }

    /// Room for so many bytes more. Copies that nobody uses make it. Blocks.
    fn room_for(self: &Arc<Cache>, occupied_bytes: u64) -> Result<Room, StorageError> {
        loop {
            let mut state = self.state();
            let most = self.limit_bytes.saturating_sub(occupied_bytes);
            if state.used_bytes <= most && occupied_bytes <= self.limit_bytes {
                state.used_bytes += occupied_bytes;
                return Ok(Room {
                    cache: Arc::clone(self),
                    occupied_bytes,
                });
            }
            let Some(oldest) = state.least_recently_used() else {
                return Err(StorageError::Full(format!(
                    "copies of inputs and artifacts may take {} bytes, those in use leave too \
                     little, and {occupied_bytes} more are needed (storage.cache_bytes)",
                    self.limit_bytes
                )));
            };
            state.forget(oldest);
            // Under the lock, so that nobody makes it anew meanwhile.
            absent_is_fine(std::fs::remove_file(self.path(oldest)))?;
        }
    }

    fn path(&self, hash: BlobHash) -> PathBuf {
        self.dir.join(hash.hex())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, hash: BlobHash, occupied_bytes: u64, is_checked: bool) {
        self.uses += 1;
        self.used_bytes += occupied_bytes;
        let copy = Entry {
            occupied_bytes,
            used_at: self.uses,
            users: 0,
            is_checked,
        };
        self.copies.insert(hash, copy);
    }

    fn forget(&mut self, hash: BlobHash) {
        if let Some(copy) = self.copies.remove(&hash) {
            self.used_bytes = self.used_bytes.saturating_sub(copy.occupied_bytes);
        }
    }

    /// Counts a user of a copy; tells whether the copy was compared with its digest.
    fn begin_use(&mut self, hash: BlobHash) -> Option<bool> {
        self.uses += 1;
        let copy = self.copies.get_mut(&hash)?;
        copy.used_at = self.uses;
        copy.users += 1;
        Some(copy.is_checked)
    }

    fn least_recently_used(&self) -> Option<BlobHash> {
        let unused = self.copies.iter().filter(|(_, copy)| copy.users == 0);
        let oldest = unused.min_by_key(|(_, copy)| copy.used_at);
        oldest.map(|(hash, _)| *hash)
    }

    fn turns_of(&mut self, hash: BlobHash) -> Arc<Turns<()>> {
        if let Some(turns) = self.turns.get(&hash).and_then(Weak::upgrade) {
            return turns;
        }
        if self.turns.len() >= TURNS_KEPT {
            self.turns.retain(|_, turns| turns.strong_count() > 0);
        }
        let turns = Arc::new(Turns::new(()));
        self.turns.insert(hash, Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests;
