//! The lock that makes a data directory one process's own.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::StorageError;

const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// The lock that reserves the data directory for this process. The kernel releases it when the
/// process ends, however it ends.
pub(crate) struct DataLock {
    _locked: File,
}

/// Takes the data directory, or creates it.
pub(crate) fn lock(data: &Path) -> Result<DataLock, StorageError> {
    let path = data.join("lock");
    let refused = |what: &dyn std::fmt::Display| {
        StorageError::Unavailable(format!("the data directory {}: {what}", data.display()))
    };
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_DIR)
        .create(data)
        .map_err(|error| refused(&error))?;
    close_to_others(data, PRIVATE_DIR).map_err(|error| refused(&error))?;
    let file = private_file(&path).map_err(|error| refused(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(DataLock { _locked: file }),
        Err(TryLockError::WouldBlock) => Err(refused(&"another host is using it")),
        Err(TryLockError::Error(error)) => Err(refused(&error)),
    }
}

/// Opens a file that no other user can read, or creates it.
pub(crate) fn private_file(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(PRIVATE_FILE)
        .open(path)?;
    close_to_others(path, PRIVATE_FILE)?;
    Ok(file)
}

/// Removes every other user's rights on `path`, which contains the inputs and outputs of tasks.
fn close_to_others(path: &Path, mode: u32) -> std::io::Result<()> {
    let found = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    if found & 0o077 != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        tracing::warn!(
            path = %path.display(),
            "others could read this; its mode was {found:o} and is {mode:o} now"
        );
    }
    Ok(())
}
