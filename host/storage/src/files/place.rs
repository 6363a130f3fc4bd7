//! Puts a directory of files in its place: first the room is reserved, then the files are put, then
//! every directory above them is made durable. All of it is undone if the caller has gone away.

use std::io;
use std::path::{Path, PathBuf};

use tokio::runtime::Handle;

use cofferdam_trees::BLOCK_BYTES;

use super::artifacts::{occupied_below, remove_dir};
use super::budget::Room;
use super::{FileStorage, private_dir};
use crate::StorageError;

/// A directory of files in its place. It is removed if this is dropped before [`Kept::stay`].
#[must_use]
#[derive(Debug)]
pub struct Kept {
    dir: PathBuf,
    room: Option<Room>,
}

impl Kept {
    /// The files stay until they are pruned.
    pub fn stay(mut self) {
        if let Some(room) = self.room.take() {
            room.leave();
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(room) = self.room.take() else { return };
        let dir = std::mem::take(&mut self.dir);
        let undo = move || {
            match remove_dir(&dir) {
                Ok(()) => drop(room),
                // The files still exist, so they still count.
                Err(error) => {
                    tracing::warn!(dir = %dir.display(), %error, "files were left behind");
                    room.leave();
                }
            }
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(undo)),
            Err(_outside) => undo(),
        }
    }
}

impl FileStorage {
    /// Makes `dir`, which is below `root`, has `put` fill it, and makes it durable. `put` makes the
    /// files durable; this function does so for the directories above them. Blocks.
    pub(super) fn place(
        &self,
        root: &Path,
        dir: PathBuf,
        occupied_bytes: u64,
        put: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Kept, StorageError> {
        let room = Room::take(&self.budget, occupied_bytes)?;
        private_dir().recursive(true).create(&dir)?;
        let mut kept = Kept {
            dir,
            room: Some(room),
        };
        put(&kept.dir)?;
        let occupied_bytes = BLOCK_BYTES + occupied_below(&kept.dir);
        if let Some(room) = &mut kept.room {
            room.resize(occupied_bytes)?;
        }
        for above in kept.dir.ancestors().skip(1) {
            self.sync.dir(above)?;
            if above == root {
                break;
            }
        }
        Ok(kept)
    }
}
