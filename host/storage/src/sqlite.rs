//! The embedded backend: one SQLite database in the data directory, owned by one process.
//!
//! All changes go through one writer thread with group commit (`writer`), all reads through a
//! few threads with read-only connections (`readers`). A change is answered after its commit is
//! synced, so a caller that was answered reads its own write. What is known of each table is in
//! `migrations/sqlite/`.

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

use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::StdRng;
use tokio::sync::RwLock;

use self::db::Db;
use self::readers::Readers;
use self::writer::Writer;
use super::{
    Cancelled, Counts, Finished, Inserted, Orphans, Progress, Pruned, Purged, PutModule, Rescued,
    Retried, Storage, StorageError, StoredModule, TaskFilter, TaskPage,
};
use crate::blobs::{BlobHash, Blobs};
use crate::files::blocking;
use crate::files::sync::Fsync;
use crate::settings::StorageConfig;
use cofferdam_domain::attempt::{Attempt, Captured, Payload, Stream, WorkerId};
use cofferdam_domain::claim::{AttemptEnd, Claim};
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleName, ModuleRef};
use cofferdam_domain::task::{BlobId, ClaimOrder, NewTask, Task, TaskId, TaskSpec};
use cofferdam_domain::time::Timestamp;

pub(crate) use self::connection::database_path;

/// The embedded backend.
pub struct SqliteStorage {
    writer: Writer,
    readers: Readers,
    blobs: Arc<Blobs>,
    /// Read while a blob is put that no row refers to yet; written while blobs are removed.
    putting: RwLock<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SqliteStorage {
    /// Opens the database in the data directory, creating both if need be. `random` makes the
    /// fences. Blocks; meant for the start of the process. Refuses a directory that another
    /// process has open.
    pub fn open(settings: &StorageConfig, random: StdRng) -> Result<SqliteStorage, StorageError> {
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

    /// Removes blobs that modules had which are gone, unless others have them. What cannot be removed
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
            tracing::warn!(%error, "the bytes of removed modules were left behind");
        }
    }

