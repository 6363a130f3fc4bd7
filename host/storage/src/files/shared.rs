//! Spooled inputs, artifacts and files of executions where several hosts share a database: what one host
//! keeps, every host has.
//!
//! The bytes are put among the shared ones, then a row says whose they are; copies on the disk are only a
//! cache. Short files are in their row, because most files that guests leave are short and a blob for
//! each would cost more than it holds. The rows are behind [`SharedFiles`], which the database
//! implements.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::artifacts::{self, is_plain};
use super::cache::{Address, Cache, Cached};
use super::owner::Name;
pub(crate) use super::owner::Owner;
use super::private_dir;
use super::sealing::{self, Opened};
use crate::StorageError;
use crate::blobs::content::Content;
use crate::blocking::blocking;
use crate::error::Remedy;
use crate::seal::Sealer;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::BlobId;

/// A longer file is not in its row.
const INLINE_BYTES_MAX: u64 = 32 << 10;

/// How long the files of an attempt wait for a database that does not take them.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first and the longest wait in between.
const WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A file that somebody left.
#[derive(Clone, Debug)]
pub(crate) struct NewFile {
    /// Its path below the directory that was collected.
    pub(crate) path: String,
    pub(crate) content: NewContent,
}

#[derive(Clone, Debug)]
pub(crate) enum NewContent {
    Short(Bytes),
    Long(Content),
}

impl NewContent {
    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            NewContent::Short(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            NewContent::Long(content) => content.size_bytes(),
        }
    }
}

/// A file as its row has it.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Short(Bytes),
    Long(Address),
}

/// Short files that do not begin so; and long ones, if they are wanted, too.
#[derive(Clone, Debug)]
pub(crate) struct Which {
    pub(crate) begins: Bytes,
    pub(crate) long_too: bool,
}

/// The rows of files that hosts share, and the bytes that they name.
#[async_trait]
pub(crate) trait SharedFiles: Debug + Send + Sync {
    /// Keeps an input under this name; durable when it returns.
    async fn put_input(&self, id: BlobId, content: Content) -> Result<(), StorageError>;

    /// Where an input is.
    async fn find_input(&self, id: BlobId) -> Result<Option<Address>, StorageError>;

    /// Keeps files in place of all that their owner had; durable when it returns.
    async fn put_files(&self, owner: Owner, files: Vec<NewFile>) -> Result<(), StorageError>;

    /// One file.
    async fn find_file(&self, owner: Owner, path: &str) -> Result<Option<Found>, StorageError>;

    /// All files of a tenant's execution; `None` if there is no such execution.
    async fn files_of(
        &self,
        tenant: &Tenant,
        execution: Uuid,
    ) -> Result<Option<Vec<(String, Found)>>, StorageError>;

    /// Removes the executions whose names are below this one: of one tenant, or whosever they are.
    async fn remove_executions(&self, before: Uuid, of: Option<Tenant>)
    -> Result<(), StorageError>;

    /// Up to `limit` inputs behind `after`, by name.
    async fn inputs_after(
        &self,
        after: Option<BlobId>,
        limit: u32,
    ) -> Result<Vec<BlobId>, StorageError>;

    /// Up to `limit` owners behind `after` that have files as `which` says.
    async fn owners_after(
        &self,
        after: Option<Owner>,
        which: Which,
        limit: u32,
    ) -> Result<Vec<Owner>, StorageError>;

    /// Up to `limit` files of an owner behind a path, as `which` says, by path.
    async fn files_after(
        &self,
        owner: Owner,
        path: &str,
        which: Which,
        limit: u32,
    ) -> Result<Vec<(String, Found)>, StorageError>;

    /// Keeps other bytes as an input, unless it was removed meanwhile.
    async fn change_input(
        &self,
        id: BlobId,
        old: Address,
        new: Content,
    ) -> Result<(), StorageError>;

