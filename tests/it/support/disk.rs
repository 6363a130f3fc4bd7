//! A disk of a known size, for tests of what happens when it is full.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file system in memory. It is unmounted when this is dropped, after its users.
pub(crate) struct SmallDisk {
    mounted_at: TempDir,
}

impl SmallDisk {
    /// A disk of `mebibytes`; `None`, and a printed reason, if this process may not mount one.
    pub(crate) fn new(mebibytes: u64) -> Option<SmallDisk> {
        let mounted_at = TempDir::new().expect("a temporary directory");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(mounted_at.path())
            .output();
        match output {
            Ok(output) if output.status.success() => Some(SmallDisk { mounted_at }),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                println!("skipped: no disk can be mounted here: {why}");
                None
            }
            Err(error) => {
                println!("skipped: no disk can be mounted here: {error}");
                None
            }
        }
    }

    /// A new directory on it.
    pub(crate) fn folder(&self) -> TempDir {
        TempDir::new_in(self.path()).expect("a directory")
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.mounted_at.path()
    }

    /// Fills all but `left_bytes`.
    pub(crate) fn fill(&self, left_bytes: u64) -> Filling {
        let path = self.path().join("filling");
        let mut file = File::create(&path).expect("a file");
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
        let size_bytes = file.metadata().expect("it is open").len();
        file.set_len(size_bytes - left_bytes)
            .expect("less is possible");
        Filling(path)
    }
}

/// Fills a disk until it is dropped.
pub(crate) struct Filling(PathBuf);

impl Drop for Filling {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because its user may still be ending.
        let _left_mounted = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}
