//! The few operations that change a file's size, each counted.
//!
//! They act on an open descriptor; `p2` and `p1` handle paths. A write runs on a blocking thread
//! and takes the ledger's lock with it, so one attempt occupies one such thread at most, however
//! many writes its guest starts.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::{FsError, StreamError};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn, spawn_blocking};

use crate::files::charge::charged;
use crate::files::quota::{DiskExceeded, FileFacts, Ledger, Quota, Refusal, Zone};
use crate::meter::Meter;

/// An open file and the account that pays for its growth.
#[derive(Clone)]
pub(super) struct CountedFile {
    pub(super) file: Arc<File>,
    pub(super) zone: Zone,
    pub(super) quota: Quota,
    pub(super) meter: Arc<Meter>,
}

/// Where a write goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// This offset.
    At(u64),
    /// The end of the file.
    End,
}

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum ChangeError {
    /// An error of the operating system, or the quota expressed as one.
    Io(io::Error),
    /// The quota ends the guest.
    Kill(DiskExceeded),
}

impl From<io::Error> for ChangeError {
    fn from(error: io::Error) -> ChangeError {
        ChangeError::Io(error)
    }
}

impl From<Refusal> for ChangeError {
    fn from(refusal: Refusal) -> ChangeError {
        match refusal {
            Refusal::NoSpace(_) => ChangeError::Io(Errno::NOSPC.into()),
            Refusal::Kill(exceeded) => ChangeError::Kill(exceeded),
        }
    }
}

impl From<ChangeError> for FsError {
    fn from(error: ChangeError) -> FsError {
        match error {
            ChangeError::Io(error) => ErrorCode::from(error).into(),
            ChangeError::Kill(exceeded) => FsError::trap(exceeded),
        }
    }
}

impl From<ChangeError> for StreamError {
    fn from(error: ChangeError) -> StreamError {
        match error {
            // The guest passes it to `filesystem-error-code`, which looks for an `io::Error`.
            ChangeError::Io(error) => StreamError::LastOperationFailed(error.into()),
            ChangeError::Kill(exceeded) => StreamError::Trap(exceeded.into()),
        }
    }
}

/// The figures of an open file.
pub(super) fn facts(file: &File) -> io::Result<FileFacts> {
    let found = file.metadata()?;
    Ok(FileFacts {
        id: (found.dev(), found.ino()),
        regular: found.is_file(),
        special: !found.is_file() && !found.is_dir() && !found.is_symlink(),
        links: found.nlink(),
        size: found.len(),
    })
}

/// What a write did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// The number of bytes written.
    pub(super) bytes: u64,
    /// The offset behind the last of them.
    pub(super) end: u64,
}

impl CountedFile {
    /// Writes all of `data`, or nothing if there is no room for it.
    pub(super) async fn write(&self, target: Target, data: Bytes) -> Result<Written, ChangeError> {
        let mut ledger = self.quota.lock().await;
        let this = self.clone();
        spawn_blocking(move || this.write_charged(&mut ledger, target, &data)).await
    }

    /// Starts such a write. If no other change is in progress, a lack of room is reported at once,
    /// so that a guest that does not wait for its writes learns of it.
    pub(super) fn start_write(
        &self,
        target: Target,
        data: Bytes,
    ) -> Result<AbortOnDropJoinHandle<WriteResult>, ChangeError> {
        let this = self.clone();
        let Some(mut ledger) = self.quota.try_lock() else {
            return Ok(spawn(async move { this.write(target, data).await }));
        };
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.admit_write(&mut ledger, target, length)?;
        Ok(spawn_blocking(move || {
            this.write_charged(&mut ledger, target, &data)
        }))
    }

    /// Whether one more byte at that place would be refused. It answers no if another change is in
    /// progress, or if the write itself should end the guest.
    pub(super) fn is_full(&self, target: Target) -> bool {
        self.quota.try_lock().is_some_and(|mut ledger| {
            !ledger.kills() && self.admit_write(&mut ledger, target, 1).is_err()
        })
    }

    /// Asks for the room that a write needs; returns the file's end before the write.
    fn admit_write(
        &self,
        ledger: &mut Ledger,
        target: Target,
        length: u64,
    ) -> Result<u64, ChangeError> {
        let before = facts(&self.file)?.size;
        let start = match target {
            Target::At(offset) => offset,
            Target::End => before,
        };
        if length > 0 {
            let end = start
                .checked_add(length)
                .ok_or(io::Error::from(Errno::FBIG))?;
            ledger.admit(end.saturating_sub(before), 0)?;
        }
        Ok(before)
    }

    /// Makes the file `size` bytes long.
    pub(super) async fn set_size(&self, size: u64) -> Result<(), ChangeError> {
        let mut ledger = self.quota.lock().await;
        let Self { file, zone, .. } = self.clone();
        charged(&self.meter, move || {
            let before = facts(&file)?;
            ledger.admit(size.saturating_sub(before.size), 0)?;
            file.set_len(size)?;
            ledger.resized(zone, before.size, &facts(&file)?);
            Ok(())
        })
        .await
    }

    fn write_charged(&self, ledger: &mut Ledger, target: Target, data: &[u8]) -> WriteResult {
        let write = || self.write_holding(ledger, target, data);
        self.meter.charging(write)
    }

    fn write_holding(&self, ledger: &mut Ledger, target: Target, data: &[u8]) -> WriteResult {
        let bytes = u64::try_from(data.len()).map_err(|_| io::Error::from(Errno::FBIG))?;
        let before = self.admit_write(ledger, target, bytes)?;
        let result = match target {
            Target::At(offset) => self.file.write_all_at(data, offset),
            Target::End => append_all(&self.file, before, data),
        };
        // This happens after a failure too: part of the data may have been written.
        let after = facts(&self.file)?;
        ledger.resized(self.zone, before, &after);
        result?;
        let end = match target {
            Target::At(offset) => offset.saturating_add(bytes),
            Target::End => after.size,
        };
        Ok(Written { bytes, end })
    }
}

/// How a write ended.
pub(super) type WriteResult = Result<Written, ChangeError>;

/// Appends in a way that lets two runs append to one granted file.
fn append_all(file: &File, size: u64, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match rustix::io::pwritev2(file, &[IoSlice::new(data)], 0, ReadWriteFlags::APPEND) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => data = data.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // The file system does not support it; no other write of this attempt can run
            // meanwhile.
            Err(Errno::NOSYS | Errno::NOTSUP) => return file.write_all_at(data, size),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
