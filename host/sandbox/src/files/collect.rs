//! What a run left: regular files below `/out` and `/work`, and nothing else.
//!
//! A guest may have left links, and the host's own code walks here with the host's rights. So each
//! directory is opened from its parent without following a link, a file counts only if it is a
//! regular one with a single name, and depth and number are bounded. Everything here blocks.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, mkdirat, openat, renameat, statat};
use rustix::io::Errno;

use crate::files::input::{InputContent, InputFile};
use crate::files::remove::{DIRECTORY, file_type};
use crate::files::scratch::{ScratchDir, private_dir};
use cofferdam_domain::attempt::Artifact;

/// Directories below one another that are looked into.
const DEPTH_MAX: usize = 32;

/// Entries looked at; a quota above it leaves the rest unlisted.
const ENTRIES_MAX: usize = 100_000;

/// Which of a run's directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// `/out`.
    Out,
    /// `/work`.
    Work,
}

impl Area {
    const fn dir(self) -> &'static str {
        match self {
            Area::Out => "out",
            Area::Work => "work",
        }
    }
}

/// The files below one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Regular files, in the order of their paths.
    pub files: Vec<Artifact>,
    /// Entries left out: links, names that are not UTF-8, and what lies too deep.
    pub skipped: u64,
}

/// The directory of a run. It is removed, in the background, when the last of these and the run
/// itself are gone.
#[derive(Clone, Debug)]
pub struct OutputFiles {
    /// Regular files below `/out`, checked through their descriptors.
    pub artifacts: Vec<Artifact>,
    /// Entries of `/out` that are no artifacts: links, names that are not UTF-8, what lies too deep.
    pub skipped: u64,
    /// Which directory the artifacts are in.
    area: Area,
    dir: Arc<ScratchDir>,
}

impl OutputFiles {
    pub(super) fn list(dir: Arc<ScratchDir>) -> OutputFiles {
        let listing = list(&dir.path().join(Area::Out.dir())).unwrap_or_else(|error| {
            tracing::warn!(%error, "what a run left cannot be listed");
            Listing::default()
        });
        OutputFiles {
            artifacts: listing.files,
            skipped: listing.skipped,
            area: Area::Out,
            dir,
        }
    }

    /// The same run with other artifacts: what is in `area` and is not, byte for byte, one of the
    /// `inputs`.
    pub fn changed(self, area: Area, inputs: &[InputFile]) -> OutputFiles {
        let listing = self.files(area).unwrap_or_else(|error| {
            tracing::warn!(%error, "what a run left cannot be listed");
            Listing::default()
        });
        let is_changed = |file: &Artifact| {
            let input = inputs.iter().find(|input| input.name() == file.path);
            !input.is_some_and(|input| self.is_still(area, file, input))
        };
        OutputFiles {
            artifacts: listing.files.into_iter().filter(is_changed).collect(),
            skipped: listing.skipped,
            area,
            dir: self.dir,
        }
    }

    /// Whether a file holds what it held when the run began.
    fn is_still(&self, area: Area, file: &Artifact, input: &InputFile) -> bool {
        let InputContent::Bytes(bytes) = &input.content else {
            return false;
        };
        if file.size_bytes != bytes.len() as u64 {
            return false;
        }
        let mut found = Vec::with_capacity(bytes.len());
        let read = self
            .open(area, &file.path)
            .and_then(|open| open.take(file.size_bytes).read_to_end(&mut found));
        read.is_ok() && found == *bytes
    }

    /// The files below one of the directories.
    pub fn files(&self, area: Area) -> io::Result<Listing> {
        list(&self.dir.path().join(area.dir()))
    }

