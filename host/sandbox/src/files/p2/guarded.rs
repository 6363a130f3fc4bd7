//! The calls of `wasi:filesystem` that grow a file, or create or remove an entry; `opening` has the
//! opening of files.
//!
//! Each takes the ledger's lock, reads the present state, asks for room, lets wasmtime-wasi act and
//! records what happened. `p1` calls the same methods.

use std::fs::File;
use std::io;
use std::sync::Arc;

use cap_std::fs::MetadataExt as _;
use tokio::sync::OwnedMutexGuard;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::{ErrorCode, HostDescriptor as _, PathFlags};
use wasmtime_wasi::p2::{DynOutputStream, FsError, FsResult};

use super::{Fd, FilesCtxView};
use crate::files::charge::charged;
use crate::files::counted::{ChangeError, CountedFile, Target};
use crate::files::p2::elsewhere::{check_path, elsewhere};
use crate::files::quota::{FileFacts, Ledger, Refusal, Zone};
use crate::files::stream::CountedStream;

impl From<Refusal> for FsError {
    fn from(refusal: Refusal) -> FsError {
        ChangeError::from(refusal).into()
    }
}

impl FilesCtxView<'_> {
    pub(super) async fn guarded_set_size(&mut self, fd: Fd, size: u64) -> FsResult<()> {
        Ok(self.counted(&fd)?.set_size(size).await?)
    }

    pub(super) async fn guarded_write(
        &mut self,
        fd: Fd,
        data: Vec<u8>,
        offset: u64,
    ) -> FsResult<u64> {
        let file = self.counted(&fd)?;
        Ok(file.write(Target::At(offset), data.into()).await?.bytes)
    }

    pub(super) fn guarded_stream(
        &mut self,
        fd: &Fd,
        target: Target,
    ) -> FsResult<Resource<DynOutputStream>> {
        let file = self.counted(fd)?;
        // A libc that opens a stream for each write takes the reason from here; it never reads it
        // from a stream's error.
        if file.is_full(target) {
            return Err(ErrorCode::InsufficientSpace.into());
        }
        let stream: DynOutputStream = Box::new(CountedStream::new(file, target));
        Ok(self.table.push(stream)?)
    }

    pub(super) async fn guarded_create_directory(&mut self, fd: Fd, path: String) -> FsResult<()> {
        check_path(&path)?;
        let mut ledger = self.begin().await?;
        ledger.admit(0, 1)?;
        elsewhere!(self, fd; |view| view.create_directory_at(fd, path))?;
        ledger.entered();
        Ok(())
    }

    pub(super) async fn guarded_symlink(
        &mut self,
        fd: Fd,
        old_path: String,
        new_path: String,
    ) -> FsResult<()> {
        check_path(&old_path)?;
        check_path(&new_path)?;
        let mut ledger = self.begin().await?;
        ledger.admit(0, 1)?;
        elsewhere!(self, fd; |view| view.symlink_at(fd, old_path, new_path))?;
        ledger.entered();
        Ok(())
    }

    pub(super) async fn guarded_link(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        old_path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        check_path(&old_path)?;
        check_path(&new_path)?;
        let mut ledger = self.begin().await?;
        self.same_zone(&fd, &new_fd)?;
        ledger.admit(0, 1)?;
        elsewhere!(self, fd, new_fd; |view| view.link_at(fd, flags, old_path, new_fd, new_path))?;
        ledger.entered();
        Ok(())
    }

    pub(super) async fn guarded_unlink(&mut self, fd: Fd, path: String) -> FsResult<()> {
        check_path(&path)?;
        let mut ledger = self.begin().await?;
        let was = self.peek_scratch(&fd, &path).await?;
        elsewhere!(self, fd; |view| view.unlink_file_at(fd, path))?;
        if let Some(was) = was {
            ledger.removed(&was);
        }
        Ok(())
    }

    pub(super) async fn guarded_remove_directory(&mut self, fd: Fd, path: String) -> FsResult<()> {
        check_path(&path)?;
        let mut ledger = self.begin().await?;
        let was = self.peek_scratch(&fd, &path).await?;
        elsewhere!(self, fd; |view| view.remove_directory_at(fd, path))?;
        if let Some(was) = was {
            ledger.removed(&was);
        }
        Ok(())
    }

    pub(super) async fn guarded_rename(
        &mut self,
        fd: Fd,
        old_path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        check_path(&old_path)?;
        check_path(&new_path)?;
        let mut ledger = self.begin().await?;
        self.same_zone(&fd, &new_fd)?;
        let moved = self.peek_scratch(&fd, &old_path).await?;
        let replaced = self.peek_scratch(&new_fd, &new_path).await?;
        elsewhere!(self, fd, new_fd; |view| view.rename_at(fd, old_path, new_fd, new_path))?;
        // Two names of one file: renaming one to the other does nothing.
        if let (Some(moved), Some(replaced)) = (moved, replaced)
            && moved.id != replaced.id
        {
            ledger.removed(&replaced);
        }
        Ok(())
    }

    /// The directories and the ledger.
    async fn begin(&mut self) -> FsResult<OwnedMutexGuard<Ledger>> {
        self.ready_fs().await?;
        Ok(self.files.quota.lock().await)
    }

    /// A granted directory is another device, as a mount is on any machine: nothing is linked or
    /// moved into the scratch uncounted, and the guest cannot gain quota by removing files that it
    /// did not write.
    fn same_zone(&self, a: &Fd, b: &Fd) -> FsResult<()> {
        if self.files.zone(a.rep()) == self.files.zone(b.rep()) {
            Ok(())
        } else {
            Err(ErrorCode::CrossDevice.into())
        }
    }

    /// A file that may be written.
    pub(in crate::files) fn counted(&self, fd: &Fd) -> FsResult<CountedFile> {
        match self.table.get(fd)? {
            Descriptor::File(file) if file.perms.write_not_permitted() => {
                Err(ErrorCode::NotPermitted.into())
            }
            Descriptor::File(file) => Ok(CountedFile {
                file: Arc::clone(&file.file),
                zone: self.files.zone(fd.rep()),
                quota: self.files.quota.clone(),
                meter: Arc::clone(&self.files.meter),
            }),
            Descriptor::Dir(_) => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    /// The file behind a name in the scratch; elsewhere nothing is given back, so this is not
    /// needed.
    async fn peek_scratch(&mut self, fd: &Fd, path: &str) -> FsResult<Option<FileFacts>> {
        match self.files.zone(fd.rep()) {
            Zone::Scratch => self.peek(fd, path, false).await,
            Zone::Input | Zone::Mount(_) => Ok(None),
        }
    }

    /// The file that a path leads to, if any. Errors are ignored here, because the following call
    /// meets them too.
    pub(super) async fn peek(
        &mut self,
        fd: &Fd,
        path: &str,
        follow: bool,
    ) -> FsResult<Option<FileFacts>> {
        let dir = match self.table.get(fd)? {
            Descriptor::Dir(dir) => Arc::clone(&dir.dir),
            Descriptor::File(_) => return Err(ErrorCode::NotDirectory.into()),
        };
        let path = path.to_owned();
        let peek = move || peek_blocking(&dir, &path, follow);
        Ok(charged(&self.files.meter, peek).await.ok())
    }
}

fn peek_blocking(dir: &File, path: &str, follow: bool) -> io::Result<FileFacts> {
    let dir = cap_std::fs::Dir::from_std_file(dir.try_clone()?);
    let found = if follow {
        dir.metadata(path)
    } else {
        dir.symlink_metadata(path)
    }?;
    Ok(FileFacts {
        id: (found.dev(), found.ino()),
        regular: found.is_file(),
        special: !found.is_file() && !found.is_dir() && !found.is_symlink(),
        links: found.nlink(),
        size: found.len(),
    })
}
