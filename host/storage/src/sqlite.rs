//! The embedded backend: one SQLite database in the data directory, owned by one process.
//!
//! All changes go through one writer thread with group commit (`writer`), all reads through a
//! few threads with read-only connections (`readers`). A change is answered after its commit is
//! synced, so a caller that was answered reads its own write. `migrations/sqlite/` describes each
//! table.

mod access;
mod as_access;
mod as_callbacks;
mod as_cells;
mod as_definitions;
mod as_modules;
mod as_reads;
mod as_schedules;
mod as_secrets;
mod as_tasks;
mod as_trail;
mod as_workflows;
mod batch;
mod beside;
mod callbacks;
mod cells;
mod change;
mod claim;
mod classes;
mod connection;
mod cpu;
mod db;
mod definitions;
mod errors;
mod finish;
mod inherit;
mod insert;
mod lanes;
mod list;
mod modules;
mod nodes;
mod prune;
mod quotas;
mod readers;
mod record;
mod release;
mod rescue;
mod schedules;
mod settle;
mod spec;
mod tasks;
mod templates;
#[cfg(test)]
mod tests;
mod trail;
mod vital;
mod workers;
mod workflows;
mod writer;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rand::rngs::StdRng;

use self::beside::Beside;
use self::db::{Budget, Db};
use self::readers::Readers;
use self::writer::Writer;
use crate::StorageError;
use crate::blobs::Blobs;
use crate::files::sync::Fsync;
use crate::lock;
use crate::serving::Serving;
use crate::settings::{ClaimRules, StorageConfig};

pub(crate) use self::connection::database_path;
pub(crate) use self::trail::TrailReader;

/// The embedded backend.
pub(crate) struct SqliteStorage {
    writer: Writer,
    readers: Readers,
    beside: Beside,
    budget: Budget,
    rules: ClaimRules,
    serving: Arc<Serving>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SqliteStorage {
    /// Opens the database in the data directory, or creates both. `random` makes the
    /// fences. Blocks; meant for the start of the process. Refuses a directory that another
    /// process has open.
    pub(crate) fn open(
        settings: &StorageConfig,
        random: StdRng,
    ) -> Result<SqliteStorage, StorageError> {
        let lock = lock::lock(&settings.data)?;
        let database = database_path(&settings.data);
        let conn = connection::open_writer(&database)?;
        let blobs = Blobs::open(connection::blobs_path(&settings.data), Arc::new(Fsync))?;
        for hash in beside::unused_blobs(&conn, blobs.list()?)? {
            blobs.remove(hash)?;
        }
        let budget = Budget::new(settings.database_budget_bytes, blobs.used_bytes());
        lanes::bring_up_to_date(&conn, &settings.claims)?;
        let rules = settings.claims.clone();
        let db = Db::new(conn, random, budget.clone(), rules)?;
        let serving = Arc::clone(&db.serving);
        let (readers, mut threads) = Readers::start(&database, settings.read_timeout)?;
        let (writer, thread) = Writer::start(db, lock)
            .map_err(|error| StorageError::Unavailable(error.to_string()))?;
        threads.push(thread);
        Ok(SqliteStorage {
            writer,
            readers,
            beside: Beside::new(Arc::new(blobs)),
            budget,
            rules: settings.claims.clone(),
            serving,
            threads: Mutex::new(threads),
        })
    }

    /// Finishes accepted work, closes the database and releases the data directory. Later
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