    /// Opens one of the files for reading.
    pub fn open(&self, area: Area, path: &str) -> io::Result<File> {
        let (parent, name) = self.locate(area, path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(openat(&parent, name.as_c_str(), flags, Mode::empty())?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(Errno::NOENT.into())
        }
    }

    /// Opens one of the artifacts for reading; `None` if there is none of that path.
    pub fn open_artifact(&self, path: &str) -> io::Result<Option<(File, u64)>> {
        if !self.artifacts.iter().any(|artifact| artifact.path == path) {
            return Ok(None);
        }
        let file = self.open(self.area, path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Some((file, size_bytes)))
    }

    /// Moves the artifacts to `target`, under the same paths, and makes them durable there.
    /// `target` is made if need be; files already in it are replaced.
    pub fn persist(&self, target: &Path) -> io::Result<()> {
        self.transfer(target, true)
    }

    /// The same, and the artifacts stay where they are as well.
    pub fn copy_to(&self, target: &Path) -> io::Result<()> {
        self.transfer(target, false)
    }

    fn transfer(&self, target: &Path, may_move: bool) -> io::Result<()> {
        private_dir().recursive(true).create(target)?;
        let root = openat(
            CWD,
            target,
            DIRECTORY.difference(OFlags::NOFOLLOW),
            Mode::empty(),
        )?;
        for file in &self.artifacts {
            let (from, name) = self.locate(self.area, &file.path)?;
            let source = self.open(self.area, &file.path)?;
            let to = descend(&root, &file.path, true)?;
            let moved = match may_move {
                true => renameat(&from, name.as_c_str(), &to, name.as_c_str()),
                false => Err(Errno::XDEV),
            };
            match moved {
                Ok(()) => source.sync_all()?,
                Err(Errno::XDEV) => copy(source, to.as_fd(), &name)?,
                Err(error) => return Err(error.into()),
            }
            File::from(to).sync_all()?;
        }
        File::from(root).sync_all()
    }

    fn locate(&self, area: Area, path: &str) -> io::Result<(OwnedFd, CString)> {
        let root = openat(
            CWD,
            self.dir.path().join(area.dir()),
            DIRECTORY,
            Mode::empty(),
        )?;
        let name = path.rsplit('/').next().unwrap_or_default();
        Ok((descend(&root, path, false)?, plain(name)?))
    }
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

/// One part of a path, which must not lead anywhere by itself.
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

/// A directory that is being looked through.
struct Open {
    fd: OwnedFd,
    entries: Dir,
    prefix: String,
}

fn list(root: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut seen = 0;
    let fd = openat(CWD, root, DIRECTORY, Mode::empty())?;
    let entries = Dir::read_from(&fd)?;
    let mut open = vec![Open {
        fd,
        entries,
        prefix: String::new(),
    }];
    while let Some(level) = open.last_mut() {
        let Some(entry) = level.entries.next() else {
            open.pop();
            continue;
        };
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        seen += 1;
        let Some(name) = entry
            .file_name()
            .to_str()
            .ok()
            .filter(|_| seen <= ENTRIES_MAX)
        else {
            listing.skipped += 1;
            continue;
        };
        let path = format!("{}{name}", level.prefix);
        match file_type(level.fd.as_fd(), entry.file_name(), entry.file_type()) {
            FileType::RegularFile => match regular(level.fd.as_fd(), entry.file_name()) {
                Some(size_bytes) => listing.files.push(Artifact { path, size_bytes }),
                None => listing.skipped += 1,
            },
            FileType::Directory if open.len() < DEPTH_MAX => {
                match enter(level_fd(&open), entry.file_name(), path) {
                    Ok(inner) => open.push(inner),
                    Err(_) => listing.skipped += 1,
                }
            }
            FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => listing.skipped += 1,
        }
    }
    listing.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

fn level_fd(open: &[Open]) -> Option<BorrowedFd<'_>> {
    open.last().map(|level| level.fd.as_fd())
}

fn enter(parent: Option<BorrowedFd<'_>>, name: &CStr, path: String) -> io::Result<Open> {
    let parent = parent.ok_or(Errno::NOENT)?;
    let fd = openat(parent, name, DIRECTORY, Mode::empty())?;
    let entries = Dir::read_from(&fd)?;
    Ok(Open {
        fd,
        entries,
        prefix: path + "/",
    })
}

/// The size of a regular file with one name.
fn regular(parent: BorrowedFd<'_>, name: &CStr) -> Option<u64> {
    let found = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    (is_file && found.st_nlink == 1).then(|| u64::try_from(found.st_size).unwrap_or(0))
}
