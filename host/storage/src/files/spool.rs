//! The spool: inputs too large for the database, one file each.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use cofferdam_trees::occupied;

use super::absent_is_fine;
use super::budget::{Budget, Room};
use super::owner::Name;
use super::sealing::{self, UNFINISHED};
use super::shared::Shared;
use super::sync::SyncDir;
use crate::StorageError;
use crate::blocking::blocking;
use crate::seal::Sealer;
use crate::seal::pieces::FileSealer;
use cofferdam_domain::task::BlobId;

/// A new file of the spool. If this is dropped before [`SpoolWriter::commit`], nothing is left
/// behind.
pub struct SpoolWriter {
    file: tokio::fs::File,
    spooled: Spooled,
    /// What seals it, and how many bytes that made of it.
    sealing: Option<FileSealer>,
    kept_bytes: u64,
    sealer: Arc<Sealer>,
    sync: Arc<dyn SyncDir>,
    /// Where the input is kept in the end, if not in the spool.
    shared: Option<Shared>,
}

/// A file of the spool, with its room. It is removed if this is dropped before [`Spooled::stay`]. An
/// input that hosts share goes some time after nothing refers to it.
#[must_use]
#[derive(Debug)]
pub struct Spooled {
    blob: BlobId,
    size_bytes: u64,
    path: PathBuf,
    room: Option<Room>,
}

impl Spooled {
    /// Its name.
    pub fn blob(&self) -> BlobId {
        self.blob
    }

    /// Its length.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Something refers to it, or may: it stays until that is pruned, or until the sweep at start
    /// finds that nothing does.
    pub fn stay(mut self) {
        if let Some(room) = self.room.take() {
            room.leave();
        }
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        let Some(room) = self.room.take() else { return };
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a spooled input was left behind");
            room.leave();
        }
    }
}

impl SpoolWriter {
    pub(super) async fn create(
        spool: &Path,
        budget: Arc<Budget>,
        sync: Arc<dyn SyncDir>,
        sealer: &Arc<Sealer>,
        shared: Option<Shared>,
    ) -> Result<SpoolWriter, StorageError> {
        // The name has no meaning; it only has to be unique.
        let blob = BlobId(uuid::Builder::from_random_bytes(rand::random()).into_uuid());
        let path = path(spool, blob).with_extension(UNFINISHED);
        // The file and its guard are made together, whether or not the caller still waits.
        let (file, spooled) = blocking(move || {
            let room = Room::take(&budget, occupied(0))?;
            let file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            let spooled = Spooled {
                blob,
                size_bytes: 0,
                path,
                room: Some(room),
            };
            Ok((file, spooled))
        })
        .await?;
        let mut writer = SpoolWriter {
            file: tokio::fs::File::from_std(file),
            spooled,
            sealing: None,
            kept_bytes: 0,
            sealer: Arc::clone(sealer),
            sync,
            shared,
        };
        if let Some((head, sealing)) = sealing::begin(sealer, &Name::Input(blob)) {
            writer.sealing = Some(sealing);
            writer.append(&head).await?;
        }
        Ok(writer)
    }

    /// Appends `chunk`. Beyond the budget nothing is written.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        let size = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        match self.sealing.take() {
            None => self.append(&chunk).await?,
            Some(mut sealing) => {
                let (sealing, sealed) = blocking(move || {
                    let sealed = sealing.push(&chunk);
                    Ok((sealing, sealed))
                })
                .await?;
                self.sealing = Some(sealing);
                self.append(&sealed).await?;
            }
        }
        self.spooled.size_bytes = self.spooled.size_bytes.saturating_add(size);
        Ok(())
    }

    async fn append(&mut self, kept: &[u8]) -> Result<(), StorageError> {
        let more = u64::try_from(kept.len()).unwrap_or(u64::MAX);
        let kept_bytes = self.kept_bytes.saturating_add(more);
        if let Some(room) = &mut self.spooled.room {
            room.resize(occupied(kept_bytes))?;
        }
        self.file.write_all(kept).await?;
        self.kept_bytes = kept_bytes;
        Ok(())
    }

    /// What was written so far.
    pub fn size_bytes(&self) -> u64 {
        self.spooled.size_bytes
    }

    /// Everything that was written, in memory; the file is removed.
    pub async fn take_back(mut self) -> Result<Bytes, StorageError> {
        self.finish().await?;
        let (path, sealer) = (self.spooled.path.clone(), Arc::clone(&self.sealer));
        let name = Name::Input(self.spooled.blob);
        blocking(move || sealing::open_bytes(&sealer, &name, std::fs::read(path)?.into())).await
    }

    /// Writes what is left of it.
    async fn finish(&mut self) -> Result<(), StorageError> {
        if let Some(sealing) = self.sealing.take() {
            self.append(&sealing.finish()).await?;
        }
        Ok(self.file.flush().await?)
    }

    /// Makes the file durable under its name, or the input among those that hosts share.
    pub async fn commit(mut self) -> Result<Spooled, StorageError> {
        self.finish().await?;
        if let Some(shared) = &self.shared {
            let mut spooled = self.spooled;
            let path = spooled.path.clone();
            shared
                .keep_input(spooled.blob, path, self.kept_bytes)
                .await?;
            // The file is a copy now, or gone.
            drop(spooled.room.take());
            return Ok(spooled);
        }
        self.file.sync_all().await?;
        let (mut spooled, sync) = (self.spooled, self.sync);
        blocking(move || {
            let named = spooled.path.with_extension("");
            std::fs::rename(&spooled.path, &named)?;
            spooled.path = named;
            sync.dir(spooled.path.parent().unwrap_or(Path::new(".")))?;
            Ok(spooled)
        })
        .await
    }
}

/// The path of a blob.
pub(super) fn path(spool: &Path, blob: BlobId) -> PathBuf {
    spool.join(blob.0.simple().to_string())
}

/// Removes a blob.
pub(super) fn remove(path: &Path, budget: &Budget) -> Result<(), StorageError> {
    let Some(metadata) = absent_is_fine(path.symlink_metadata())? else {
        return Ok(());
    };
    if absent_is_fine(std::fs::remove_file(path))?.is_some() {
        budget.give(occupied(metadata.len()));
    }
    Ok(())
}

/// All blobs.
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

/// Removes unfinished files of dead processes. Files that cannot be removed stay counted.
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
