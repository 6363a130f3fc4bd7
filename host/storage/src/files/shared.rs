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
use super::body::FileBody;
use super::cache::{Address, Cache, Cached};
use super::private_dir;
use crate::StorageError;
use crate::blobs::content::Content;
use crate::blocking::blocking;
use crate::error::Remedy;
use cofferdam_domain::task::{BlobId, TaskId};

/// A longer file is not in its row.
const INLINE_BYTES_MAX: u64 = 32 << 10;

/// How long the files of an attempt wait for a database that does not take them.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first and the longest wait in between.
const WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Whose files they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// An attempt at a task.
    Attempt(TaskId, u32),
    /// Code that ran at once, or a copy of a session's files.
    Execution(Uuid),
}

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

    /// All files of an execution; `None` if there is no such execution.
    async fn files_of(&self, execution: Uuid)
    -> Result<Option<Vec<(String, Found)>>, StorageError>;

    /// Removes the executions whose names are below this one.
    async fn remove_executions(&self, before: Uuid) -> Result<(), StorageError>;

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
            Owner::Execution(_) => Duration::ZERO,
        };
        loop {
            let error = match self.rows.put_files(owner, files.clone()).await {
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

    /// Opens a file, and tells its length.
    pub(super) async fn open_file(
        &self,
        owner: Owner,
        path: &str,
    ) -> Result<Option<(FileBody, u64)>, StorageError> {
        let address = match self.rows.find_file(owner, path).await? {
            None => return Ok(None),
            Some(Found::Short(bytes)) => return Ok(Some(FileBody::of_bytes(bytes))),
            Some(Found::Long(address)) => address,
        };
        let copy = self.copy_of(address).await?;
        // An open file stays whole when its copy is removed.
        let file = blocking(move || Ok(File::open(copy.path())?)).await?;
        Ok(Some((FileBody::of_file(file), address.size_bytes)))
    }

    /// The files of an execution as they can be written into a directory; `None` if there is no such
    /// execution.
    pub(super) async fn execution(&self, id: Uuid) -> Result<Option<Restored>, StorageError> {
        let Some(found) = self.rows.files_of(id).await? else {
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

    pub(super) async fn remove_executions(&self, before: Uuid) -> Result<(), StorageError> {
        self.rows.remove_executions(before).await
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

/// Files that are on their way into a directory.
pub(super) struct Restored(Vec<(String, Source)>);

enum Source {
    Bytes(Bytes),
    Copy(Cached),
}

impl Restored {
    /// The space that they take at most.
    pub(super) fn sizes(&self) -> io::Result<Vec<u64>> {
        let size = |(_, source): &(String, Source)| match source {
            Source::Bytes(bytes) => Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Source::Copy(copy) => Ok(copy.path().symlink_metadata()?.len()),
        };
        self.0.iter().map(size).collect()
    }

    /// Writes them below `dir`. Blocks.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        for (path, source) in &self.0 {
            let at = dir.join(path);
            if let Some(parent) = at.parent() {
                private_dir().recursive(true).create(parent)?;
            }
            match source {
                Source::Bytes(bytes) => std::fs::write(at, bytes)?,
                Source::Copy(copy) => {
                    std::fs::copy(copy.path(), at)?;
                }
            }
        }
        Ok(())
    }
}
