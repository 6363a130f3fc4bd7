//! The spool: inputs too large to lie in the database, one file each.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use super::budget::Budget;
use super::{absent_is_fine, blocking};
use crate::StorageError;
use cofferdam_domain::task::BlobId;

/// A file that is not finished ends in this; no such file outlives the process that wrote it.
const UNFINISHED: &str = "part";

/// A new file of the spool. Dropped before [`SpoolWriter::commit`] it leaves nothing behind.
#[derive(Debug)]
pub struct SpoolWriter {
    file: tokio::fs::File,
    blob: BlobId,
    size_bytes: u64,
    /// Removes the file and gives its bytes back, unless told that it stays.
    unfinished: Unfinished,
}

#[derive(Debug)]
struct Unfinished {
    path: PathBuf,
    taken_bytes: u64,
    budget: Arc<Budget>,
    stays: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.stays {
            // If this fails, the next start removes it.
            let _left = std::fs::remove_file(&self.path);
            self.budget.give(self.taken_bytes);
        }
    }
}

impl SpoolWriter {
    pub(super) async fn create(
        spool: &Path,
        budget: Arc<Budget>,
    ) -> Result<SpoolWriter, StorageError> {
        // The name means nothing; it only has to be another one each time.
        let blob = BlobId(uuid::Builder::from_random_bytes(rand::random()).into_uuid());
        let path = path(spool, blob).with_extension(UNFINISHED);
        let unfinished = Unfinished {
            path: path.clone(),
            taken_bytes: 0,
            budget,
            stays: false,
        };
        let file = blocking(move || {
            Ok(File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?)
        })
        .await?;
        Ok(SpoolWriter {
            file: tokio::fs::File::from_std(file),
            blob,
            size_bytes: 0,
            unfinished,
        })
    }

    /// Appends `chunk`. Beyond the budget nothing is written.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        let size = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.unfinished.budget.take(size)?;
        self.unfinished.taken_bytes += size;
        self.file.write_all(&chunk).await?;
        self.size_bytes += size;
        Ok(())
    }

    /// Makes the file durable under its name, and tells its length.
    pub async fn commit(mut self) -> Result<(BlobId, u64), StorageError> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let unfinished = self.unfinished.path.clone();
        blocking(move || {
            std::fs::rename(&unfinished, unfinished.with_extension(""))?;
            sync_parent(&unfinished)
        })
        .await?;
        self.unfinished.stays = true;
        Ok((self.blob, self.size_bytes))
    }
}

fn sync_parent(path: &Path) -> Result<(), StorageError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    Ok(File::open(parent)?.sync_all()?)
}

/// Where a blob is.
pub(super) fn path(spool: &Path, blob: BlobId) -> PathBuf {
    spool.join(blob.0.simple().to_string())
}

/// Removes a blob.
pub(super) fn remove(path: &Path, budget: &Budget) -> Result<(), StorageError> {
    let Some(metadata) = absent_is_fine(path.symlink_metadata())? else {
        return Ok(());
    };
    if absent_is_fine(std::fs::remove_file(path))?.is_some() {
        budget.give(metadata.len());
    }
    Ok(())
}

/// The blobs there are.
pub(super) fn list(spool: &Path) -> Result<Vec<BlobId>, StorageError> {
    let mut blobs = Vec::new();
    for entry in std::fs::read_dir(spool)? {
        let name = entry?.file_name();
        if let Some(uuid) = name.to_str().and_then(|name| Uuid::try_parse(name).ok()) {
            blobs.push(BlobId(uuid));
        }
    }
    Ok(blobs)
}

/// Removes what a process that died was writing. What cannot be removed stays counted.
pub(super) fn remove_unfinished(spool: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(spool)? {
        let path = entry?.path();
        let unfinished = path.extension().is_some_and(|it| it == UNFINISHED);
        if unfinished && let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "an unfinished spool file is left");
        }
    }
    Ok(())
}
