//! Files as they are kept: sealed where there are keys, and opened where they are read.
//!
//! Each has a key of its own and is bound to whose it is and to its path. What needs a plain file, because a
//! guest gets it, has a copy that goes with its use; those of a process that died go at the next start.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::artifacts;
use super::owner::{Name, Owner};
use super::sync::SyncDir;
use crate::StorageError;
use crate::seal::pieces::{FILE_HEAD_BYTES, FileSealer, OpenFile, file_bytes};
use crate::seal::{Place, Sealer};

/// The ending of an unfinished file; no such file outlives the process that wrote it.
pub(super) const UNFINISHED: &str = "part";
/// Bytes that are read at once.
const STEP_BYTES: usize = 64 << 10;

/// A file's key is its own already, so it is no tenant's.
fn place(row: &str) -> Place<'_> {
    Place {
        tenant: "",
        column: ("file", "content"),
        row,
    }
}

/// Begins to seal a file; gives its head. `None` without keys.
pub(super) fn begin(sealer: &Sealer, name: &Name<'_>) -> Option<(Vec<u8>, FileSealer)> {
    begin_row(sealer, &name.row())
}

/// The same with what names it.
pub(super) fn begin_row(sealer: &Sealer, row: &str) -> Option<(Vec<u8>, FileSealer)> {
    sealer.begin_file(&place(row))
}

/// A kept file, opened.
pub(super) enum Opened<R> {
    /// It is as it came.
    Plain(R),
    /// It is sealed; the length is that of what is in it.
    Sealed(Box<OpenFile<R>>, u64),
}

impl<R: Read> Opened<R> {
    /// Writes what is in it.
    pub(super) fn write(self, to: &mut impl Write) -> Result<(), StorageError> {
        match self {
            Opened::Plain(mut plain) => {
                io::copy(&mut plain, to)?;
                Ok(())
            }
            Opened::Sealed(mut sealed, _) => write_all(&mut sealed, to),
        }
    }
}

/// Opens a file.
pub(super) fn open(
    sealer: &Sealer,
    name: &Name<'_>,
    file: File,
) -> Result<Opened<File>, StorageError> {
    open_row(sealer, &name.row(), file)
}

/// The same with what names it.
pub(super) fn open_row(
    sealer: &Sealer,
    row: &str,
    mut file: File,
) -> Result<Opened<File>, StorageError> {
    let mut head = [0; FILE_HEAD_BYTES];
    let mut read = 0;
    while read < head.len() {
        match file.read_at(&mut head[read..], read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    if !crate::seal::is_marked(&head[..read]) {
        return Ok(Opened::Plain(file));
    }
    let size_bytes = file_bytes(file.metadata()?.len());
    file.seek(SeekFrom::Start(read as u64))?;
    match sealer.open_file(&place(row), &head[..read], file.try_clone()?)? {
        Some(opened) => Ok(Opened::Sealed(Box::new(opened), size_bytes)),
        None => {
            file.rewind()?;
            Ok(Opened::Plain(file))
        }
    }
}

/// The content of a short file.
pub(super) fn open_bytes(
    sealer: &Sealer,
    name: &Name<'_>,
    kept: Bytes,
) -> Result<Bytes, StorageError> {
    let head = kept.slice(..kept.len().min(FILE_HEAD_BYTES));
    let rest = Cursor::new(kept.slice(head.len()..));
    let row = name.row();
    match sealer.open_file(&place(&row), &head, rest)? {
        None => Ok(kept),
        Some(mut opened) => {
            let mut plain = Vec::new();
            write_all(&mut opened, &mut plain)?;
            Ok(plain.into())
        }
    }
}

/// Writes what is in a sealed file.
pub(super) fn write_all(
    from: &mut OpenFile<impl Read>,
    to: &mut impl Write,
) -> Result<(), StorageError> {
    loop {
        let piece = from.next_piece().map_err(of_piece)?;
        if piece.is_empty() {
            return Ok(());
        }
        to.write_all(&piece)?;
    }
}

/// A piece that was changed is corrupt; whatever else goes wrong is the disk's.
pub(super) fn of_piece(error: io::Error) -> StorageError {
    match error.kind() == io::ErrorKind::InvalidData {
        true => StorageError::corrupt(error),
        false => error.into(),
    }
}

/// Seals every file below `dir` in its place; unfinished ones are in `spool`.
pub(super) fn seal_all(
    sealer: &Sealer,
    (spool, dir): (&Path, &Path),
    owner: &Owner,
    sync: &dyn SyncDir,
) -> Result<(), StorageError> {
    let mut parents = BTreeSet::new();
    for (path, at) in artifacts::files_below(dir)?.unwrap_or_default() {
        let Some((head, pieces)) = begin(sealer, &Name::Of(owner, &path)) else {
            return Ok(());
        };
        let sealed = sealed_copy(&mut File::open(&at)?, spool, head, pieces)?;
        sealed.persist(&at).map_err(|refused| refused.error)?;
        parents.extend(at.parent().map(Path::to_owned));
    }
    for parent in parents {
        sync.dir(&parent)?;
    }
    Ok(())
}

fn sealed_copy(
    from: &mut File,
    spool: &Path,
    head: Vec<u8>,
    mut pieces: FileSealer,
) -> Result<NamedTempFile, StorageError> {
    let ending = format!(".{UNFINISHED}");
    let mut to = tempfile::Builder::new()
        .suffix(&ending)
        .tempfile_in(spool)?;
    to.write_all(&head)?;
    let mut step = vec![0; STEP_BYTES];
    loop {
        let read = from.read(&mut step)?;
        if read == 0 {
            break;
        }
        to.write_all(&pieces.push(&step[..read]))?;
    }
    to.write_all(&pieces.finish())?;
    to.as_file().sync_all()?;
    Ok(to)
}
