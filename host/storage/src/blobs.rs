//! Bytes by their SHA-256, in files beside the database.
//!
//! Large bytes never go through the database's writer: a caller puts them here first, and then
//! commits a row that refers to them. A blob is synced and named before anything refers to it; a
//! crash may leave a blob that nothing refers to, and the next start removes it. The caller knows
//! what refers to a blob, and makes sure that no blob is removed while it is being put.

pub(crate) mod content;

use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::StorageError;
use crate::files::sync::SyncDir;

/// The start of the name of a file that is still being written.
const UNFINISHED: &str = ".unfinished-";

/// The SHA-256 of a blob; its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BlobHash(pub(crate) [u8; 32]);

impl BlobHash {
    pub(crate) fn of(bytes: &[u8]) -> BlobHash {
        BlobHash(Sha256::digest(bytes).into())
    }

    pub(crate) fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The bytes of this blob are not what they were.
    fn changed(self) -> StorageError {
        StorageError::corrupt(format_args!(
            "the bytes of the blob {} have changed since it was stored",
            self.hex()
        ))
    }

    pub(crate) fn parse(hex: &str) -> Option<BlobHash> {
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
        }
        Some(BlobHash(bytes))
    }
}

/// The blobs of one data directory. Every call blocks.
#[derive(Debug)]
pub(crate) struct Blobs {
    root: PathBuf,
    sync: Arc<dyn SyncDir>,
    used_bytes: Arc<AtomicU64>,
}

impl Blobs {
    /// Opens the directory, or creates it, and removes unfinished files of a crash.
    pub(crate) fn open(root: PathBuf, sync: Arc<dyn SyncDir>) -> Result<Blobs, StorageError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&root)?;
        if let Some(parent) = root.parent() {
            sync.dir(parent)?;
        }
        let mut used_bytes = 0;
        for entry in std::fs::read_dir(&root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                std::fs::remove_file(entry.path())?;
            } else {
                used_bytes += entry.metadata()?.len();
            }
        }
        Ok(Blobs {
            root,
            sync,
            used_bytes: Arc::new(AtomicU64::new(used_bytes)),
        })
    }

    /// Bytes in use, as they change.
    pub(crate) fn used_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.used_bytes)
    }

    /// Counts bytes that are about to be put, until the returned value is dropped.
    pub(crate) fn take_room(&self, length: usize) -> Room {
        let size = u64::try_from(length).unwrap_or(u64::MAX);
        self.used_bytes.fetch_add(size, Ordering::Relaxed);
        Room {
            used_bytes: Arc::clone(&self.used_bytes),
            size,
        }
    }

    /// Keeps `bytes`, and returns once they survive a crash. Bytes that are already kept are
    /// written again, which repairs a damaged file.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<BlobHash, StorageError> {
        let hash = BlobHash::of(bytes);
        let path = self.path(hash);
        let before = size_of(&path)?;
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(&self.root)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|refused| refused.error)?;
        self.sync.dir(&self.root)?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.used_bytes.fetch_add(size, Ordering::Relaxed);
        self.used_bytes
            .fetch_sub(before.unwrap_or(0), Ordering::Relaxed);
        Ok(hash)
    }

    /// Whether a blob of this length is kept.
    pub(crate) fn has(&self, hash: BlobHash, length: usize) -> Result<bool, StorageError> {
        let size = size_of(&self.path(hash))?;
        Ok(size.is_some_and(|size| usize::try_from(size) == Ok(length)))
    }

    /// The bytes, if they are kept and unchanged.
    pub(crate) fn get(&self, hash: BlobHash) -> Result<Option<Vec<u8>>, StorageError> {
        let bytes = match std::fs::read(self.path(hash)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if BlobHash::of(&bytes) != hash {
            return Err(hash.changed());
        }
        Ok(Some(bytes))
    }

    /// Removes a blob. An absent one is not an error.
    pub(crate) fn remove(&self, hash: BlobHash) -> Result<(), StorageError> {
        let path = self.path(hash);
        let Some(size) = size_of(&path)? else {
            return Ok(());
        };
        std::fs::remove_file(path)?;
        self.used_bytes.fetch_sub(size, Ordering::Relaxed);
        Ok(())
    }

    /// Every blob.
    pub(crate) fn list(&self) -> Result<Vec<BlobHash>, StorageError> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            found.extend(name.to_str().and_then(BlobHash::parse));
        }
        Ok(found)
    }

    fn path(&self, hash: BlobHash) -> PathBuf {
        self.root.join(hash.hex())
    }
}

/// Room for bytes that are not kept yet.
pub(crate) struct Room {
    used_bytes: Arc<AtomicU64>,
    size: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.used_bytes.fetch_sub(self.size, Ordering::Relaxed);
    }
}

fn size_of(path: &Path) -> io::Result<Option<u64>> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::files::sync::Fsync;

    fn open(dir: &Path) -> Blobs {
        Blobs::open(dir.join("blobs"), Arc::new(Fsync)).unwrap()
    }

    fn used(blobs: &Blobs) -> u64 {
        blobs.used_bytes().load(Ordering::Relaxed)
    }

    #[test]
    fn what_is_put_is_had_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        let hash = blobs.put(b"bytes").unwrap();
        assert_eq!(blobs.put(b"bytes").unwrap(), hash);
        assert_eq!((used(&blobs), blobs.list().unwrap()), (5, vec![hash]));
        drop(blobs);
        std::fs::write(dir.path().join("blobs/.unfinished-1"), "half").unwrap();
        let blobs = open(dir.path());
        assert_eq!((used(&blobs), blobs.list().unwrap()), (5, vec![hash]));
        assert_eq!(blobs.get(hash).unwrap().unwrap(), b"bytes");
        blobs.remove(hash).unwrap();
        blobs.remove(hash).unwrap();
        assert_eq!((used(&blobs), blobs.get(hash).unwrap()), (0, None));
    }

    #[test]
    fn spoilt_bytes_are_refused_and_mended_by_a_put() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        let hash = blobs.put(b"bytes").unwrap();
        std::fs::write(blobs.path(hash), "other").unwrap();
        let spoilt = blobs.get(hash).unwrap_err();
        assert!(matches!(spoilt, StorageError::Corrupt(_)), "{spoilt}");
        blobs.put(b"bytes").unwrap();
        assert_eq!(blobs.get(hash).unwrap().unwrap(), b"bytes");
    }

    /// Records a directory's content when it is synced.
    #[derive(Debug, Default)]
    struct Seen(Mutex<Vec<Vec<std::ffi::OsString>>>);

    impl SyncDir for Seen {
        fn dir(&self, dir: &Path) -> io::Result<()> {
            let named = |entry: io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
            let found = std::fs::read_dir(dir)?.map(named).collect();
            self.0.lock().unwrap().push(found);
            Ok(())
        }
    }

    #[test]
    fn a_blob_is_named_before_its_directory_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let seen = Arc::new(Seen::default());
        let sync = Arc::<Seen>::clone(&seen) as Arc<dyn SyncDir>;
        let blobs = Blobs::open(dir.path().join("blobs"), sync).unwrap();
        let hash = blobs.put(b"bytes").unwrap();
        let names: [Vec<std::ffi::OsString>; 2] = [vec!["blobs".into()], vec![hash.hex().into()]];
        assert_eq!(*seen.0.lock().unwrap(), names);
    }
}
