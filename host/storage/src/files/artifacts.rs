//! Artifacts: files guests left, one directory a task and below it one an attempt.
//!
//! A guest chose every name in there, so each directory is opened from its parent without
//! following a link, and only a regular file is given out.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use uuid::Uuid;

use super::budget::Budget;
use super::{absent_is_fine, bytes_below};
use crate::StorageError;
use cofferdam_domain::task::TaskId;

/// Opens `path` below `dir`, and tells its length.
pub(super) fn open(dir: &Path, path: &str) -> Result<Option<(File, u64)>, StorageError> {
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains('\0') {
        return Ok(None);
    }
    match open_regular(dir, path) {
        Ok(opened) => Ok(opened),
        Err(error) if is_no_such_file(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open_regular(dir: &Path, path: &str) -> io::Result<Option<(File, u64)>> {
    let mut parent = Dir::open_ambient_dir(dir, ambient_authority())?;
    let (dirs, name) = path
        .rsplit_once('/')
        .map_or((None, path), |(dirs, name)| (Some(dirs), name));
    for part in dirs.into_iter().flat_map(|dirs| dirs.split('/')) {
        parent = parent.open_dir_nofollow(part)?;
    }
    let mut options = OpenOptions::new();
    // Without the flag a pipe would be waited for; it is refused below.
    options
        .read(true)
        .follow(FollowSymlinks::No)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = parent.open_with(name, &options)?;
    let metadata = file.metadata()?;
    Ok(metadata
        .is_file()
        .then(|| (file.into_std(), metadata.len())))
}

/// Whether the error says that there is nothing of that name, or a link, or a file on the way.
fn is_no_such_file(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.kind() == io::ErrorKind::NotFound
        || [Errno::LOOP, Errno::NOTDIR, Errno::NAMETOOLONG, Errno::NXIO]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Regular files below `dir`, each with its path there; `None` if there is no such directory.
pub(super) fn files_below(dir: &Path) -> Result<Option<Vec<(String, PathBuf)>>, StorageError> {
    let mut files = Vec::new();
    let mut dirs = vec![(String::new(), dir.to_owned())];
    while let Some((prefix, at)) = dirs.pop() {
        let Some(entries) = absent_is_fine(std::fs::read_dir(&at))? else {
            return Ok(None);
        };
        for entry in entries {
            let entry = entry?;
            let (kind, name) = (entry.file_type()?, entry.file_name());
            let path = format!("{prefix}{}", name.to_string_lossy());
            if kind.is_dir() {
                dirs.push((format!("{path}/"), entry.path()));
            } else if kind.is_file() {
                files.push((path, entry.path()));
            }
        }
    }
    Ok(Some(files))
}

/// Removes a directory and what is in it.
pub(super) fn remove(dir: &Path, budget: &Budget) -> Result<(), StorageError> {
    let size_bytes = bytes_below(dir)?;
    if absent_is_fine(std::fs::remove_dir_all(dir))?.is_some() {
        budget.give(size_bytes);
    }
    Ok(())
}

/// The tasks that left any.
pub(super) fn list(artifacts: &Path) -> Result<Vec<TaskId>, StorageError> {
    let mut tasks = Vec::new();
    for entry in std::fs::read_dir(artifacts)? {
        let name = entry?.file_name();
        if let Some(uuid) = name.to_str().and_then(|name| Uuid::try_parse(name).ok()) {
            tasks.push(TaskId(uuid));
        }
    }
    Ok(tasks)
}