    /// Finishes what was accepted, closes the database and gives the data directory back. Later
    /// calls are answered with [`StorageError::Unavailable`]. Blocks until the threads have ended;
    /// dropping does the same.
    pub fn close(&self) {
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

#[async_trait]
impl Storage for SqliteStorage {
    async fn put_module(
        &self,
        name: &ModuleName,
        info: &ModuleInfo,
        wasm: Bytes,
        now: Timestamp,
    ) -> Result<PutModule, StorageError> {
        let (name, info) = (name.clone(), info.clone());
        let _putting = self.putting.read().await;
        let blob = self.put_blob(info.digest, wasm).await?;
        self.writer
            .call(move |db| modules::put_module(db, &name, &info, blob, now))
            .await
    }

    async fn find_module(
        &self,
        reference: &ModuleRef,
    ) -> Result<Option<StoredModule>, StorageError> {
        let reference = reference.clone();
        self.readers
            .call(move |conn| modules::find_module(conn, &reference))
            .await
    }

    async fn list_modules(
        &self,
        after: Option<&ModuleName>,
        limit: u32,
    ) -> Result<Vec<StoredModule>, StorageError> {
        let after = after.cloned();
        self.readers
            .call(move |conn| modules::list_modules(conn, after.as_ref(), limit))
            .await
    }

    async fn module_versions(&self, name: &ModuleName) -> Result<Vec<StoredModule>, StorageError> {
        let name = name.clone();
        self.readers
            .call(move |conn| modules::module_versions(conn, &name))
            .await
    }

    async fn module_info(&self, digest: &Digest) -> Result<Option<ModuleInfo>, StorageError> {
        let digest = *digest;
        self.readers
            .call(move |conn| modules::module_info(conn, digest))
            .await
    }

    async fn module_wasm(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError> {
        let digest = *digest;
        let found = self
            .readers
            .call(move |conn| modules::module_bytes(conn, digest))
            .await?;
        match found {
            None => Ok(None),
            Some(modules::Bytes::Inside(bytes)) => Ok(Some(bytes.into())),
            Some(modules::Bytes::Blob(hash)) => {
                let blobs = Arc::clone(&self.blobs);
                let bytes = blocking(move || blobs.get(hash)).await?;
                Ok(bytes.map(Bytes::from))
            }
        }
    }

    async fn remove_module(&self, name: &ModuleName) -> Result<bool, StorageError> {
        let name = name.clone();
        self.writer
            .call(move |db| modules::remove_module(db, &name))
            .await
    }

    async fn insert_tasks(
        &self,
        tasks: Vec<NewTask>,
        pending_max: u64,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, StorageError> {
        self.writer
            .call(move |db| insert::insert_tasks(db, &tasks, pending_max, now))
            .await
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>, StorageError> {
        self.readers.call(move |conn| tasks::task(conn, id)).await
    }

    async fn task_spec(&self, id: TaskId) -> Result<Option<TaskSpec>, StorageError> {
        self.readers
            .call(move |conn| spec::task_spec(conn, id))
            .await
    }

    async fn tasks(&self, filter: &TaskFilter, limit: u32) -> Result<TaskPage, StorageError> {
        let filter = filter.clone();
        self.readers
            .call(move |conn| list::tasks(conn, &filter, limit))
            .await
    }

    async fn result(&self, id: TaskId) -> Result<Option<Payload>, StorageError> {
        self.readers.call(move |conn| tasks::result(conn, id)).await
    }

    async fn stream(
        &self,
        id: TaskId,
        attempt: Option<u32>,
        stream: Stream,
    ) -> Result<Option<Captured>, StorageError> {
        self.readers
            .call(move |conn| tasks::stream(conn, id, attempt, stream))
            .await
    }

    async fn attempts(&self, id: TaskId) -> Result<Vec<Attempt>, StorageError> {
        self.readers
            .call(move |conn| tasks::attempts(conn, id))
            .await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        slots: u32,
        order: ClaimOrder,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StorageError> {
        self.writer
            .call(move |db| claim::claim(db, worker, slots, order, now))
            .await
    }

    async fn finish(&self, ends: Vec<AttemptEnd>) -> Result<Vec<Finished>, StorageError> {
        self.writer.call(move |db| finish::finish(db, &ends)).await
    }

    async fn report_progress(
        &self,
        reports: Vec<Progress>,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        self.writer
            .call(move |db| finish::report_progress(db, &reports, now))
            .await
    }

    async fn cancel(&self, id: TaskId, now: Timestamp) -> Result<Cancelled, StorageError> {
        self.writer
            .call(move |db| change::cancel(db, id, now))
            .await
    }

    async fn retry(&self, id: TaskId, now: Timestamp) -> Result<Retried, StorageError> {
        self.writer.call(move |db| change::retry(db, id, now)).await
    }

    async fn cancel_requests(&self, worker: WorkerId) -> Result<Vec<TaskId>, StorageError> {
        self.readers
            .call(move |conn| tasks::cancel_requests(conn, worker))
            .await
    }

    async fn next_run_at(&self) -> Result<Option<Timestamp>, StorageError> {
        self.readers.call(tasks::next_run_at).await
    }

    async fn heartbeat(&self, worker: WorkerId, now: Timestamp) -> Result<(), StorageError> {
        self.writer
            .call(move |db| change::heartbeat(db, worker, now))
            .await
    }

    async fn rescue(
        &self,
        me: WorkerId,
        dead_before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<Rescued>, StorageError> {
        self.writer
            .call(move |db| rescue::rescue(db, me, dead_before, limit, now))
            .await
    }

    async fn prune(
        &self,
        finished_before: Timestamp,
        keep_max: u64,
        limit: u32,
        now: Timestamp,
    ) -> Result<Pruned, StorageError> {
        let (pruned, blobs) = self
            .writer
            .call(move |db| prune::prune(db, finished_before, keep_max, limit, now))
            .await?;
        self.remove_blobs(blobs).await;
        Ok(pruned)
    }

    async fn purge(&self, id: TaskId) -> Result<Purged, StorageError> {
        self.writer.call(move |db| prune::purge(db, id)).await
    }

    async fn orphans(
        &self,
        blobs: Vec<BlobId>,
        tasks: Vec<TaskId>,
    ) -> Result<Orphans, StorageError> {
        self.readers
            .call(move |conn| prune::orphans(conn, blobs, tasks))
            .await
    }

    async fn counts(&self) -> Result<Counts, StorageError> {
        self.readers.call(tasks::counts).await
    }

    async fn ping(&self) -> Result<(), StorageError> {
        self.writer
            .call(|db| {
                db.conn
                    .prepare_cached("UPDATE ping SET n = 1 - n")?
                    .execute([])?;
                Ok(())
            })
            .await?;
        self.readers.call(tasks::counts).await.map(|_counts| ())
    }
}
