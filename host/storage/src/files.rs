//! Large bytes that belong in files: spooled inputs and artifacts, under one budget.
//!
//! Its root has `spool/<blob>`, `artifacts/<task>/<attempt>/…` and `executions/<id>@<tenant>/…`, and `opened/` for
//! what is in use of sealed ones (`sealing`). The
//! database refers to them; a file nothing refers to is an orphan, which the sweep at start
//! removes. Guests chose the names and contents of artifacts, so those are read through cap-std,
//! without following links. Where hosts share a database, files are in these directories only until
//! they are among the shared ones (`shared`), and this host's copies of those are in `cache`.

mod anew;
mod artifacts;
mod body;
mod budget;
pub(crate) mod cache;
mod owner;
mod place;
pub mod results;
mod sealing;
pub(crate) mod shared;
mod spool;
pub(crate) mod sync;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_trees::{BLOCK_BYTES, occupied};
use uuid::Uuid;

pub use self::anew::{FilesAnew, Holder};
pub use self::body::{FileBody, InputFile};
use self::budget::{Budget, Room};
use self::cache::Cache;
use self::owner::{Name, Owner};
pub use self::place::{ExecutionFiles, Kept};
use self::sealing::Opened;
use self::shared::{Restored, Shared, SharedFile, SharedFiles};
pub use self::spool::{SpoolWriter, Spooled};
use self::sync::{Fsync, SyncDir};
use super::{Orphans, StorageError, Tasks};
use crate::blocking::blocking;
use crate::seal::Sealer;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::{BlobId, TaskId};
use cofferdam_domain::time::Timestamp;

/// The files of one data directory. Cheap to clone; all clones share the budget.
#[derive(Clone, Debug)]
pub struct FileStorage {
    spool: PathBuf,
    artifacts: PathBuf,
    executions: PathBuf,
    /// Plain copies of sealed files, as long as somebody uses them.
    opened: PathBuf,
    budget: Arc<Budget>,
    sync: Arc<dyn SyncDir>,
    sealer: Arc<Sealer>,
    /// Where files are kept, if not in these directories.
    shared: Option<Shared>,
}

/// Files asked about at once by the sweep.
const SWEEP_CHUNK: usize = 1000;

impl FileStorage {
    /// Opens the directory `root`, or creates it, and counts its content. Blocks; meant for the
    /// start of the process, after the data directory was locked by opening the database.
    pub fn open(root: &Path, budget_bytes: u64) -> Result<FileStorage, StorageError> {
        FileStorage::open_with(root, budget_bytes, Arc::new(Fsync))
    }

    /// The same, with what is kept sealed by `sealer`.
    pub(crate) fn sealed_by(self, sealer: &Arc<Sealer>) -> FileStorage {
        let sealer = Arc::clone(sealer);
        FileStorage { sealer, ..self }
    }

    fn open_with(
        root: &Path,
        budget_bytes: u64,
        sync: Arc<dyn SyncDir>,
    ) -> Result<FileStorage, StorageError> {
        let (spool, artifacts) = (root.join("spool"), root.join("artifacts"));
        let (executions, opened) = (root.join("executions"), root.join("opened"));
        artifacts::remove_dir(&opened)?;
        for dir in [&spool, &artifacts, &executions, &opened] {
            private_dir().recursive(true).create(dir)?;
        }
        sync.dir(root)?;
        spool::remove_unfinished(&spool)?;
        let mut used = artifacts::occupied_below(&spool) + artifacts::occupied_below(&executions);
        for task in artifacts::list(&artifacts)? {
            used += artifacts::occupied_below(&artifacts.join(task.to_string()));
        }
        Ok(FileStorage {
            spool,
            artifacts,
            executions,
            opened,
            sealer: Arc::default(),
            budget: Arc::new(Budget::new(budget_bytes, used)),
            sync,
            shared: None,
        })
    }

    /// Opens what hosts share through `rows`, with the directory `root` for this host's copies, which
    /// take up to `cache_bytes`, and for what is on its way. Blocks, as [`FileStorage::open`] does.
    pub(crate) fn open_shared(
        root: &Path,
        budget_bytes: u64,
        cache_bytes: u64,
        rows: Arc<dyn SharedFiles>,
    ) -> Result<FileStorage, StorageError> {
        private_dir().recursive(true).create(root)?;
        for on_its_way in ["spool", "artifacts", "executions"] {
            artifacts::remove_dir(&root.join(on_its_way))?;
        }
        let cache = Cache::open(root.join("cache"), cache_bytes)?;
        let local = FileStorage::open(root, budget_bytes)?;
        Ok(FileStorage {
            shared: Some(Shared::new(rows, cache)),
            ..local
        })
    }

