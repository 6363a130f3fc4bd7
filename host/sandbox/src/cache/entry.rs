//! The compiled code of one module on disk: the file, its seal beside it, and how both come and go.
//!
//! `NAME.cwasm` holds the code and nothing else, because it is mapped as it is. `NAME.seal`
//! holds the MAC in hexadecimal and, after a newline, the label.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use blake3::{Hash, Hasher};
use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use super::{DRAFT, guarded};

/// The extension of compiled code.
pub(super) const CODE: &str = "cwasm";
/// The extension of seals.
pub(super) const SEAL: &str = "seal";

/// The longest seal; a label is as long as a module's list of imports.
const SEAL_BYTES_MAX: u64 = 16 * 1024 * 1024;
const PIECE_BYTES: usize = 256 * 1024;

/// The metadata that stays the same while nobody changes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file at `path`; none if it is absent.
    pub(super) fn of(path: &Path) -> io::Result<Option<Stamp>> {
        match fs::symlink_metadata(path) {
            Ok(about) => Ok(Some(Stamp::from(&about))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl From<&fs::Metadata> for Stamp {
    fn from(about: &fs::Metadata) -> Stamp {
        Stamp {
            device: about.dev(),
            inode: about.ino(),
            bytes: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}

/// Compiled code being written. If it is dropped before it is published, nothing remains.
pub(crate) struct Draft {
    name: String,
    file: NamedTempFile,
    mac: Hasher,
}

impl Draft {
    pub(super) fn new(dir: &Path, name: String, key: &[u8; 32]) -> io::Result<Draft> {
        let file = tempfile::Builder::new().prefix(DRAFT).tempfile_in(dir)?;
        Ok(Draft {
            mac: mac_of(key, &name),
            name,
            file,
        })
    }

    /// Appends to the code.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.mac.update(bytes);
        self.file.write_all(bytes)
    }

    /// Puts the code and its seal in place, durably, and returns its name. The seal goes first:
    /// code without a seal would look like a forgery.
    pub(super) fn publish(mut self, dir: &Path, label: &str) -> io::Result<String> {
        let bytes = self.file.as_file().metadata()?.len();
        let mac = finish(&mut self.mac, bytes, label);
        let mut seal = tempfile::Builder::new().prefix(DRAFT).tempfile_in(dir)?;
        write!(seal, "{}\n{label}", mac.to_hex())?;
        seal.as_file().sync_all()?;
        self.file.as_file().sync_all()?;
        seal.persist(dir.join(format!("{}.{SEAL}", self.name)))
            .map_err(|error| error.error)?;
        self.file
            .persist(dir.join(format!("{}.{CODE}", self.name)))
            .map_err(|error| error.error)?;
        File::open(dir)?.sync_all()?;
        Ok(self.name)
    }
}

/// Checks compiled code against its seal. Returns its metadata and label, or what is wrong with it.
pub(super) fn check(dir: &Path, name: &str, key: &[u8; 32]) -> io::Result<(Stamp, Arc<str>)> {
    let mut code = open(&dir.join(format!("{name}.{CODE}")))?;
    let seal = open(&dir.join(format!("{name}.{SEAL}")))?;
    let mut text = String::new();
    seal.take(SEAL_BYTES_MAX).read_to_string(&mut text)?;
    let (sealed, label) = text
        .split_once('\n')
        .ok_or_else(|| wrong("its seal is broken"))?;
    let sealed = Hash::from_hex(sealed).map_err(|_| wrong("its seal is broken"))?;

    let before = Stamp::from(&code.metadata()?);
    let mut mac = mac_of(key, name);
    let mut piece = vec![0_u8; PIECE_BYTES];
    let mut bytes = 0;
    loop {
        let read = code.read(&mut piece)?;
        if read == 0 {
            break;
        }
        mac.update(&piece[..read]);
        bytes += read as u64;
    }
    // The comparison of hashes takes the same time wherever they differ.
    if finish(&mut mac, bytes, label) != sealed {
        return Err(wrong("its seal does not fit"));
    }
    match Stamp::from(&code.metadata()?) == before {
        true => Ok((before, Arc::from(label))),
        false => Err(wrong("it changed while it was read")),
    }
}

/// Marks compiled code as just used. Its age is that of the seal, so that the code itself keeps
/// its times.
pub(super) fn touch(seal: &Path) {
    let now = rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    let times = rustix::fs::Timestamps {
        last_access: now,
        last_modification: now,
    };
    // At worst it is removed earlier than it should be.
    let _unmarked = File::open(seal).map(|seal| rustix::fs::futimens(&seal, &times));
}

/// Compiled code as the budget sees it.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// When it was last used; without a seal it never was.
    pub(super) used: SystemTime,
}

/// Everything that is kept in `dir`, by the names of code and of seals, so that a code or a seal
/// alone counts and is removed as well.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = std::collections::HashMap::new();
    for file in fs::read_dir(dir)? {
        let file = file?;
        let path = file.path();
        let (Some(name), Some(extension)) = (path.file_stem(), path.extension()) else {
            continue;
        };
        let (is_code, is_seal) = (extension == CODE, extension == SEAL);
        // A file that is gone by now was removed by another process.
        let Ok(about) = file.metadata() else { continue };
        if !is_code && !is_seal {
            continue;
        }
        let name = name.to_string_lossy().into_owned();
        let entry = entries.entry(name.clone()).or_insert_with(|| Entry {
            name,
            bytes: 0,
            used: SystemTime::UNIX_EPOCH,
        });
        entry.bytes += about.len();
        if is_seal {
            entry.used = about.modified()?;
        }
    }
    Ok(entries.into_values().collect())
}

fn open(path: &Path) -> io::Result<File> {
    // Opened without waiting: a pipe in its place must not block the host.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    guarded(&file.metadata()?).map_err(|why| wrong(&format!("it {why}")))?;
    Ok(file)
}

fn mac_of(key: &[u8; 32], name: &str) -> Hasher {
    let mut mac = Hasher::new_keyed(key);
    mac.update(&(name.len() as u64).to_le_bytes());
    mac.update(name.as_bytes());
    mac
}

/// The lengths separate the end of the code from the start of the label.
fn finish(mac: &mut Hasher, code_bytes: u64, label: &str) -> Hash {
    mac.update(label.as_bytes());
    mac.update(&code_bytes.to_le_bytes());
    mac.update(&(label.len() as u64).to_le_bytes());
    mac.finalize()
}

fn wrong(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}
