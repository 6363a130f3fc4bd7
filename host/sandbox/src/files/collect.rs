//! The files that a run left: regular files below `/out` and `/work`, and nothing else.
//!
//! A guest may have left links, and this code walks with the host's rights. So each
//! directory is opened from its parent without following a link, and a file counts only if it is a
//! regular one. `listing` decides which files are listed, and `transfer` keeps them.
//! Everything here blocks.

mod listing;
mod transfer;

use std::collections::HashSet;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use cofferdam_trees::{DIRECTORY, open_root};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::files::collect::transfer::{Manner, Transfer, locate};
use crate::files::input::{InputContent, InputFile};
use crate::files::scratch::ScratchDir;
use cofferdam_domain::attempt::{Artifact, LeftOut};

pub use listing::Listing;

/// One of a run's directories.
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
    listing: Listing,
    /// Which directory the listed files are in.
    area: Area,
    /// The paths of files that are in `/out` instead.
    beside: HashSet<String>,
    dir: Arc<ScratchDir>,
}

impl OutputFiles {
    pub(super) fn list(dir: Arc<ScratchDir>) -> OutputFiles {
        OutputFiles {
            listing: Listing::default(),
            area: Area::Out,
            beside: HashSet::new(),
            dir,
        }
        .of(Area::Out)
    }

    /// Regular files, checked through their descriptors.
    pub fn artifacts(&self) -> &[Artifact] {
        &self.listing.files
    }

    /// Entries beside them that are not artifacts.
    pub fn left_out(&self) -> LeftOut {
        self.listing.left_out
    }

    /// The disk space of the artifacts once they are kept.
    pub fn occupied_bytes(&self) -> u64 {
        self.listing.occupied_bytes()
    }

    /// The same run with the files of `area` as its artifacts.
    fn of(self, area: Area) -> OutputFiles {
        OutputFiles {
            listing: self.listed(area),
            area,
            beside: HashSet::new(),
            dir: self.dir,
        }
    }

    fn listed(&self, area: Area) -> Listing {
        self.files(area).unwrap_or_else(|error| {
            tracing::warn!(%error, "the files that a run left cannot be listed");
            Listing::default()
        })
    }

    /// The same run with other artifacts: the files of `area` that are not, byte for byte, one of
    /// the `inputs`.
    pub fn changed(self, area: Area, inputs: &[InputFile]) -> OutputFiles {
        let all = self.of(area);
        let is_changed = |file: &Artifact| {
            let input = inputs.iter().find(|input| input.name() == file.path);
            !input.is_some_and(|input| all.is_still(area, file, input))
        };
        let listing = all.listing.clone().only(is_changed);
        OutputFiles { listing, ..all }
    }

    /// The files that code wrote: those that changed in `/work`, and those in `/out`. Where both
    /// have a file of one path, the one in `/out` counts.
    pub fn written(self, inputs: &[InputFile]) -> OutputFiles {
        let changed = self.changed(Area::Work, inputs);
        let out = changed.listed(Area::Out);
        let beside = out.files.iter().map(|file| file.path.clone()).collect();
        OutputFiles {
            listing: changed.listing.clone().and(out),
            beside,
            ..changed
        }
    }

    /// Whether a file has the content that it had when the run began.
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
        Ok(Listing::of(self.root(area)?))
    }

    /// Opens one of the files for reading.
    pub fn open(&self, area: Area, path: &str) -> io::Result<File> {
        let (parent, name) = locate(&self.root(area)?, path)?;
        open_regular(&parent, &name)
    }

    /// Opens one of the artifacts for reading; `None` if there is no artifact at that path.
    pub fn open_artifact(&self, path: &str) -> io::Result<Option<(File, u64)>> {
        if !self.artifacts().iter().any(|it| it.path == path) {
            return Ok(None);
        }
        let file = self.open(self.area_of(path), path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Some((file, size_bytes)))
    }

    /// Moves the artifacts to `target`, under the same paths, and makes them durable there.
    /// `target` is made if it is absent; files already in it are replaced.
    pub fn persist(&self, target: &Path) -> io::Result<()> {
        self.transfer(target, Manner::Move)
    }

    /// Copies them instead, so that the artifacts also stay where they are.
    pub fn copy_to(&self, target: &Path) -> io::Result<()> {
        self.transfer(target, Manner::Copy)
    }

    fn transfer(&self, target: &Path, manner: Manner) -> io::Result<()> {
        let mut transfer = Transfer::to(target, manner)?;
        let (root, out) = (self.root(self.area)?, self.root(Area::Out)?);
        for file in self.artifacts() {
            let root = match self.area_of(&file.path) {
                Area::Out => &out,
                Area::Work => &root,
            };
            transfer.bring(root, &file.path)?;
        }
        transfer.finish()
    }

    fn area_of(&self, path: &str) -> Area {
        match self.beside.contains(path) {
            true => Area::Out,
            false => self.area,
        }
    }

    fn root(&self, area: Area) -> io::Result<OwnedFd> {
        // One step after the other, because a link in either place would lead elsewhere.
        let attempt = open_root(self.dir.path())?;
        Ok(openat(&attempt, area.dir(), DIRECTORY, Mode::empty())?)
    }
}

/// Opens a regular file without waiting, in case it is a pipe.
fn open_regular(parent: &OwnedFd, name: &CStr) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(openat(parent, name, flags, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(Errno::NOENT.into()),
    }
}
