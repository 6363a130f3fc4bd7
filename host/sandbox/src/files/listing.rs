//! The entries of a directory as a guest reads them, within bounds.
//!
//! A listing is read at once and held in the host's memory until the guest has read it, so all
//! listings of a run together are bounded, whatever their number.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rustix::fs::{AtFlags, Dir, FileType, fstat, statat};
use rustix::io::Errno;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorType, ErrorCode};

/// Host memory that the listings of one run take.
pub(super) const LISTED_BYTES_MAX: u64 = 32 << 20;

/// The bytes of an entry besides its name, and of a listing besides its entries.
const ENTRY_BYTES: u64 = 64;

/// One entry.
#[derive(Debug)]
pub(super) struct ListedEntry {
    pub(super) kind: DescriptorType,
    /// The error is for a name that is not UTF-8.
    pub(super) name: Result<String, ErrorCode>,
    /// Its `metadata-hash`.
    pub(super) hash: u64,
}

/// The entries of one directory, without `.` and `..`.
#[derive(Debug)]
pub(super) struct DirListing {
    pub(super) entries: Vec<ListedEntry>,
    /// Host memory it takes.
    pub(super) bytes: u64,
}

impl DirListing {
    /// Reads a directory, as long as the listing takes no more than `bytes_max`. Blocks.
    pub(super) fn read(dir: &File, bytes_max: u64) -> Result<DirListing, ErrorCode> {
        let device = fstat(dir).map_err(code)?.st_dev;
        let mut listing = DirListing {
            entries: Vec::new(),
            bytes: ENTRY_BYTES,
        };
        let mut entries = Dir::read_from(dir).map_err(code)?;
        loop {
            if listing.bytes > bytes_max {
                return Err(ErrorCode::InsufficientMemory);
            }
            let Some(entry) = entries.next() else { break };
            let entry = entry.map_err(code)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            listing.bytes += ENTRY_BYTES + name.to_bytes().len() as u64;
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                kind = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(kind, |found| FileType::from_raw_mode(found.st_mode));
            }
            let name = name.to_str().map_err(|_| ErrorCode::IllegalByteSequence);
            listing.entries.push(ListedEntry {
                kind: described(kind),
                name: name.map(str::to_owned),
                hash: hash_of(device, entry.ino()),
            });
        }
        // A file system's order differs between machines; a run should be the same on each.
        listing
            .entries
            .sort_by(|a, b| a.name.as_ref().ok().cmp(&b.name.as_ref().ok()));
        Ok(listing)
    }
}

fn code(error: Errno) -> ErrorCode {
    ErrorCode::from(std::io::Error::from(error))
}

fn described(kind: FileType) -> DescriptorType {
    match kind {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::Fifo => DescriptorType::Fifo,
        FileType::Socket => DescriptorType::Socket,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        FileType::Unknown => DescriptorType::Unknown,
    }
}

/// The lower half of wasmtime-wasi's hash of a file's identity, which a guest of WASI 0.1 sees as
/// the inode number.
fn hash_of(device: u64, inode: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (device, inode).hash(&mut hasher);
    hasher.finish()
}
