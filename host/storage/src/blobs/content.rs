//! Bytes on their way into or out of a place that hosts share: their address, and the bytes piece by
//! piece, so that a transfer needs little memory however long they are. Whatever reads a disk or
//! computes a digest runs on a thread that may block. Where the bytes are kept is others' business.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use super::BlobHash;
use crate::StorageError;
use crate::blocking::blocking;

/// Bytes that one step of a transfer moves. A bucket takes no smaller parts than 5 MiB.
pub(crate) const PIECE_BYTES: usize = 8 << 20;

/// Bytes that are to be kept, and their address.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    hash: BlobHash,
    size_bytes: u64,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Memory(Bytes),
    File(Arc<Path>),
}

impl Content {
    /// Bytes in memory.
    pub(crate) async fn of_bytes(bytes: Bytes) -> Result<Content, StorageError> {
        blocking(move || {
            Ok(Content {
                hash: BlobHash::of(&bytes),
                size_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                source: Source::Memory(bytes),
            })
        })
        .await
    }

    /// The bytes of a file, which does not change any more.
    pub(crate) async fn of_file(path: PathBuf) -> Result<Content, StorageError> {
        blocking(move || {
            let mut file = File::open(&path)?;
            let mut sink = Sink::to(Target::Nowhere);
            loop {
                let piece = read_piece(&mut file)?;
                if piece.is_empty() {
                    break;
                }
                sink.add(&piece)?;
            }
            Ok(Content {
                hash: BlobHash(sink.found.finalize().into()),
                size_bytes: sink.size_bytes,
                source: Source::File(path.into()),
            })
        })
        .await
    }

    pub(crate) fn hash(&self) -> BlobHash {
        self.hash
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The bytes from their beginning.
    pub(crate) async fn pieces(&self) -> Result<Pieces, StorageError> {
        match &self.source {
            Source::Memory(bytes) => Ok(Pieces::Memory(bytes.clone())),
            Source::File(path) => {
                let path = Arc::clone(path);
                blocking(move || Ok(Pieces::File(File::open(path)?))).await
            }
        }
    }
}

/// What is left of bytes that are read.
#[derive(Debug)]
pub(crate) enum Pieces {
    Memory(Bytes),
    File(File),
}

impl Pieces {
    /// The next piece, which is full unless it is the last one; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        match self {
            Pieces::Memory(rest) if rest.is_empty() => Ok(None),
            Pieces::Memory(rest) => Ok(Some(rest.split_to(PIECE_BYTES.min(rest.len())))),
            Pieces::File(file) => {
                let mut file = file.try_clone()?;
                let piece = blocking(move || Ok(read_piece(&mut file)?)).await?;
                Ok((!piece.is_empty()).then_some(piece))
            }
        }
    }
}

fn read_piece(file: &mut File) -> io::Result<Bytes> {
    let mut piece = Vec::new();
    let most = u64::try_from(PIECE_BYTES).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut piece)?;
    Ok(Bytes::from(piece))
}

/// Where bytes go that are fetched, and what they turn out to be.
pub(crate) struct Sink {
    found: Sha256,
    size_bytes: u64,
    target: Target,
}

enum Target {
    Memory(BytesMut),
    File(File),
    /// Only their digest is wanted.
    Nowhere,
}

impl Sink {
    /// Into memory.
    pub(crate) fn memory() -> Sink {
        Sink::to(Target::Memory(BytesMut::new()))
    }

    /// Into a new file.
    pub(crate) fn file(file: File) -> Sink {
        Sink::to(Target::File(file))
    }

    fn to(target: Target) -> Sink {
        Sink {
            found: Sha256::new(),
            size_bytes: 0,
            target,
        }
    }

    /// The same with one piece more.
    pub(crate) async fn take(mut self, piece: Bytes) -> Result<Sink, StorageError> {
        blocking(move || {
            self.add(&piece)?;
            Ok(self)
        })
        .await
    }

    fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        self.found.update(piece);
        self.size_bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        match &mut self.target {
            Target::Memory(bytes) => bytes.extend_from_slice(piece),
            Target::File(file) => file.write_all(piece)?,
            Target::Nowhere => {}
        }
        Ok(())
    }

    /// What was taken, if it is what was wanted: the bytes, where they were to be in memory.
    pub(crate) fn into_checked(
        self,
        wanted: BlobHash,
        size_bytes: u64,
    ) -> Result<Bytes, StorageError> {
        let found = BlobHash(self.found.finalize().into());
        if found != wanted || self.size_bytes != size_bytes {
            return Err(wanted.changed());
        }
        Ok(match self.target {
            Target::Memory(bytes) => bytes.freeze(),
            Target::File(_) | Target::Nowhere => Bytes::new(),
        })
    }
}
