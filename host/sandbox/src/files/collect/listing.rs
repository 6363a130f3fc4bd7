//! Which files lie below a directory of a run.
//!
//! Only regular files can be kept, and only under a path that can be asked for again: UTF-8, no
//! longer than the API takes, and in sum no more than an answer can hold. Everything else is
//! counted, at any depth.

use rustix::fd::OwnedFd;
use rustix::fs::FileType;

use cofferdam_trees::{Entry, Next, walk};

use cofferdam_domain::attempt::{ARTIFACT_PATH_BYTES_MAX, Artifact};

/// Files of one listing; a quota above it leaves the rest unlisted.
const FILES_MAX: usize = 100_000;

/// Bytes of all paths of one listing together.
const PATHS_BYTES_MAX: usize = 4 << 20;

/// The files below one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Regular files, in the order of their paths.
    pub files: Vec<Artifact>,
    /// Entries left out: links, names that are not UTF-8, paths that are too long, and what is
    /// more than a listing holds.
    pub skipped: u64,
}

/// Lists what is below `root`.
pub(super) fn list(root: OwnedFd) -> Listing {
    let mut listing = Listing::default();
    let mut path_bytes = 0;
    let failed = walk(root, &mut |entry| {
        match entry.kind {
            FileType::Directory => {}
            FileType::RegularFile => match artifact(entry, listing.files.len(), path_bytes) {
                Some(file) => {
                    path_bytes += file.path.len();
                    listing.files.push(file);
                }
                None => listing.skipped += 1,
            },
            FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => listing.skipped += 1,
        }
        Next::Enter
    });
    listing.skipped += failed;
    listing.files.sort_by(|a, b| a.path.cmp(&b.path));
    listing
}

/// A regular file that fits beside so many others.
fn artifact(entry: &Entry<'_>, files: usize, path_bytes: usize) -> Option<Artifact> {
    let length = entry.path_bytes();
    if length > ARTIFACT_PATH_BYTES_MAX
        || files >= FILES_MAX
        || path_bytes + length > PATHS_BYTES_MAX
    {
        return None;
    }
    let path = entry.path()?;
    let facts = entry.facts().ok()?;
    (facts.links == 1).then_some(Artifact {
        path,
        size_bytes: facts.size_bytes,
    })
}
