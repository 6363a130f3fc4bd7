//! Room on the disk that the data directory is on.
//!
//! A host whose disk is full cannot record the end of an attempt, so it reports that it is not
//! ready while a little space is left. It asks the disk each time, so it notices new space by
//! itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The disk. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Disk {
    path: Arc<PathBuf>,
    free_min_bytes: u64,
}

/// The free space when the disk was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    free_bytes: u64,
    free_min_bytes: u64,
    has_inodes: bool,
}

/// What the disk has too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// Bytes.
    #[error(
        "the disk of the data directory has {free} bytes left; this host takes work \
         from {least} bytes on"
    )]
    Bytes {
        /// What is left.
        free: u64,
        /// The least that must be left.
        least: u64,
    },
    /// Files.
    #[error("the disk of the data directory takes no more files")]
    Inodes,
}

/// A file system that is asked for this many files at once needs as many free inodes.
const INODES_MIN: u64 = 64;

impl Disk {
    /// The disk that `data` is on, which is full with less than `free_min_bytes` left.
    pub fn new(data: &Path, free_min_bytes: u64) -> Disk {
        Disk {
            path: Arc::new(data.to_owned()),
            free_min_bytes,
        }
    }

    /// Asks it.
    pub async fn look(&self) -> Room {
        let path = Arc::clone(&self.path);
        let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(path.as_path())).await;
        match asked {
            Ok(Ok(disk)) => Room {
                free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
                free_min_bytes: self.free_min_bytes,
                // Some file systems have no fixed number of inodes and report 0 of 0.
                has_inodes: disk.f_files == 0 || disk.f_favail >= INODES_MIN,
            },
            // The figures are unknown; calls that need the disk find out.
            Ok(Err(_)) | Err(_) => Room {
                free_bytes: 0,
                free_min_bytes: 0,
                has_inodes: true,
            },
        }
    }
}

impl Room {
    /// What is left.
    pub fn free_bytes(self) -> u64 {
        self.free_bytes
    }

    /// The reason why the host cannot take work, if there is one.
    pub fn lack(self) -> Option<Lack> {
        if self.free_bytes < self.free_min_bytes {
            return Some(Lack::Bytes {
                free: self.free_bytes,
                least: self.free_min_bytes,
            });
        }
        (!self.has_inodes).then_some(Lack::Inodes)
    }
}
