//! Artifacts: files that guests left, in one directory for each task with one for each attempt.
//!
//! A guest chose every name there, so each directory is opened from its parent without following a
//! link, and only regular files are served.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use cofferdam_trees::{Next, measure, open_root, remove_tree, walk};
use rustix::fd::AsFd;
use rustix::fs::FileType;
use uuid::Uuid;

use super::absent_is_fine;
use super::budget::Budget;
use crate::StorageError;
use cofferdam_domain::attempt::ARTIFACT_PATH_BYTES_MAX;
use cofferdam_domain::caller::Tenant;

/// Opens `path` below `dir`, and returns its length.
pub(super) fn open(dir: &Path, path: &str) -> Result<Option<(File, u64)>, StorageError> {
    if !is_plain(path) {
        return Ok(None);
    }
    match open_regular(dir, path) {
        Ok(opened) => Ok(opened),
        Err(error) if is_no_such_file(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether each part of a path is a plain name.
pub(super) fn is_plain(path: &str) -> bool {
    !path.contains('\0') && !path.split('/').any(|part| matches!(part, "" | "." | ".."))
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
    // Without the flag, opening a pipe would wait; a pipe is refused below.
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
/// Paths that no client can request are left out.
pub(super) fn files_below(dir: &Path) -> Result<Option<Vec<(String, PathBuf)>>, StorageError> {
    let Some(root) = absent_is_fine(open_root(dir))? else {
        return Ok(None);
    };
    let mut files = Vec::new();
    let _looked_at_what_could_be = walk(root, &mut |entry| {
        if entry.path_bytes() > ARTIFACT_PATH_BYTES_MAX {
            return Next::Pass;
        }
        if entry.kind == FileType::RegularFile
            && let Some(path) = entry.path()
        {
            let at = dir.join(&path);
            files.push((path, at));
        }
        Next::Enter
    });
    Ok(Some(files))
}

/// The space that the entries below `dir` take up; 0 if it is not a directory.
pub(super) fn occupied_below(dir: &Path) -> u64 {
    open_root(dir).map_or(0, |root| measure(root).occupied_bytes)
}

/// Removes a directory and what is in it. An absent one is not an error.
pub(super) fn remove_dir(dir: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let Some(parent) = absent_is_fine(open_root(parent))? else {
        return Ok(());
    };
    let name = CString::new(name.as_bytes()).map_err(io::Error::from)?;
    remove_tree(parent.as_fd(), &name, &|| true)
}

/// Removes a directory, whose own cost is `own_bytes`, and what is in it. Entries that cannot be
/// removed still count.
pub(super) fn remove(dir: &Path, own_bytes: u64, budget: &Budget) -> Result<(), StorageError> {
    let cost = |is_there: bool| {
        if is_there {
            own_bytes + occupied_below(dir)
        } else {
            0
        }
    };
    let before = cost(dir.is_dir());
    let removed = remove_dir(dir);
    budget.give(before.saturating_sub(cost(dir.is_dir())));
    Ok(removed?)
}

/// The directories in `dir` whose name is an id.
pub(super) fn list(dir: &Path) -> Result<Vec<Uuid>, StorageError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if let Some(uuid) = name.to_str().and_then(|name| Uuid::try_parse(name).ok()) {
            found.push(uuid);
        }
    }
    Ok(found)
}

/// The numbers of the attempts in a task's directory; none if it is gone.
pub(super) fn attempts(dir: &Path) -> Result<Vec<u32>, StorageError> {
    let Some(entries) = absent_is_fine(std::fs::read_dir(dir))? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(found)
}

/// Whose execution a directory is, and which.
pub(super) fn execution_of(dir: &Path) -> Option<(Tenant, Uuid)> {
    let name = dir.file_name()?.to_str()?;
    let (id, tenant) = match name.split_once('@') {
        None => (name, Tenant::DEFAULT),
        Some((id, tenant)) => (id, Tenant::parse(tenant).ok()?),
    };
    Some((tenant, Uuid::try_parse(id).ok()?))
}

/// The name of an execution's directory. That of the default tenant's has no tenant.
pub(super) fn execution_name(tenant: &Tenant, id: Uuid) -> String {
    match *tenant == Tenant::DEFAULT {
        true => id.to_string(),
        false => format!("{id}@{tenant}"),
    }
}

/// The executions in `dir` and where each is, whosever they are.
pub(super) fn executions(dir: &Path) -> Result<Vec<(Uuid, PathBuf)>, StorageError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let id = name.to_str().map(|name| name.split('@').next());
        if let Some(Ok(id)) = id.flatten().map(Uuid::try_parse) {
            found.push((id, dir.join(name)));
        }
    }
    Ok(found)
}
