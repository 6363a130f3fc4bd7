//! The embedded backend: one SQLite database in the data directory, owned by one process.
//!
//! All changes go through one writer thread with group commit (`writer`), all reads through a
//! few threads with read-only connections (`readers`). A change is answered after its commit is
//! synced, so a caller that was answered reads its own write. What is known of each table is in
//! `migrations/sqlite/`.

mod as_modules;
mod as_reads;
mod as_tasks;
mod change;
mod claim;
mod connection;
mod db;
mod errors;
mod finish;
mod insert;
mod list;
mod modules;
mod prune;
mod readers;
mod record;
mod rescue;
mod rows;
mod settle;
mod spec;
mod tasks;
mod templates;
#[cfg(test)]
mod tests;
mod vital;
mod writer;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use rand::rngs::StdRng;
use tokio::sync::RwLock;

use self::db::Db;
use self::readers::Readers;
use self::writer::Writer;
use crate::StorageError;
use crate::blobs::{BlobHash, Blobs};
use crate::files::blocking;
use crate::files::sync::Fsync;
use crate::settings::StorageConfig;
use cofferdam_domain::module::Digest;

pub(crate) use self::connection::database_path;

/// The embedded backend.
pub(crate) struct SqliteStorage {
    writer: Writer,
    readers: Readers,
    blobs: Arc<Blobs>,
    /// Read while a blob is put that no row refers to yet; written while blobs are removed.
    putting: RwLock<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Where bytes are.
enum Kept {
    /// In their row: small ones, and those of an early version of this host.
    Inside(Vec<u8>),
    /// Beside the database.
    Blob(BlobHash),
}

impl SqliteStorage {
    /// Opens the database in the data directory, creating both if need be. `random` makes the
    /// fences. Blocks; meant for the start of the process. Refuses a directory that another
    /// process has open.
    pub(crate) fn open(
        settings: &StorageConfig,
        random: StdRng,
    ) -> Result<SqliteStorage, StorageError> {
        let lock = connection::lock(&settings.data)?;
        let database = database_path(&settings.data);
        let conn = connection::open_writer(&database)?;
        let blobs = Blobs::open(connection::blobs_path(&settings.data), Arc::new(Fsync))?;
        for hash in modules::unused_blobs(&conn, blobs.list()?)? {
            blobs.remove(hash)?;
        }
        let budget_bytes = settings.database_budget_bytes;
        let db = Db::new(conn, random, budget_bytes, blobs.used_bytes())?;
        let (readers, mut threads) = Readers::start(&database, settings.read_timeout)?;
        let (writer, thread) = Writer::start(db, lock)
            .map_err(|error| StorageError::Unavailable(error.to_string()))?;
        threads.push(thread);
        Ok(SqliteStorage {
            writer,
            readers,
            blobs: Arc::new(blobs),
            putting: RwLock::new(()),
            threads: Mutex::new(threads),
        })
    }

    /// Keeps the bytes of a version, unless they are kept already. Nobody removes them before a row
    /// refers to them as long as the caller holds `putting`.
    async fn put_blob(&self, digest: Digest, wasm: Bytes) -> Result<BlobHash, StorageError> {
        let known = self
            .readers
            .call(move |conn| modules::module_blob(conn, digest))
            .await?;
        if known.is_none() {
            let size = wasm.len();
            self.writer
                .call(move |db| db.budget.check(&db.conn, size))
                .await?;
        }
        let blobs = Arc::clone(&self.blobs);
        blocking(move || match known {
            Some(hash) if blobs.has(hash, wasm.len())? => Ok(hash),
            Some(_) | None => blobs.put(&wasm),
        })
        .await
    }

    /// The bytes, from wherever they are; `None` if they are not there any more.
    async fn bytes(&self, kept: Kept) -> Result<Option<Bytes>, StorageError> {
        match kept {
            Kept::Inside(bytes) => Ok(Some(bytes.into())),
            Kept::Blob(hash) => {
                let blobs = Arc::clone(&self.blobs);
                let bytes = blocking(move || blobs.get(hash)).await?;
                Ok(bytes.map(Bytes::from))
            }
        }
    }

    /// Removes blobs of what is gone, unless others have them. What cannot be removed
    /// is left to the next start.
    async fn remove_blobs(&self, hashes: Vec<BlobHash>) {
        if hashes.is_empty() {
            return;
        }
        let _nobody_puts = self.putting.write().await;
        let unused = self
            .readers
            .call(move |conn| modules::unused_blobs(conn, hashes))
            .await;
        let blobs = Arc::clone(&self.blobs);
        let remove = |unused: Vec<BlobHash>| {
            blocking(move || unused.into_iter().try_for_each(|hash| blobs.remove(hash)))
        };
        let removed = match unused {
            Ok(unused) => remove(unused).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "bytes that nothing refers to were left behind");
        }
    }

    /// Finishes what was accepted, closes the database and gives the data directory back. Later
    /// calls are answered with [`StorageError::Unavailable`]. Blocks until the threads have ended;
    /// dropping does the same.
    pub(crate) fn close(&self) {
        // The readers first: the writer empties the log only when nobody reads from it.
        self.readers.stop();
        self.writer.stop();
        let mut threads = self
            .threads
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a storage thread panicked");
            }
        }
    }
}

impl Drop for SqliteStorage {
    fn drop(&mut self) {
        self.close();
    }
}
