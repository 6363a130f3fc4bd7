//! What is read of a kept file, and what a run finds as its input: from a disk or from a row.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tempfile::TempPath;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::JoinHandle;

use super::budget::Room;
use super::cache::Cached;
use super::sealing::{self, Opened};
use crate::StorageError;
use crate::seal::pieces::OpenFile;

/// The bytes of a kept file, from their beginning.
#[derive(Debug)]
pub struct FileBody(Inner);

#[derive(Debug)]
enum Inner {
    Disk(tokio::fs::File),
    Sealed(Box<Pieces>),
    Memory(Cursor<Bytes>),
}

impl FileBody {
    /// A kept file, and how many bytes are in it. What was changed is noticed here if it is at the beginning,
    /// and otherwise where it is read.
    pub(super) fn of_content(content: Opened<File>) -> Result<(FileBody, u64), StorageError> {
        Ok(match content {
            Opened::Plain(file) => {
                let size = file.metadata()?.len();
                let file = tokio::fs::File::from_std(file);
                (FileBody(Inner::Disk(file)), size)
            }
            Opened::Sealed(mut file, size) => {
                let piece = file.next_piece().map_err(sealing::of_piece)?;
                let pieces = Pieces {
                    piece: Cursor::new(piece),
                    state: State::Waiting(file),
                };
                (FileBody(Inner::Sealed(Box::new(pieces))), size)
            }
        })
    }

    /// Bytes, and how many there are.
    pub(super) fn of_bytes(bytes: Bytes) -> (FileBody, u64) {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        (FileBody(Inner::Memory(Cursor::new(bytes))), size)
    }
}

impl AsyncRead for FileBody {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Inner::Disk(file) => Pin::new(file).poll_read(context, buffer),
            Inner::Sealed(pieces) => pieces.poll_read(context, buffer),
            Inner::Memory(bytes) => Pin::new(bytes).poll_read(context, buffer),
        }
    }
}

/// A sealed file that is read: a piece, and those behind it.
struct Pieces {
    piece: Cursor<Vec<u8>>,
    state: State,
}

/// The file, and its next piece.
type Next = (Box<OpenFile<File>>, io::Result<Vec<u8>>);

enum State {
    Waiting(Box<OpenFile<File>>),
    /// A thread that may block opens the next piece.
    Opening(JoinHandle<Next>),
    Over,
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pieces")
    }
}

impl Pieces {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let position = self.piece.position();
            if position < self.piece.get_ref().len() as u64 {
                return Pin::new(&mut self.piece).poll_read(context, buffer);
            }
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Poll::Ready(Ok(())),
                State::Waiting(mut file) => {
                    self.state = State::Opening(tokio::task::spawn_blocking(move || {
                        let piece = file.next_piece();
                        (file, piece)
                    }));
                }
                State::Opening(mut opening) => match Pin::new(&mut opening).poll(context) {
                    Poll::Pending => {
                        self.state = State::Opening(opening);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                    Poll::Ready(Ok((_, Err(error)))) => {
                        tracing::error!(%error, "a kept file cannot be read");
                        return Poll::Ready(Err(error));
                    }
                    Poll::Ready(Ok((file, Ok(piece)))) => {
                        if !piece.is_empty() {
                            self.state = State::Waiting(file);
                        }
                        self.piece = Cursor::new(piece);
                    }
                },
            }
        }
    }
}

/// A spooled input as a file. It stays there until this is dropped.
#[derive(Debug)]
pub struct InputFile {
    path: PathBuf,
    _copy: Option<Cached>,
    /// A copy of what is sealed, and its room.
    _opened: Option<(TempPath, Room)>,
}

impl InputFile {
    pub(super) fn at(path: PathBuf) -> InputFile {
        InputFile {
            path,
            _copy: None,
            _opened: None,
        }
    }

    pub(super) fn opened(copy: TempPath, room: Room) -> InputFile {
        InputFile {
            path: copy.to_path_buf(),
            _copy: None,
            _opened: Some((copy, room)),
        }
    }

    pub(super) fn of(copy: Cached) -> InputFile {
        InputFile {
            path: copy.path().to_owned(),
            _copy: Some(copy),
            _opened: None,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
