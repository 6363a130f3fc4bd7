//! Walks over directory trees that a guest made: listing, measuring and removing them.
//!
//! A guest chose every name, depth and number in such a tree, and the host walks it with the
//! host's rights. So everything here works by descriptor and follows no link, holds the same few
//! descriptors open at any depth, does not recurse, passes no long path to the kernel, and
//! continues after an entry that fails. The callers decide what a tree means: the sandbox, which
//! collects what a run left, and storage, which keeps it. Neither knows the other, so the walks are
//! a separate crate below both.

mod remove;
mod walk;

use std::ffi::CStr;
use std::io;
use std::path::Path;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};

pub use remove::remove_tree;
pub use walk::{Entry, Facts, Next, Usage, measure, walk};

/// How a directory in a tree is opened: never through a link.
pub const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The disk space of the smallest entry of a directory.
pub const BLOCK_BYTES: u64 = 4096;

/// The approximate disk space of an entry: whole blocks, and at least one, because a name and an
/// inode take space as well.
pub fn occupied(size_bytes: u64) -> u64 {
    size_bytes
        .div_ceil(BLOCK_BYTES)
        .max(1)
        .saturating_mul(BLOCK_BYTES)
}

/// Opens one of the host's own directories, which must not be a link.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, DIRECTORY, Mode::empty())?)
}

/// The type of an entry, without following a link; the file system is asked if the listing does not
/// say.
fn file_type(parent: BorrowedFd<'_>, name: &CStr, listed: FileType) -> FileType {
    if listed != FileType::Unknown {
        return listed;
    }
    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_or(FileType::Unknown, |found| {
        FileType::from_raw_mode(found.st_mode)
    })
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests;