    /// Bytes that files take up, and the most that they may; those of all hosts where they are shared.
    pub fn usage(&self) -> (u64, u64) {
        match &self.shared {
            None => self.budget.usage(),
            Some(shared) => shared.usage(),
        }
    }

    /// A new file in the spool, to be written chunk by chunk.
    pub async fn spool(&self) -> Result<SpoolWriter, StorageError> {
        SpoolWriter::create(
            &self.spool,
            Arc::clone(&self.budget),
            Arc::clone(&self.sync),
            &self.sealer,
            self.shared.clone(),
        )
        .await
    }

    /// A spooled input as a file; `None` if it is not kept. The caller finds out whether a plain file of this
    /// host alone is still there.
    pub async fn open_input(&self, blob: BlobId) -> Result<Option<InputFile>, StorageError> {
        let kept = match &self.shared {
            None => InputFile::at(self.spool_path(blob)),
            Some(shared) => match shared.open_input(blob).await? {
                None => return Ok(None),
                Some(copy) => InputFile::of(copy),
            },
        };
        let files = self.clone();
        blocking(move || files.plain_input(blob, kept).map(Some)).await
    }

    /// The input itself, or a copy of what is in it if it is sealed, or may be at any moment.
    fn plain_input(&self, blob: BlobId, kept: InputFile) -> Result<InputFile, StorageError> {
        let Some(file) = absent_is_fine(File::open(kept.path()))? else {
            return Ok(kept);
        };
        let opened = sealing::open(&self.sealer, &Name::Input(blob), file)?;
        let size_bytes = match &opened {
            Opened::Plain(_) if !self.are_sealed_in_place() => return Ok(kept),
            Opened::Plain(file) => file.metadata()?.len(),
            Opened::Sealed(_, size_bytes) => *size_bytes,
        };
        let room = Room::take(&self.budget, occupied(size_bytes))?;
        let mut copy = tempfile::Builder::new().tempfile_in(&self.opened)?;
        opened.write(&mut copy)?;
        Ok(InputFile::opened(copy.into_temp_path(), room))
    }

    /// Whether a plain file may be sealed while somebody is about to read it where it is. Those that hosts share
    /// are read from copies.
    fn are_sealed_in_place(&self) -> bool {
        self.sealer.seals() && self.shared.is_none()
    }

    fn spool_path(&self, blob: BlobId) -> PathBuf {
        spool::path(&self.spool, blob)
    }

    /// Removes a spooled input. An absent one is not an error. Shared ones go with their task.
    pub async fn remove_blob(&self, blob: BlobId) -> Result<(), StorageError> {
        let (path, budget) = (self.spool_path(blob), Arc::clone(&self.budget));
        blocking(move || spool::remove(&path, &budget)).await
    }

    /// Where the artifacts of an attempt are kept. The directory exists only if it left any.
    fn artifacts_dir(&self, task: TaskId, attempt: u32) -> PathBuf {
        self.task_dir(task).join(attempt.to_string())
    }