    /// Keeps another form of a file, unless it was changed or removed meanwhile.
    async fn change_file(
        &self,
        owner: Owner,
        path: &str,
        old: Found,
        new: NewContent,
    ) -> Result<(), StorageError>;

    /// Writes bytes into a file; [`StorageError::Corrupt`] if they are not what they should be.
    async fn fetch(&self, from: Address, to: File) -> Result<(), StorageError>;

    /// Bytes that hosts share, as this host last heard, and the most that may be.
    fn usage(&self) -> (u64, u64);
}

/// The shared files, and this host's copies of some.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    rows: Arc<dyn SharedFiles>,
    cache: Arc<Cache>,
}

impl Shared {
    pub(super) fn new(rows: Arc<dyn SharedFiles>, cache: Arc<Cache>) -> Shared {
        Shared { rows, cache }
    }

    pub(super) fn usage(&self) -> (u64, u64) {
        self.rows.usage()
    }

    /// The rows themselves.
    pub(super) fn rows(&self) -> &Arc<dyn SharedFiles> {
        &self.rows
    }

    /// Keeps the file at `path` as an input, and takes it over as this host's copy.
    pub(super) async fn keep_input(
        &self,
        id: BlobId,
        path: PathBuf,
        size_bytes: u64,
    ) -> Result<(), StorageError> {
        let limit = self.cache.limit_bytes();
        if size_bytes > limit {
            return Err(StorageError::TooLarge(format!(
                "an input of {size_bytes} bytes; a host has room for {limit} (storage.cache_bytes)"
            )));
        }
        let content = Content::of_file(path.clone()).await?;
        let address = address_of(&content);
        self.rows.put_input(id, content).await?;
        self.cache.adopt(address, path).await;
        Ok(())
    }

    /// This host's copy of an input; `None` if there is no such input.
    pub(super) async fn open_input(&self, id: BlobId) -> Result<Option<Cached>, StorageError> {
        match self.rows.find_input(id).await? {
            None => Ok(None),
            Some(address) => self.copy_of(address).await.map(Some),
        }
    }

    /// Keeps every file below `dir`.
    pub(super) async fn keep_files(&self, owner: Owner, dir: PathBuf) -> Result<(), StorageError> {
        let found = blocking(move || artifacts::files_below(&dir)).await?;
        let mut files = Vec::new();
        for (path, at) in found.unwrap_or_default() {
            let content = content_of(at).await?;
            files.push(NewFile { path, content });
        }
        let (begun, mut wait) = (Instant::now(), WAIT.0);
        let patience = match owner {
            // Nobody can make its files again.
            Owner::Attempt(..) => PATIENCE,
            Owner::Execution(..) => Duration::ZERO,
        };
        loop {
            let error = match self.rows.put_files(owner.clone(), files.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if error.remedy() != Remedy::Time || begun.elapsed() + wait > patience {
                return Err(error);
            }
            tracing::warn!(%error, "files cannot be kept yet");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT.1);
        }
    }

    /// A file as it is kept.
    pub(super) async fn find_file(
        &self,
        owner: &Owner,
        path: &str,
    ) -> Result<Option<SharedFile>, StorageError> {
        let address = match self.rows.find_file(owner.clone(), path).await? {
            None => return Ok(None),
            Some(Found::Short(bytes)) => return Ok(Some(SharedFile::Short(bytes))),
            Some(Found::Long(address)) => address,
        };
        let copy = self.copy_of(address).await?;
        // An open file stays whole when its copy is removed.
        let file = blocking(move || Ok(File::open(copy.path())?)).await?;
        Ok(Some(SharedFile::Long(file)))
    }

    /// The files of an execution as they can be written into a directory; `None` if there is no such
    /// execution.
    pub(super) async fn execution(
        &self,
        tenant: &Tenant,
        id: Uuid,
    ) -> Result<Option<Restored>, StorageError> {
        let Some(found) = self.rows.files_of(tenant, id).await? else {
            return Ok(None);
        };
        let mut files = Vec::with_capacity(found.len());
        for (path, file) in found.into_iter().filter(|(path, _)| is_plain(path)) {
            let source = match file {
                Found::Short(bytes) => Source::Bytes(bytes),
                Found::Long(address) => Source::Copy(self.copy_of(address).await?),
            };
            files.push((path, source));
        }
        Ok(Some(Restored(files)))
    }

