//! Results of runs that a host keeps for a while, one file each, in a directory of its own.
//!
//! A file is written beside its name and then renamed, and nobody waits until the disk has it: whatever is not
//! whole, or is not what was written, is found out where it is read. With keys files are sealed, and bound to
//! their names; one that is not sealed is then no result. Which results are kept, for whom and for how long, is
//! the caller's business.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use cofferdam_trees::occupied;
use sha2::{Digest as _, Sha256};

use super::sealing::{self, Opened};
use super::{absent_is_fine, private_dir};
use crate::StorageError;
use crate::seal::Sealer;
use cofferdam_domain::time::Timestamp;

/// The start of the name of a file that is not whole.
const UNFINISHED: &str = ".unfinished-";
/// Behind what is in a file that is not sealed.
const DIGEST_BYTES: usize = 32;

/// The results in one data directory. Everything here blocks.
#[derive(Clone, Debug)]
pub struct ResultFiles {
    dir: PathBuf,
    /// What is left free on the disk.
    free_min_bytes: u64,
    sealer: Arc<Sealer>,
}

/// The name of a result. Those that were made earlier sort before later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultName {
    made_ms: u64,
    number: u64,
}

impl ResultName {
    fn new(made: Timestamp, number: u64) -> ResultName {
        ResultName {
            made_ms: u64::try_from(made.as_millis()).unwrap_or(0),
            number,
        }
    }

    fn parse(name: &str) -> Option<ResultName> {
        let (made, number) = name.split_once('-')?;
        let number_of = |part: &str| u64::from_str_radix(part, 16).ok();
        let name_of = ResultName {
            made_ms: number_of(made)?,
            number: number_of(number)?,
        };
        (name_of.to_string() == name).then_some(name_of)
    }

    /// What names it in an error, and is authenticated with it.
    fn row(self) -> String {
        format!("the result {self}")
    }
}

impl fmt::Display for ResultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.made_ms, self.number)
    }
}

impl ResultFiles {
    /// Opens the directory, or makes it.
    pub(crate) fn open(
        dir: PathBuf,
        free_min_bytes: u64,
        sealer: &Arc<Sealer>,
    ) -> Result<ResultFiles, StorageError> {
        private_dir().recursive(true).create(&dir)?;
        Ok(ResultFiles {
            dir,
            free_min_bytes,
            sealer: Arc::clone(sealer),
        })
    }

