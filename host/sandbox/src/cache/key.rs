//! The secret that authenticates compiled code: 32 random bytes in a file of mode 0600.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rand::TryRngCore;
use rustix::fs::OFlags;

use super::guarded;

const NAME: &str = "key";
const BYTES: usize = 32;

/// Reads the key of `dir`, or makes one. Two processes that start together get the same key.
pub(super) fn read_or_make(dir: &Path) -> io::Result<[u8; BYTES]> {
    let path = dir.join(NAME);
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let mut key = [0_u8; BYTES];
    rand::rngs::OsRng
        .try_fill_bytes(&mut key)
        .map_err(io::Error::other)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(&path) {
        Ok(_kept) => File::open(dir)?.sync_all()?,
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.error),
    }
    read(&path)
}

fn read(path: &Path) -> io::Result<[u8; BYTES]> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut file = File::options().read(true).custom_flags(flags).open(path)?;
    guarded(&file.metadata()?).map_err(|why| io::Error::other(format!("the key {why}")))?;
    let mut key = [0_u8; BYTES];
    file.read_exact(&mut key)?;
    match file.read(&mut [0_u8])? {
        0 => Ok(key),
        _ => Err(io::Error::other("the key is longer than 32 bytes")),
    }
}
