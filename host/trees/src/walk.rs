//! Walks through a tree, depth first, with two descriptors open at any depth.
//!
//! The way down opens each directory from its parent; the way up opens `..` and checks that it is
//! the directory that was left, so a tree that is changed meanwhile ends the walk and cannot lead
//! it elsewhere. The visitor decides what an entry counts.

use std::collections::HashSet;
use std::ffi::{CStr, CString};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, fstat, openat, statat};
use rustix::io::Errno;

use crate::{DIRECTORY, file_type, is_dot, occupied};

/// One entry of a directory, while the walk is there.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The directory that holds it.
    pub parent: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a CStr,
    /// The path of that directory below the root, with `/` at its end unless it is the root.
    pub prefix: &'a [u8],
    /// Its type; links are not followed.
    pub kind: FileType,
}

/// The facts in an entry's inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Device and inode.
    pub id: (u64, u64),
    /// How many names it has.
    pub links: u64,
    /// Its apparent size.
    pub size_bytes: u64,
}

impl Entry<'_> {
    /// Reads its facts.
    pub fn facts(&self) -> Result<Facts, Errno> {
        let found = statat(self.parent, self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Facts {
            id: (found.st_dev, found.st_ino),
            // The width differs between machines.
            #[allow(clippy::useless_conversion, reason = "u32 on some machines")]
            links: u64::from(found.st_nlink),
            size_bytes: u64::try_from(found.st_size).unwrap_or(0),
        })
    }

    /// The length of its path below the root.
    pub fn path_bytes(&self) -> usize {
        self.prefix.len() + self.name.to_bytes().len()
    }

    /// Its path below the root; `None` if that is not UTF-8.
    pub fn path(&self) -> Option<String> {
        let prefix = std::str::from_utf8(self.prefix).ok()?;
        Some(format!("{prefix}{}", self.name.to_str().ok()?))
    }
}

/// What the walk does after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Continues, and visits it later if it is a directory.
    Enter,
    /// Continues without visiting it.
    Pass,
    /// Ends.
    Stop,
}

/// A directory on the way from the root to where the walk is.
struct Level {
    id: (u64, u64),
    /// Directories in it that are still to be visited.
    pending: Vec<CString>,
    /// The length of its path.
    prefix_bytes: usize,
}

/// Shows every entry below `root` to `visit`, and returns how many directories could not be read,
/// or not completely.
pub fn walk(root: OwnedFd, visit: &mut dyn FnMut(&Entry<'_>) -> Next) -> u64 {
    let mut walk = Walk {
        at: root,
        levels: Vec::new(),
        prefix: Vec::new(),
        failed: 0,
    };
    match walk.look(visit) {
        Ok(Next::Enter | Next::Pass) => walk.descend(visit),
        Ok(Next::Stop) => {}
        Err(_) => walk.failed += 1,
    }
    walk.failed
}

struct Walk {
    /// The directory the walk is in.
    at: OwnedFd,
    levels: Vec<Level>,
    prefix: Vec<u8>,
    failed: u64,
}

impl Walk {
    fn descend(&mut self, visit: &mut dyn FnMut(&Entry<'_>) -> Next) {
        while let Some(level) = self.levels.last_mut() {
            self.prefix.truncate(level.prefix_bytes);
            let Some(name) = level.pending.pop() else {
                if !self.climb() {
                    return;
                }
                continue;
            };
            match self.enter(&name, visit) {
                Ok(Next::Enter | Next::Pass) => {}
                Ok(Next::Stop) => return,
                Err(_) => self.failed += 1,
            }
        }
    }

    /// Goes into a directory of the one the walk is in; on an error it stays.
    fn enter(
        &mut self,
        name: &CStr,
        visit: &mut dyn FnMut(&Entry<'_>) -> Next,
    ) -> Result<Next, Errno> {
        let inner = openat(&self.at, name, DIRECTORY, Mode::empty())?;
        let outer = std::mem::replace(&mut self.at, inner);
        self.prefix.extend_from_slice(name.to_bytes());
        self.prefix.push(b'/');
        let looked = self.look(visit);
        if looked.is_err() {
            self.at = outer;
        }
        looked
    }

    /// Lists the directory the walk is in and makes it the last level.
    fn look(&mut self, visit: &mut dyn FnMut(&Entry<'_>) -> Next) -> Result<Next, Errno> {
        let own = fstat(&self.at)?;
        if own.st_mode & 0o500 != 0o500 {
            // It may be readable although it cannot be left again.
            return Err(Errno::ACCESS);
        }
        let mut pending = Vec::new();
        for entry in Dir::read_from(&self.at)? {
            let Ok(entry) = entry else {
                self.failed += 1;
                break;
            };
            let name = entry.file_name();
            if is_dot(name) {
                continue;
            }
            let kind = file_type(self.at.as_fd(), name, entry.file_type());
            let entry = Entry {
                parent: self.at.as_fd(),
                name,
                prefix: &self.prefix,
                kind,
            };
            match visit(&entry) {
                Next::Enter if kind == FileType::Directory => pending.push(name.to_owned()),
                Next::Enter | Next::Pass => {}
                Next::Stop => return Ok(Next::Stop),
            }
        }
        self.levels.push(Level {
            id: (own.st_dev, own.st_ino),
            pending,
            prefix_bytes: self.prefix.len(),
        });
        Ok(Next::Pass)
    }

    /// Goes back to the directory above; `false` at the end of the walk.
    fn climb(&mut self) -> bool {
        self.levels.pop();
        let Some(above) = self.levels.last() else {
            return false;
        };
        let found = openat(&self.at, c"..", DIRECTORY, Mode::empty())
            .and_then(|outer| Ok((fstat(&outer)?, outer)));
        match found {
            Ok((own, outer)) if (own.st_dev, own.st_ino) == above.id => {
                self.at = outer;
                true
            }
            // It was moved; the place of the rest is unknown.
            Ok(_) | Err(_) => {
                self.failed += 1;
                false
            }
        }
    }
}

/// The measure of a tree, without its root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The disk space of all entries, as [`occupied`] counts it; the size of a file with several
    /// names counts once, and each further name costs as much as an empty file.
    pub occupied_bytes: u64,
    /// Entries of any kind.
    pub entries: u64,
    /// Directories that could not be read.
    pub failed: u64,
}

/// Measures a tree.
pub fn measure(root: OwnedFd) -> Usage {
    let mut usage = Usage::default();
    let mut linked = HashSet::new();
    let failed = walk(root, &mut |entry| {
        let facts = match entry.kind {
            FileType::RegularFile => entry.facts().ok(),
            FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => None,
        };
        let size_bytes = facts
            .filter(|facts| facts.links == 1 || linked.insert(facts.id))
            .map_or(0, |facts| facts.size_bytes);
        usage.entries += 1;
        usage.occupied_bytes = usage.occupied_bytes.saturating_add(occupied(size_bytes));
        Next::Enter
    });
    Usage { failed, ..usage }
}
