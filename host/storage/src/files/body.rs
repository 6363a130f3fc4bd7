//! What is read of a kept file, and what a run finds as its input: from a disk or from a row.

use std::fs::File;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::cache::Cached;

/// The bytes of a kept file, from their beginning.
#[derive(Debug)]
pub struct FileBody(Inner);

#[derive(Debug)]
enum Inner {
    Disk(tokio::fs::File),
    Memory(Cursor<Bytes>),
}

impl FileBody {
    pub(super) fn of_file(file: File) -> FileBody {
        FileBody(Inner::Disk(tokio::fs::File::from_std(file)))
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
            Inner::Memory(bytes) => Pin::new(bytes).poll_read(context, buffer),
        }
    }
}

/// A spooled input as a file. It stays there until this is dropped.
#[derive(Debug)]
pub struct InputFile {
    path: PathBuf,
    _copy: Option<Cached>,
}

impl InputFile {
    pub(super) fn at(path: PathBuf) -> InputFile {
        InputFile { path, _copy: None }
    }

    pub(super) fn of(copy: Cached) -> InputFile {
        InputFile {
            path: copy.path().to_owned(),
            _copy: Some(copy),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
