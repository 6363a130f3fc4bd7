//! Lists the files below a directory of a run.
//!
//! Only regular files can be kept, and only under a path that a client can request: UTF-8, no
//! longer than the API accepts, and all together no longer than an answer can hold. All other files
//! are counted by reason, at any depth.

use std::collections::{HashMap, HashSet};

use cofferdam_trees::{BLOCK_BYTES, Entry, Next, occupied, walk};
use rustix::fd::OwnedFd;
use rustix::fs::FileType;

use crate::files::quota::FileId;
use cofferdam_domain::attempt::{ARTIFACT_PATH_BYTES_MAX, Artifact, LeftOut};

/// The most files of one listing; files beyond it stay unlisted.
const FILES_MAX: usize = 100_000;

/// Bytes of all paths of one listing together.
const PATHS_BYTES_MAX: usize = 4 << 20;

/// The files below one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Regular files, in the order of their paths.
    pub files: Vec<Artifact>,
    /// All other entries except directories.
    pub left_out: LeftOut,
    /// Files with several names, by path.
    linked: HashMap<String, FileId>,
    path_bytes: usize,
}

impl Listing {
    /// Lists what is below `root`.
    pub(super) fn of(root: OwnedFd) -> Listing {
        let mut listing = Listing::default();
        let unreadable = walk(root, &mut |entry| {
            match entry.kind {
                FileType::Directory => {}
                FileType::RegularFile => listing.file(entry),
                FileType::Symlink => listing.left_out.symbolic_links += 1,
                FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice => listing.left_out.special_files += 1,
                FileType::Unknown => listing.left_out.unreadable += 1,
            }
            Next::Enter
        });
        listing.left_out.unreadable += unreadable;
        listing.files.sort_by(|a, b| a.path.cmp(&b.path));
        listing
    }

    fn file(&mut self, entry: &Entry<'_>) {
        let left_out = &mut self.left_out;
        let path_bytes = self.path_bytes + entry.path_bytes();
        if entry.path_bytes() > ARTIFACT_PATH_BYTES_MAX {
            left_out.long_paths += 1;
        } else if self.files.len() >= FILES_MAX || path_bytes > PATHS_BYTES_MAX {
            left_out.too_many += 1;
        } else {
            match (entry.path(), entry.facts()) {
                (None, _) => left_out.names_not_utf8 += 1,
                (Some(_), Err(_)) => left_out.unreadable += 1,
                (Some(path), Ok(facts)) => {
                    if facts.links > 1 {
                        self.linked.insert(path.clone(), facts.id);
                    }
                    self.path_bytes = path_bytes;
                    self.files.push(Artifact {
                        path,
                        size_bytes: facts.size_bytes,
                    });
                }
            }
        }
    }

    /// The same without the files that `stays` denies.
    pub(super) fn only(mut self, stays: impl Fn(&Artifact) -> bool) -> Listing {
        self.files.retain(stays);
        self.path_bytes = self.files.iter().map(|file| file.path.len()).sum();
        self
    }

    /// Both together; where both have a path, the other one counts.
    pub(super) fn and(self, other: Listing) -> Listing {
        let taken: HashSet<&str> = other.files.iter().map(|it| it.path.as_str()).collect();
        let mut left_out = self.left_out.plus(other.left_out);
        let mut both = self.only(|file| !taken.contains(file.path.as_str()));
        both.linked.extend(other.linked);
        both.path_bytes += other.path_bytes;
        for file in other.files {
            both.files.push(file);
        }
        both.files.sort_by(|a, b| a.path.cmp(&b.path));
        while both.path_bytes > PATHS_BYTES_MAX
            && let Some(last) = both.files.pop()
        {
            both.path_bytes -= last.path.len();
            left_out.too_many += 1;
        }
        both.left_out = left_out;
        both
    }

    /// The disk space of the files and their directories once they are kept.
    pub(super) fn occupied_bytes(&self) -> u64 {
        let (mut seen, mut dirs) = (HashSet::new(), HashSet::new());
        let mut sum = BLOCK_BYTES;
        for file in &self.files {
            let is_first = self.linked.get(&file.path).is_none_or(|id| seen.insert(id));
            sum += occupied(if is_first { file.size_bytes } else { 0 });
            let mut path = file.path.as_str();
            while let Some((dir, _)) = path.rsplit_once('/') {
                if !dirs.insert(dir) {
                    break;
                }
                path = dir;
            }
        }
        sum.saturating_add(BLOCK_BYTES.saturating_mul(dirs.len() as u64))
    }
}
