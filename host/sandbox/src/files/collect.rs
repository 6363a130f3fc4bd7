//! What a run left: regular files below `/out` and `/work`, and nothing else.
//!
//! A guest may have left links, and the host's own code walks here with the host's rights. So each
//! directory is opened from its parent without following a link, and a file counts only if it is a
//! regular one with a single name. Which files are listed is decided in `listing`. Everything here
//! blocks.

mod listing;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use cofferdam_trees::{DIRECTORY, open_root};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, renameat};
use rustix::io::Errno;

use crate::files::collect::listing::list;
use crate::files::input::{InputContent, InputFile};
use crate::files::scratch::{ScratchDir, private_dir};
use cofferdam_domain::attempt::Artifact;

pub use listing::Listing;

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

/// The directory of a run. It is removed, in the background, when the last of these and the run
/// itself are gone.
#[derive(Clone, Debug)]
pub struct OutputFiles {
    /// Regular files below `/out`, checked through their descriptors.
    pub artifacts: Vec<Artifact>,
    /// Entries of `/out` that are no artifacts: links, names that are not UTF-8, paths that are too
    /// long.
    pub skipped: u64,
    /// Which directory the artifacts are in.
    area: Area,
    dir: Arc<ScratchDir>,
}

impl OutputFiles {
    pub(super) fn list(dir: Arc<ScratchDir>) -> OutputFiles {
        let listing = list_at(&dir.path().join(Area::Out.dir())).unwrap_or_else(|error| {
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
        list_at(&self.dir.path().join(area.dir()))
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

fn list_at(root: &Path) -> io::Result<Listing> {
    Ok(list(open_root(root)?))
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
