//! Removes a directory tree that a guest made.
//!
//! The tree may be ten thousand levels deep, have a million entries and contain unreadable
//! directories, so nothing here recurses, builds a path or follows a link. A directory found inside
//! another is moved up to the top before it is emptied: each is moved once, two descriptors are
//! open at a time, and no name is longer than one component. The content of files is never read.

use std::io;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, RenameFlags, chmodat};
use rustix::fs::{openat, renameat_with, unlinkat};
use rustix::io::Errno;

use crate::{DIRECTORY, file_type, is_dot};

/// Asked after a number of entries whether to go on.
const ENTRIES_PER_CHECK: u32 = 256;

/// Directories moved in one pass before the top is listed again.
const MOVES_PER_PASS: u32 = 4096;

/// Passes without any progress after which the rest is left for the next start.
const IDLE_PASSES_MAX: u32 = 3;

/// Removes `name` in `parent` and everything below it. Stops early, with what is left in place,
/// when `go_on` says no.
pub fn remove_tree(
    parent: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    go_on: &dyn Fn() -> bool,
) -> io::Result<()> {
    let top = match open_dir(parent, name) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(unlinkat(parent, name, AtFlags::empty())?),
        Err(error) => return Err(error.into()),
    };
    let mut removal = Removal {
        top,
        go_on,
        moved: 0,
        since_check: 0,
    };
    let mut idle_passes = 0;
    loop {
        match removal.pass()? {
            Pass::Empty => match unlinkat(parent, name, AtFlags::REMOVEDIR) {
                // A guest's last call was still in progress.
                Err(Errno::NOTEMPTY) if idle_passes < IDLE_PASSES_MAX => idle_passes += 1,
                result => return Ok(result?),
            },
            Pass::Stopped => return Err(io::ErrorKind::Interrupted.into()),
            Pass::Progress => idle_passes = 0,
            Pass::Idle if idle_passes < IDLE_PASSES_MAX => idle_passes += 1,
            Pass::Idle => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
        }
    }
}

enum Pass {
    Empty,
    Progress,
    Idle,
    Stopped,
}

struct Removal<'a> {
    top: OwnedFd,
    go_on: &'a dyn Fn() -> bool,
    moved: u64,
    since_check: u32,
}

impl Removal<'_> {
    /// Goes once through the top directory.
    fn pass(&mut self) -> io::Result<Pass> {
        let top = self.top.try_clone()?;
        let (mut seen, mut gone, mut moves) = (false, false, 0);
        for entry in Dir::read_from(&top)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dot(name) {
                continue;
            }
            seen = true;
            if !self.may_go_on() {
                return Ok(Pass::Stopped);
            }
            if is_directory(top.as_fd(), name, entry.file_type()) {
                match self.empty_into_top(name, &mut moves) {
                    Some(progress) => gone |= progress,
                    None => return Ok(Pass::Stopped),
                }
            } else {
                gone |= unlinkat(&top, name, AtFlags::empty()).is_ok();
            }
            if moves >= MOVES_PER_PASS {
                break;
            }
        }
        Ok(match (seen, gone) {
            (false, _) => Pass::Empty,
            (true, true) => Pass::Progress,
            (true, false) => Pass::Idle,
        })
    }

    /// Removes the files in `name`, moves its directories to the top, and removes `name`. `None`
    /// if it is time to stop; otherwise whether anything changed.
    fn empty_into_top(&mut self, name: &std::ffi::CStr, moves: &mut u32) -> Option<bool> {
        let Ok(directory) = open_dir(self.top.as_fd(), name) else {
            return Some(false);
        };
        let mut progress = false;
        if let Ok(entries) = Dir::read_from(&directory) {
            for entry in entries.flatten() {
                let inner = entry.file_name();
                if is_dot(inner) {
                    continue;
                }
                if !self.may_go_on() {
                    return None;
                }
                if is_directory(directory.as_fd(), inner, entry.file_type()) {
                    *moves += 1;
                    progress |= self.move_to_top(directory.as_fd(), inner);
                } else {
                    progress |= unlinkat(&directory, inner, AtFlags::empty()).is_ok();
                }
            }
        }
        progress |= unlinkat(&self.top, name, AtFlags::REMOVEDIR).is_ok();
        Some(progress)
    }

    fn move_to_top(&mut self, from: BorrowedFd<'_>, name: &std::ffi::CStr) -> bool {
        // An empty directory, the usual case, need not be moved.
        if unlinkat(from, name, AtFlags::REMOVEDIR).is_ok() {
            return true;
        }
        // A directory that is not writable cannot be moved either.
        let _moving_shows_it = chmodat(from, name, Mode::RWXU, AtFlags::empty());
        loop {
            self.moved += 1;
            let target = format!(".moved-{}", self.moved);
            match renameat_with(from, name, &self.top, target, RenameFlags::NOREPLACE) {
                Ok(()) => return true,
                Err(Errno::EXIST) => {}
                Err(_) => return false,
            }
        }
    }

    fn may_go_on(&mut self) -> bool {
        self.since_check += 1;
        if self.since_check < ENTRIES_PER_CHECK {
            return true;
        }
        self.since_check = 0;
        (self.go_on)()
    }
}

/// Opens a directory, with the rights to empty it.
fn open_dir(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    match openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            openat(parent, name, DIRECTORY, Mode::empty())
        }
        Ok(opened) => {
            if let Ok(found) = rustix::fs::fstat(&opened)
                && found.st_mode & 0o700 != 0o700
            {
                rustix::fs::fchmod(&opened, Mode::RWXU)?;
            }
            Ok(opened)
        }
        Err(error) => Err(error),
    }
}

fn is_directory(parent: BorrowedFd<'_>, name: &std::ffi::CStr, listed: FileType) -> bool {
    file_type(parent, name, listed) == FileType::Directory
}