    pub(super) async fn remove_executions(
        &self,
        before: Uuid,
        of: Option<Tenant>,
    ) -> Result<(), StorageError> {
        self.rows.remove_executions(before, of).await
    }

    async fn copy_of(&self, address: Address) -> Result<Cached, StorageError> {
        let fetch = |file| self.rows.fetch(address, file);
        self.cache.get(address, fetch).await
    }
}

fn address_of(content: &Content) -> Address {
    Address {
        hash: content.hash(),
        size_bytes: content.size_bytes(),
    }
}

async fn content_of(at: PathBuf) -> Result<NewContent, StorageError> {
    let path = at.clone();
    let short = blocking(move || {
        Ok(match path.symlink_metadata()?.len() <= INLINE_BYTES_MAX {
            true => Some(Bytes::from(std::fs::read(path)?)),
            false => None,
        })
    });
    match short.await? {
        Some(bytes) => Ok(NewContent::Short(bytes)),
        None => Content::of_file(at).await.map(NewContent::Long),
    }
}

/// A shared file as it is kept.
pub(super) enum SharedFile {
    Short(Bytes),
    Long(File),
}

/// Files that are on their way into a directory.
pub(super) struct Restored(Vec<(String, Source)>);

enum Source {
    Bytes(Bytes),
    Copy(Cached),
    Disk(PathBuf),
}

impl Restored {
    /// Files of this host alone.
    pub(super) fn of_disk(files: Vec<(String, PathBuf)>) -> Restored {
        let files = files.into_iter();
        Restored(files.map(|(path, at)| (path, Source::Disk(at))).collect())
    }

    /// Where the files are, if they are all plain ones of this host alone; otherwise they come back.
    pub(super) fn where_they_are(
        self,
        sealer: &Sealer,
        owner: &Owner,
    ) -> Result<Result<Vec<(String, PathBuf)>, Restored>, StorageError> {
        let mut plain = Vec::with_capacity(self.0.len());
        for (path, source) in &self.0 {
            let Source::Disk(at) = source else {
                return Ok(Err(self));
            };
            match sealing::open(sealer, &Name::Of(owner, path), File::open(at)?)? {
                Opened::Plain(_) => plain.push((path.clone(), at.clone())),
                Opened::Sealed(..) => return Ok(Err(self)),
            }
        }
        Ok(Ok(plain))
    }

    /// The space that they take at most.
    pub(super) fn sizes(&self) -> io::Result<Vec<u64>> {
        let size = |(_, source): &(String, Source)| match source {
            Source::Bytes(bytes) => Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Source::Copy(copy) => Ok(copy.path().symlink_metadata()?.len()),
            Source::Disk(at) => Ok(at.symlink_metadata()?.len()),
        };
        self.0.iter().map(size).collect()
    }

    /// Writes what is in them below `dir`. Blocks.
    pub(super) fn write(
        &self,
        dir: &Path,
        sealer: &Sealer,
        owner: &Owner,
    ) -> Result<(), StorageError> {
        for (path, source) in &self.0 {
            let (at, name) = (dir.join(path), Name::Of(owner, path));
            if let Some(parent) = at.parent() {
                private_dir().recursive(true).create(parent)?;
            }
            let kept = match source {
                Source::Bytes(bytes) => {
                    std::fs::write(at, sealing::open_bytes(sealer, &name, bytes.clone())?)?;
                    continue;
                }
                Source::Copy(copy) => copy.path(),
                Source::Disk(at) => at,
            };
            let mut to = File::create(at)?;
            sealing::open(sealer, &name, File::open(kept)?)?.write(&mut to)?;
        }
        Ok(())
    }
}
