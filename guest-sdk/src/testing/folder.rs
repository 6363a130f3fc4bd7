//! A test's own directories in place of `/in`, `/out` and `/work`. They are made when they are
//! first asked for and removed with the context.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells the folders of one process apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The three directories of a context.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes them, empty.
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cofferdam-guest-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        for area in ["in", "out", "work"] {
            std::fs::create_dir_all(root.join(area)).expect("a test can make directories");
        }
        Self(root)
    }

    /// One of them.
    pub(crate) fn area(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Puts a file into one of them.
    pub(crate) fn put(&self, area: &str, path: &Path, bytes: &[u8]) {
        let path = self.area(area).join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a test can make directories");
        }
        std::fs::write(path, bytes).expect("a test can write files");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The removal fails if a test still holds a file open; that is not an error.
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}
