//! Walks over directory trees that a guest made: looking through them, measuring and removing.
//!
//! A guest chose every name, depth and number in such a tree, and the host walks it with the
//! host's rights. So everything here goes by descriptor and follows no link, holds the same few
//! descriptors open at any depth, recurses nowhere, never writes a path down that the kernel would
//! have to take, and goes on after an entry that fails. What a tree means is decided by the
//! callers: the sandbox, which collects what a run left, and storage, which keeps it. Neither
//! knows the other, so the walks are a crate of their own below both.

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

/// What the smallest entry of a directory takes up.
pub const BLOCK_BYTES: u64 = 4096;

/// What an entry takes up on a disk, near enough to be paid for: whole blocks, and at least one,
/// because a name and an inode are room as well.
pub fn occupied(size_bytes: u64) -> u64 {
    size_bytes
        .div_ceil(BLOCK_BYTES)
        .max(1)
        .saturating_mul(BLOCK_BYTES)
}

/// Opens a directory of the host's own, which is no link.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, DIRECTORY, Mode::empty())?)
}

/// What an entry is, without following a link; asked from the file system where the listing does
/// not tell.
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
