//! Making a directory's entries durable. A seam, so that a test can see the order.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::Path;

/// Makes a directory's entries durable.
pub(crate) trait SyncDir: Debug + Send + Sync {
    /// Returns once the entries of `dir` are on the disk.
    fn dir(&self, dir: &Path) -> io::Result<()>;
}

/// The operating system's fsync.
#[derive(Debug)]
pub(crate) struct Fsync;

impl SyncDir for Fsync {
    fn dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}
