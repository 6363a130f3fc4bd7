//! Keeps the artifacts of a run: moves or copies them to a directory of the host, durably.
//!
//! A file with one name is moved. A file with several names is copied, because it could still be
//! changed through a name that is not kept; its further names become links to the copy, so that it
//! takes its space once.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use cofferdam_trees::DIRECTORY;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, mkdirat, openat, renameat};
use rustix::io::Errno;

use crate::files::collect::open_regular;
use crate::files::quota::FileId;
use crate::files::scratch::private_dir;

/// Whether the files stay where they are as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Move,
    Copy,
}

/// A transfer under way.
pub(super) struct Transfer<'a> {
    target: OwnedFd,
    manner: Manner,
    /// The path in the target of a file with several names.
    copied: HashMap<FileId, &'a str>,
}

impl<'a> Transfer<'a> {
    /// Begins a transfer to `target`, which is made if it is absent; files already in it are
    /// replaced.
    pub(super) fn to(target: &Path, manner: Manner) -> io::Result<Transfer<'a>> {
        private_dir().recursive(true).create(target)?;
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        Ok(Transfer {
            target: openat(CWD, target, flags, Mode::empty())?,
            manner,
            copied: HashMap::new(),
        })
    }

    /// Moves or copies the file at `path` below `source` to the same path below the target.
    pub(super) fn bring(&mut self, source: &OwnedFd, path: &'a str) -> io::Result<()> {
        let (from, name) = locate(source, path)?;
        let source = open_regular(&from, &name)?;
        let metadata = source.metadata()?;
        let to = descend(&self.target, path, true)?;
        let id = (metadata.dev(), metadata.ino());
        if metadata.nlink() == 1 {
            self.alone(source, from.as_fd(), to.as_fd(), &name)?;
        } else if let Some(first) = self.copied.get(&id) {
            let (parent, first) = locate(&self.target, first)?;
            match linkat(&parent, &first, &to, &name, AtFlags::empty()) {
                // A file of an earlier run is replaced, as a move would do.
                Err(Errno::EXIST) => copy(source, to.as_fd(), &name)?,
                linked => linked?,
            }
        } else {
            copy(source, to.as_fd(), &name)?;
            self.copied.insert(id, path);
        }
        File::from(to).sync_all()
    }

    /// Makes the transferred files durable.
    pub(super) fn finish(self) -> io::Result<()> {
        File::from(self.target).sync_all()
    }

    fn alone(
        &self,
        source: File,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
    ) -> io::Result<()> {
        let moved = match self.manner {
            Manner::Move => renameat(from, name, to, name),
            Manner::Copy => Err(Errno::XDEV),
        };
        match moved {
            Ok(()) => source.sync_all(),
            Err(Errno::XDEV) => copy(source, to, name),
            Err(error) => Err(error.into()),
        }
    }
}

/// The directory below `root` that holds `path`, and the last part of it.
pub(super) fn locate(root: &OwnedFd, path: &str) -> io::Result<(OwnedFd, CString)> {
    let name = path.rsplit('/').next().unwrap_or_default();
    Ok((descend(root, path, false)?, plain(name)?))
}

/// The directory that holds `path` below `root`.
fn descend(root: &OwnedFd, path: &str, make: bool) -> io::Result<OwnedFd> {
    let mut at = root.try_clone()?;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            break;
        }
        let part = plain(part)?;
        if make {
            match mkdirat(&at, part.as_c_str(), Mode::RWXU) {
                Ok(()) => File::from(at.try_clone()?).sync_all()?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        at = openat(&at, part.as_c_str(), DIRECTORY, Mode::empty())?;
    }
    Ok(at)
}

/// One part of a path, which must be a plain name.
fn plain(part: &str) -> io::Result<CString> {
    if matches!(part, "" | "." | "..") {
        return Err(Errno::NOENT.into());
    }
    CString::new(part).map_err(io::Error::other)
}

fn copy(mut source: File, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut target = File::from(openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
    io::copy(&mut source, &mut target)?;
    target.sync_all()
}