    /// Keeps the artifacts of an attempt: `put` places them in the given directory and makes them
    /// durable; they take up `occupied_bytes`. [`StorageError::Full`] if there is no room.
    pub async fn keep_artifacts(
        &self,
        task: TaskId,
        attempt: u32,
        occupied_bytes: u64,
        put: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<Kept, StorageError> {
        let (files, dir) = (self.clone(), self.artifacts_dir(task, attempt));
        let owner = Owner::Attempt(task, attempt);
        blocking(move || files.place(&files.artifacts, dir, owner, occupied_bytes, put)).await
    }

    /// Opens an artifact by its path below `/out`, and returns its length. `None` if it is absent:
    /// no such file, no regular file, or a link on the way.
    pub async fn open_artifact(
        &self,
        task: TaskId,
        attempt: u32,
        path: &str,
    ) -> Result<Option<(FileBody, u64)>, StorageError> {
        let dir = self.artifacts_dir(task, attempt);
        self.open_file(Owner::Attempt(task, attempt), dir, path)
            .await
    }

    async fn open_file(
        &self,
        owner: Owner,
        dir: PathBuf,
        path: &str,
    ) -> Result<Option<(FileBody, u64)>, StorageError> {
        let sealer = Arc::clone(&self.sealer);
        let path = path.to_owned();
        let shared = match &self.shared {
            None => None,
            Some(shared) => match shared.find_file(&owner, &path).await? {
                None => return Ok(None),
                found => found,
            },
        };
        blocking(move || {
            let name = Name::Of(&owner, &path);
            let file = match shared {
                Some(SharedFile::Short(bytes)) => {
                    let bytes = sealing::open_bytes(&sealer, &name, bytes)?;
                    return Ok(Some(FileBody::of_bytes(bytes)));
                }
                Some(SharedFile::Long(file)) => file,
                None => match artifacts::open(&dir, &path)? {
                    None => return Ok(None),
                    Some((file, _)) => file,
                },
            };
            FileBody::of_content(sealing::open(&sealer, &name, file)?).map(Some)
        })
        .await
    }

    /// Removes every artifact of a task. An absent one is not an error. Shared ones go with the task.
    pub async fn remove_task(&self, task: TaskId) -> Result<(), StorageError> {
        let files = self.clone();
        blocking(move || artifacts::remove(&files.task_dir(task), 0, &files.budget)).await
    }

    /// A name for the files of an execution that is not a task; it contains the time it was made.
    pub fn new_execution(&self, now: Timestamp) -> Uuid {
        now.uuid(&rand::random())
    }

    /// Keeps the files of a tenant's execution, as [`FileStorage::keep_artifacts`] does an attempt's.
    pub async fn keep_execution(
        &self,
        tenant: &Tenant,
        id: Uuid,
        occupied_bytes: u64,
        put: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<Kept, StorageError> {
        let (files, tenant) = (self.clone(), tenant.clone());
        blocking(move || files.place_execution(&tenant, id, occupied_bytes, put)).await
    }

    /// The same, for a caller that may block.
    pub fn place_execution(
        &self,
        tenant: &Tenant,
        id: Uuid,
        occupied_bytes: u64,
        put: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Kept, StorageError> {
        let dir = self.execution_dir(tenant, id);
        let owner = Owner::Execution(tenant.clone(), id);
        self.place(&self.executions, dir, owner, occupied_bytes, put)
    }

    /// Where the files of an execution are kept. The directory exists only if it left any.
    fn execution_dir(&self, tenant: &Tenant, id: Uuid) -> PathBuf {
        self.executions.join(artifacts::execution_name(tenant, id))
    }

    /// Opens a file of a tenant's execution, and returns its length; `None` if it is absent.
    pub async fn open_execution_file(
        &self,
        tenant: &Tenant,
        id: Uuid,
        path: &str,
    ) -> Result<Option<(FileBody, u64)>, StorageError> {
        let dir = self.execution_dir(tenant, id);
        let owner = Owner::Execution(tenant.clone(), id);
        self.open_file(owner, dir, path).await
    }

    /// The files of a tenant's execution. `None` if it has no such execution, or it has been removed.
    pub async fn execution_files(
        &self,
        tenant: &Tenant,
        id: Uuid,
    ) -> Result<Option<ExecutionFiles>, StorageError> {
        let restored = match &self.shared {
            None => {
                let dir = self.execution_dir(tenant, id);
                let files = blocking(move || artifacts::files_below(&dir)).await?;
                files.map(Restored::of_disk)
            }
            Some(shared) => shared.execution(tenant, id).await?,
        };
        let Some(restored) = restored else {
            return Ok(None);
        };
        let (files, owner) = (self.clone(), Owner::Execution(tenant.clone(), id));
        let written = blocking(move || files.written(&owner, restored));
        written.await.map(Some)
    }

    /// Writes files into a directory of their own, which goes with the answer. Plain ones of this host alone
    /// are used where they are, unless they may be sealed there meanwhile.
    fn written(&self, owner: &Owner, restored: Restored) -> Result<ExecutionFiles, StorageError> {
        let restored = match self.are_sealed_in_place() {
            true => restored,
            false => match restored.where_they_are(&self.sealer, owner)? {
                Ok(files) => {
                    let _written = None;
                    return Ok(ExecutionFiles { files, _written });
                }
                Err(restored) => restored,
            },
        };
        let dir = self
            .opened
            .join(Uuid::from_u128(rand::random()).to_string());
        let sizes = restored.sizes()?;
        let occupied_bytes = sizes.iter().map(|size| occupied(*size)).sum();
        let mut kept = self.begin_place(dir.clone(), owner.clone(), occupied_bytes)?;
        restored.write(&dir, &self.sealer, owner)?;
        kept.measure()?;
        let files = artifacts::files_below(&dir)?.unwrap_or_default();
        let _written = Some(kept);
        Ok(ExecutionFiles { files, _written })
    }

    /// Removes the files of executions that were made before `time`. A failed removal is logged and
    /// tried again the next time.
    pub async fn prune_executions(&self, time: Timestamp) -> Result<(), StorageError> {
        if let Some(shared) = &self.shared {
            return shared.remove_executions(time.uuid(&[0; 10]), None).await;
        }
        let files = self.clone();
        blocking(move || {
            for (id, dir) in artifacts::executions(&files.executions)? {
                if made_at(id) >= time {
                    continue;
                }
                if let Err(error) = artifacts::remove(&dir, BLOCK_BYTES, &files.budget) {
                    tracing::warn!(execution = %id, %error, "files were left behind");
                }
            }
            Ok(())
        })
        .await
    }

    /// Removes the files of every execution of a tenant. A failed removal is logged; such files go with their
    /// time.
    pub async fn remove_executions_of(&self, tenant: &Tenant) -> Result<(), StorageError> {
        if let Some(shared) = &self.shared {
            let of = Some(tenant.clone());
            return shared.remove_executions(Uuid::max(), of).await;
        }
        let (files, tenant) = (self.clone(), tenant.clone());
        blocking(move || {
            for (id, dir) in artifacts::executions(&files.executions)? {
                if dir != files.execution_dir(&tenant, id) {
                    continue;
                }
                if let Err(error) = artifacts::remove(&dir, BLOCK_BYTES, &files.budget) {
                    tracing::warn!(execution = %id, %error, "files were left behind");
                }
            }
            Ok(())
        })
        .await
    }

    /// Removes what a crash left behind: spooled inputs and artifacts of tasks that `storage` does
    /// not know. Meant for the start, before anything is submitted. A failed removal is logged and
    /// tried again at the next start.
    pub async fn sweep(&self, storage: &dyn Tasks) -> Result<Orphans, StorageError> {
        let files = self.clone();
        let (blobs, tasks) = blocking(move || {
            Ok((
                spool::list(&files.spool)?,
                artifacts::list(&files.artifacts)?,
            ))
        })
        .await?;
        let tasks: Vec<_> = tasks.into_iter().map(TaskId).collect();
        let mut swept = Orphans::default();
        for some in blobs.chunks(SWEEP_CHUNK) {
            swept
                .blobs
                .extend(storage.orphans(some.to_vec(), Vec::new()).await?.blobs);
        }
        for some in tasks.chunks(SWEEP_CHUNK) {
            swept
                .tasks
                .extend(storage.orphans(Vec::new(), some.to_vec()).await?.tasks);
        }
        for blob in &swept.blobs {
            if let Err(error) = self.remove_blob(*blob).await {
                tracing::warn!(blob = %blob.0, %error, "a spooled input was left behind");
            }
        }
        for task in &swept.tasks {
            if let Err(error) = self.remove_task(*task).await {
                tracing::warn!(task.id = %task, %error, "artifacts were left behind");
            }
        }
        Ok(swept)
    }

    fn task_dir(&self, task: TaskId) -> PathBuf {
        self.artifacts.join(task.to_string())
    }
}

/// When an execution was made, according to its name.
fn made_at(id: Uuid) -> Timestamp {
    let (seconds, _) = id.get_timestamp().map_or((0, 0), |made| made.to_unix());
    let millis = i64::try_from(seconds)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000);
    Timestamp::from_millis(millis)
}

/// Makes directories that no other user of the machine can enter.
fn private_dir() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// `None` instead of an error if there is no such file.
fn absent_is_fine<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> StorageError {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        if [StorageFull, QuotaExceeded, FileTooLarge].contains(&error.kind()) {
            StorageError::Full(error.to_string())
        } else {
            StorageError::Unavailable(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests;