    /// The results that are there, the oldest first. What else is there is removed.
    pub fn names(&self) -> Result<Vec<ResultName>, StorageError> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            match entry.file_name().to_str().and_then(ResultName::parse) {
                Some(name) => names.push(name),
                None => drop(absent_is_fine(std::fs::remove_file(entry.path()))?),
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A name for what was made at that time.
    pub fn new_name(&self, made: Timestamp) -> ResultName {
        ResultName::new(made, rand::random())
    }

    /// Writes a result; gives the space that it takes. [`StorageError::Full`] if the disk has to be left alone.
    pub fn put(&self, name: ResultName, parts: &[&[u8]]) -> Result<u64, StorageError> {
        self.has_room(parts.iter().map(|part| part.len() as u64).sum())?;
        let mut draft = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(&self.dir)?;
        match sealing::begin_row(&self.sealer, &name.row()) {
            Some((head, mut pieces)) => {
                draft.write_all(&head)?;
                for part in parts {
                    draft.write_all(&pieces.push(part))?;
                }
                draft.write_all(&pieces.finish())?;
            }
            None => {
                let mut digest = Sha256::new();
                for part in parts {
                    digest.update(part);
                    draft.write_all(part)?;
                }
                draft.write_all(&digest.finalize())?;
            }
        }
        let bytes = draft.as_file().metadata()?.len();
        let put = draft.persist(self.path(name));
        put.map_err(|refused| refused.error)?;
        Ok(occupied(bytes))
    }

    /// How a result begins, at least `least` bytes of it if it has them, and the space that it takes. Without
    /// keys nobody has looked yet whether it is what was written.
    pub fn beginning(
        &self,
        name: ResultName,
        least: usize,
    ) -> Result<(Vec<u8>, u64), StorageError> {
        let file = File::open(self.path(name))?;
        let bytes = file.metadata()?.len();
        let mut begins = Vec::new();
        match self.opened(name, file)? {
            Opened::Plain(file) => {
                file.take(least as u64).read_to_end(&mut begins)?;
            }
            Opened::Sealed(mut sealed, _) => {
                while begins.len() < least {
                    let piece = sealed.next_piece().map_err(sealing::of_piece)?;
                    if piece.is_empty() {
                        break;
                    }
                    begins.extend_from_slice(&piece);
                }
            }
        }
        Ok((begins, occupied(bytes)))
    }

    /// A result as it was written; an error if it is absent, longer than `most` or not whole.
    pub fn get(&self, name: ResultName, most: u64) -> Result<Vec<u8>, StorageError> {
        let file = File::open(self.path(name))?;
        // What seals it is less than a part in a thousand.
        if file.metadata()?.len() > most + most / 1024 + 1024 {
            return Err(spoilt(name));
        }
        let mut content = Vec::new();
        match self.opened(name, file)? {
            Opened::Sealed(mut sealed, _) => sealing::write_all(&mut sealed, &mut content)?,
            Opened::Plain(mut file) => {
                file.read_to_end(&mut content)?;
                let length = content.len().checked_sub(DIGEST_BYTES);
                let length = length.ok_or_else(|| spoilt(name))?;
                let digest = content.split_off(length);
                if Sha256::digest(&content).as_slice() != digest.as_slice() {
                    return Err(spoilt(name));
                }
            }
        }
        Ok(content)
    }

    /// Removes a result. An absent one is not an error.
    pub fn remove(&self, name: ResultName) -> Result<(), StorageError> {
        absent_is_fine(std::fs::remove_file(self.path(name)))?;
        Ok(())
    }

    fn opened(&self, name: ResultName, file: File) -> Result<Opened<File>, StorageError> {
        let opened = sealing::open_row(&self.sealer, &name.row(), file)?;
        match &opened {
            Opened::Plain(_) if self.sealer.seals() => Err(spoilt(name)),
            Opened::Plain(_) | Opened::Sealed(..) => Ok(opened),
        }
    }

    fn has_room(&self, bytes: u64) -> Result<(), StorageError> {
        let disk = rustix::fs::statvfs(&self.dir).map_err(std::io::Error::from)?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        match free_bytes >= self.free_min_bytes.saturating_add(bytes) {
            true => Ok(()),
            false => Err(StorageError::Full(format!(
                "the disk has {free_bytes} bytes left, of which results are to leave {}",
                self.free_min_bytes
            ))),
        }
    }

    fn path(&self, name: ResultName) -> PathBuf {
        self.dir.join(name.to_string())
    }
}

fn spoilt(name: ResultName) -> StorageError {
    StorageError::corrupt(format_args!("{} is not what was written", name.row()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::seal::EncryptionKeys;

    const KEYS: [&str; 2] = [
        "0f0e0d0c0b0a09080706050403020100f0e0d0c0b0a090807060504030201000",
        "1f1e1d1c1b1a19181716151413121110f1e1d1c1b1a191817161514131211101",
    ];

    fn open(dir: &Path, keys: &[&str]) -> ResultFiles {
        let all = EncryptionKeys::parse(keys.iter().copied()).unwrap();
        let sealer = Sealer::new(&all, StdRng::seed_from_u64(1));
        ResultFiles::open(dir.to_owned(), 0, &Arc::new(sealer)).unwrap()
    }

    fn name(at: u64) -> ResultName {
        ResultName::new(Timestamp::from_millis(at.cast_signed()), 7)
    }

    #[test]
    fn what_was_written_is_read_and_what_was_changed_is_not() {
        let long = vec![b'x'; 200_000];
        for keys in [&[][..], &KEYS[..1]] {
            let dir = tempfile::tempdir().unwrap();
            let files = open(dir.path(), keys);
            let whole = [b"a", long.as_slice()].concat();
            let takes = files.put(name(1), &[b"a", &long]).unwrap();
            assert!(takes >= 200_001);
            assert_eq!(files.get(name(1), 300_000).unwrap(), whole);
            let (begins, same) = files.beginning(name(1), 10).unwrap();
            assert!(begins.starts_with(&whole[..10]) && same == takes);
            assert!(files.get(name(1), 100_000).is_err(), "it is too long");
            // Another's name, a byte of its own, an end that is missing.
            let path = |at| files.path(name(at));
            std::fs::copy(path(1), path(2)).unwrap();
            assert_eq!(files.get(name(2), 300_000).is_err(), !keys.is_empty());
            let mut bytes = std::fs::read(path(1)).unwrap();
            bytes[100_000] ^= 1;
            std::fs::write(path(1), &bytes).unwrap();
            assert!(files.get(name(1), 300_000).is_err());
            bytes[100_000] ^= 1;
            bytes.truncate(150_000);
            std::fs::write(path(1), &bytes).unwrap();
            assert!(files.get(name(1), 300_000).is_err());
        }
    }

    #[test]
    fn what_is_no_result_is_removed_and_others_are_named_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let files = open(dir.path(), &[]);
        for at in [300, 20, 1] {
            files.put(name(at), &[b"x"]).unwrap();
        }
        for stray in [".unfinished-x", "1-2", "a-b"] {
            std::fs::write(dir.path().join(stray), b"x").unwrap();
        }
        assert_eq!(files.names().unwrap(), [1, 20, 300].map(name));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
        files.remove(name(20)).unwrap();
        files.remove(name(20)).unwrap();
        assert_eq!(files.names().unwrap(), [1, 300].map(name));
    }

    #[test]
    fn nothing_is_read_without_its_key_or_unsealed_where_there_are_keys() {
        let dir = tempfile::tempdir().unwrap();
        let [plain, one, both, other] = [&[][..], &KEYS[..1], &[KEYS[1], KEYS[0]], &KEYS[1..]]
            .map(|keys| open(dir.path(), keys));
        plain.put(name(1), &[b"plain"]).unwrap();
        one.put(name(2), &[b"sealed"]).unwrap();
        let read = |files: &ResultFiles, at| {
            let whole = files.get(name(at), 1000).ok();
            assert_eq!(files.beginning(name(at), 3).is_ok(), whole.is_some());
            whole
        };
        assert_eq!(read(&plain, 1).as_deref(), Some(&b"plain"[..]));
        assert_eq!(read(&one, 1), None);
        for (files, is_read) in [
            (&one, true),
            (&both, true),
            (&other, false),
            (&plain, false),
        ] {
            assert_eq!(read(files, 2).is_some(), is_read);
        }
    }
}
