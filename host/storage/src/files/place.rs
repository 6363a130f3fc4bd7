//! Puts a directory of files in its place: first the room is reserved, then the files are put, then
//! every directory above them is made durable. All of it is undone if the caller has gone away.

use std::io;
use std::path::{Path, PathBuf};

use tokio::runtime::Handle;

use cofferdam_trees::BLOCK_BYTES;

use super::artifacts::{occupied_below, remove_dir};
use super::budget::Room;
use super::owner::Owner;
use super::sealing;
use super::shared::Shared;
use super::{FileStorage, private_dir};
use crate::StorageError;
use crate::blocking::blocking;

/// A directory of files in its place. It is removed if this is dropped before [`Kept::stay`].
#[must_use]
#[derive(Debug)]
pub struct Kept {
    dir: PathBuf,
    room: Option<Room>,
    /// Where the files are kept in the end, if not here.
    shared: Option<(Shared, Owner)>,
}

impl Kept {
    /// Takes as much room as what is in it needs.
    pub(super) fn measure(&mut self) -> Result<(), StorageError> {
        let occupied_bytes = BLOCK_BYTES + occupied_below(&self.dir);
        match &mut self.room {
            Some(room) => room.resize(occupied_bytes),
            None => Ok(()),
        }
    }

    /// The files stay until they are pruned. Once hosts share them, the directory has served.
    pub async fn stay(mut self) -> Result<(), StorageError> {
        if let Some((shared, owner)) = self.shared.take() {
            let kept = shared.keep_files(owner, self.dir.clone()).await;
            let (dir, room) = (std::mem::take(&mut self.dir), self.room.take());
            if let Some(room) = room {
                blocking(move || {
                    undo(&dir, room);
                    Ok(())
                })
                .await?;
            }
            return kept;
        }
        if let Some(room) = self.room.take() {
            room.leave();
        }
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(room) = self.room.take() else { return };
        let dir = std::mem::take(&mut self.dir);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || undo(&dir, room))),
            Err(_outside) => undo(&dir, room),
        }
    }
}

fn undo(dir: &Path, room: Room) {
    match remove_dir(dir) {
        Ok(()) => drop(room),
        // The files still exist, so they still count.
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "files were left behind");
            room.leave();
        }
    }
}

/// The files of an execution. They stay where they are until this is dropped.
#[derive(Debug)]
pub struct ExecutionFiles {
    pub(super) files: Vec<(String, PathBuf)>,
    pub(super) _written: Option<Kept>,
}

impl ExecutionFiles {
    /// Each one's path below its directory, and where it is.
    pub fn files(&self) -> &[(String, PathBuf)] {
        &self.files
    }
}

impl FileStorage {
    /// Makes `dir`, which is below `root`, has `put` fill it, and makes it durable. `put` makes the
    /// files durable; this function does so for the directories above them. Blocks.
    pub(super) fn place(
        &self,
        root: &Path,
        dir: PathBuf,
        owner: Owner,
        occupied_bytes: u64,
        put: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Kept, StorageError> {
        let seals = self.sealer.seals();
        let mut kept = self.begin_place(dir, owner.clone(), occupied_bytes)?;
        put(&kept.dir)?;
        if seals {
            let from = (&*self.spool, &*kept.dir);
            sealing::seal_all(&self.sealer, from, &owner, &*self.sync)?;
        }
        kept.measure()?;
        for above in kept.dir.ancestors().skip(1) {
            self.sync.dir(above)?;
            if above == root {
                break;
            }
        }
        Ok(kept)
    }

    /// Makes `dir`, with room for what is going to be in it.
    pub(super) fn begin_place(
        &self,
        dir: PathBuf,
        owner: Owner,
        occupied_bytes: u64,
    ) -> Result<Kept, StorageError> {
        let room = Room::take(&self.budget, occupied_bytes)?;
        private_dir().recursive(true).create(&dir)?;
        Ok(Kept {
            dir,
            room: Some(room),
            shared: self.shared.clone().map(|shared| (shared, owner)),
        })
    }
}
