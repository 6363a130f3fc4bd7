//! Bytes beside the database: they are put before a row refers to them, and removed once none does.
//!
//! A caller that puts bytes holds a [`Fresh`] until the row is committed or given up, and no blob
//! is removed meanwhile. After that the hash is loose: the next removal checks it, and removes its
//! blob if no row refers to it. So a caller that goes away at any moment leaves nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::readers::Readers;
use crate::StorageError;
use crate::blobs::{BlobHash, Blobs};
use crate::blocking::blocking;

/// Where bytes are.
pub(super) enum Kept {
    /// In their row: small ones, and those of an early version of this host.
    Inside(Vec<u8>),
    /// Beside the database.
    Blob(BlobHash),
}

/// The blobs, and the hashes that may be without a reference.
pub(super) struct Beside {
    blobs: Arc<Blobs>,
    /// Locked for reading during a put and for writing during a removal.
    putting: Arc<RwLock<()>>,
    loose: Arc<Loose>,
}

#[derive(Default)]
struct Loose(Mutex<Vec<BlobHash>>);

impl Loose {
    fn lock(&self) -> MutexGuard<'_, Vec<BlobHash>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A put in progress.
#[derive(Clone)]
pub(super) struct Putting {
    blobs: Arc<Blobs>,
    loose: Arc<Loose>,
    _nobody_removes: Arc<OwnedRwLockReadGuard<()>>,
}

/// Bytes that were put and may still be without a row.
pub(super) struct Fresh {
    hash: BlobHash,
    putting: Putting,
}

impl Fresh {
    pub(super) fn hash(&self) -> BlobHash {
        self.hash
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.putting.loose.lock().push(self.hash);
    }
}

impl Putting {
    /// Keeps bytes. Blocks.
    pub(super) fn put(&self, bytes: &[u8]) -> Result<Fresh, StorageError> {
        let hash = self.blobs.put(bytes)?;
        Ok(self.fresh(hash))
    }

    /// Keeps bytes that are likely to be `known` already. Blocks.
    pub(super) fn put_known(&self, known: BlobHash, bytes: &[u8]) -> Result<Fresh, StorageError> {
        match self.blobs.has(known, bytes.len())? {
            true => Ok(self.fresh(known)),
            false => self.put(bytes),
        }
    }

    fn fresh(&self, hash: BlobHash) -> Fresh {
        Fresh {
            hash,
            putting: self.clone(),
        }
    }
}

impl Beside {
    pub(super) fn new(blobs: Arc<Blobs>) -> Beside {
        Beside {
            blobs,
            putting: Arc::default(),
            loose: Arc::default(),
        }
    }

    /// The blobs themselves.
    pub(super) fn blobs(&self) -> &Arc<Blobs> {
        &self.blobs
    }

    /// Prevents removals until the returned value and all its blobs are dropped.
    pub(super) async fn begin(&self) -> Putting {
        let guard = Arc::clone(&self.putting).read_owned().await;
        Putting {
            blobs: Arc::clone(&self.blobs),
            loose: Arc::clone(&self.loose),
            _nobody_removes: Arc::new(guard),
        }
    }

    /// The bytes, from wherever they are; `None` if they have been removed.
    pub(super) async fn get(&self, kept: Kept) -> Result<Option<Bytes>, StorageError> {
        match kept {
            Kept::Inside(bytes) => Ok(Some(bytes.into())),
            Kept::Blob(hash) => {
                let blobs = Arc::clone(&self.blobs);
                let bytes = blocking(move || blobs.get(hash)).await?;
                Ok(bytes.map(Bytes::from))
            }
        }
    }

    /// Removes the given blobs and all loose ones, unless something refers to them. A failed
    /// removal is left to the next time, and to the next start.
    pub(super) async fn remove(&self, readers: &Readers, gone: Vec<BlobHash>) {
        self.loose.lock().extend(gone);
        if let Err(error) = self.remove_loose(readers).await {
            tracing::warn!(%error, "bytes that nothing refers to were left behind");
        }
    }

    async fn remove_loose(&self, readers: &Readers) -> Result<(), StorageError> {
        if self.loose.lock().is_empty() {
            return Ok(());
        }
        let nobody_puts = Arc::clone(&self.putting).write_owned().await;
        let candidates = self.loose.lock().clone();
        let looked_at = candidates.len();
        let unused = readers
            .call(move |conn| unused_blobs(conn, candidates))
            .await?;
        let (blobs, loose) = (Arc::clone(&self.blobs), Arc::clone(&self.loose));
        blocking(move || {
            unused.into_iter().try_for_each(|hash| blobs.remove(hash))?;
            // Other hashes are only added behind these.
            loose.lock().drain(..looked_at);
            drop(nobody_puts);
            Ok(())
        })
        .await
    }
}

/// The `hashes` that neither a module nor an output refers to.
pub(super) fn unused_blobs(
    conn: &Connection,
    hashes: Vec<BlobHash>,
) -> Result<Vec<BlobHash>, StorageError> {
    let mut by_blob = conn.prepare_cached(
        "SELECT 1 FROM module WHERE blob = ?1 UNION ALL SELECT 1 FROM output WHERE blob = ?1",
    )?;
    let mut unused = Vec::new();
    for hash in hashes {
        if !by_blob.exists([hash.0])? {
            unused.push(hash);
        }
    }
    Ok(unused)
}
