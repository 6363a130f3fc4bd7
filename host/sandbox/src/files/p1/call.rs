//! The counted calls of WASI 0.1: each finds the descriptor, reads the arguments from the guest's
//! memory, calls the method of `p2`, and writes the result back.

use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p1::types::{Errno, Error, Fd, Fdflags, Lookupflags, Oflags, Whence};
use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1 as _;
use wasmtime_wasi::p2::StreamError;
use wasmtime_wasi::p2::bindings::filesystem::types::{HostDescriptor as _, OpenFlags, PathFlags};
use wiggle::{GuestMemory, GuestPtr};

use super::{GuestFd, original};
use crate::files::counted::Target;
use crate::files::{Files, FilesCtxView};

/// The longest path copied from a guest; a path that is too long is refused where it is used.
const PATH_BYTES_MAX: u32 = 64 * 1024;

/// Opening a path up to this long costs less than the call itself.
const UNPAID_PATH_BYTES_MAX: usize = 256;

/// The arguments of `path_open`, in its order.
pub(super) type PathOpen = (i32, i32, i32, i32, i32, i64, i64, i32, i32);

/// One call in progress.
pub(super) struct Call<'a> {
    pub(super) wasi: &'a mut WasiP1Ctx,
    pub(super) files: &'a mut Files,
    /// The most host memory that the guest can make the call take.
    pub(super) fuel: usize,
}

impl Call<'_> {
    /// The same files as `p2` sees them.
    pub(super) fn files(&mut self) -> FilesCtxView<'_> {
        FilesCtxView {
            table: self.wasi.ctx().table,
            files: self.files,
        }
    }

    /// A descriptor that is a directory.
    pub(super) fn dir(&mut self, fd: i32) -> Result<Resource<Descriptor>, Error> {
        let known = self.known(fd).ok_or(Errno::Badf)?;
        let fd = Resource::new_borrow(known.rep);
        match self.wasi.ctx().table.get(&fd)? {
            Descriptor::Dir(_) => Ok(fd),
            Descriptor::File(_) => Err(Errno::Badf.into()),
        }
    }

    /// One that is a file, and whether it appends; `None` for a directory or a standard stream.
    pub(super) fn file(&mut self, fd: i32) -> Result<Option<(Resource<Descriptor>, bool)>, Error> {
        let Some(known) = self.known(fd) else {
            return Ok(None);
        };
        let fd = Resource::new_borrow(known.rep);
        Ok(match self.wasi.ctx().table.get(&fd)? {
            Descriptor::File(_) => Some((fd, known.append)),
            Descriptor::Dir(_) => None,
        })
    }

    fn known(&self, fd: i32) -> Option<GuestFd> {
        self.files.fds.known.get(&fd.cast_unsigned()).copied()
    }

    pub(super) async fn fd_write(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: i32,
        iovs: i32,
        count: i32,
        out: i32,
    ) -> Result<(), Error> {
        let Some((file, append)) = self.file(fd)? else {
            // It is a standard stream, or cannot be written.
            return succeeded(original::fd_write(self.wasi, memory, fd, iovs, count, out).await);
        };
        let data = first_buffer(memory, self.fuel, iovs, count)?;
        let number = Fd::from(fd.cast_unsigned());
        let target = match append {
            true => Target::End,
            false => Target::At(self.wasi.fd_tell(memory, number)?),
        };
        let file = self.files().counted(&file)?;
        let written = file.write(target, data).await.map_err(StreamError::from)?;
        let position = i64::try_from(written.end).map_err(|_| Errno::Overflow)?;
        self.wasi
            .fd_seek(memory, number, position, Whence::Set)
            .await?;
        put_u32(memory, out, written.bytes)
    }

    pub(super) async fn fd_pwrite(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: i32,
        iovs: i32,
        count: i32,
        offset: i64,
        out: i32,
    ) -> Result<(), Error> {
        let Some((file, append)) = self.file(fd)? else {
            let result = original::fd_pwrite(self.wasi, memory, fd, iovs, count, offset, out);
            return succeeded(result.await);
        };
        let data = first_buffer(memory, self.fuel, iovs, count)?;
        // As on Linux, appending ignores the offset.
        let target = match append {
            true => Target::End,
            false => Target::At(offset.cast_unsigned()),
        };
        let file = self.files().counted(&file)?;
        let written = file.write(target, data).await.map_err(StreamError::from)?;
        put_u32(memory, out, written.bytes)
    }

    pub(super) async fn path_open(
        &mut self,
        memory: &mut GuestMemory<'_>,
        args: PathOpen,
    ) -> Result<(), Error> {
        let (fd, flags, path, len, oflags, rights, inheriting, fdflags, out) = args;
        let opening = match self.known(fd) {
            Some(known) => {
                let path = string(memory, path, len)?;
                self.pay_for_walk(known, &path).await;
                let open_flags = OpenFlags::from(Oflags::from_bits_truncate(bits(oflags)));
                let dir = Resource::new_borrow(known.rep);
                let mut files = self.files();
                Some(
                    files
                        .before_open(&dir, path_flags(flags), &path, open_flags)
                        .await?,
                )
            }
            None => None,
        };
        let rep = self.next_rep()?;
        succeeded(
            original::path_open(
                self.wasi, memory, fd, flags, path, len, oflags, rights, inheriting, fdflags, out,
            )
            .await,
        )?;
        let opened = memory.read(GuestPtr::<u32>::new(out.cast_unsigned()))?;
        let Some(opening) = opening.filter(|_| self.is_new(rep)) else {
            // Without its place in the table, writes through it would not be counted.
            return Err(Error::trap(wasmtime::format_err!(
                "an opened file was not found"
            )));
        };
        self.files().after_open(opening, rep).await?;
        let append = Fdflags::from_bits_truncate(bits(fdflags)).contains(Fdflags::APPEND);
        self.files.fds.known.insert(opened, GuestFd { rep, append });
        Ok(())
    }

    /// wasmtime-wasi's call walks the path unmeasured. So a long path is walked here as well, where
    /// the walk is measured; the result does not matter.
    async fn pay_for_walk(&mut self, known: GuestFd, path: &str) {
        if path.len() > UNPAID_PATH_BYTES_MAX {
            let dir = Resource::new_borrow(known.rep);
            let _measured = self
                .files()
                .stat_at(dir, PathFlags::empty(), path.to_owned())
                .await;
        }
    }

    pub(super) async fn fd_close(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: i32,
    ) -> Result<(), Error> {
        succeeded(original::fd_close(self.wasi, memory, fd).await)?;
        self.forget(fd);
        Ok(())
    }

    pub(super) async fn fd_renumber(
        &mut self,
        memory: &mut GuestMemory<'_>,
        from: i32,
        to: i32,
    ) -> Result<(), Error> {
        succeeded(original::fd_renumber(self.wasi, memory, from, to).await)?;
        if from != to {
            self.forget(to);
            if let Some(moved) = self.files.fds.known.remove(&from.cast_unsigned()) {
                self.files.fds.known.insert(to.cast_unsigned(), moved);
            }
        }
        Ok(())
    }

    fn forget(&mut self, fd: i32) {
        if let Some(closed) = self.files.fds.known.remove(&fd.cast_unsigned()) {
            self.files.forget(closed.rep);
        }
    }

    /// The place that the table's next entry takes.
    fn next_rep(&mut self) -> Result<u32, Error> {
        struct Probe;
        let table = self.wasi.ctx().table;
        let probe = table.push(Probe)?;
        let rep = probe.rep();
        table.delete(probe)?;
        Ok(rep)
    }

    /// Whether there is a new descriptor at that place.
    fn is_new(&mut self, rep: u32) -> bool {
        let is_descriptor = self
            .wasi
            .ctx()
            .table
            .get(&Resource::<Descriptor>::new_borrow(rep))
            .is_ok();
        is_descriptor && !self.files.zones.contains_key(&rep)
    }
}

/// The return value of wasmtime-wasi's call as a result.
pub(super) fn succeeded(returned: wasmtime::Result<i32>) -> Result<(), Error> {
    match returned {
        Ok(0) => Ok(()),
        Ok(number) => Err(Errno::try_from(number)?.into()),
        Err(trap) => Err(Error::trap(trap)),
    }
}

/// A path in the guest's memory.
pub(super) fn string(memory: &GuestMemory<'_>, at: i32, len: i32) -> Result<String, Error> {
    let len = len.cast_unsigned();
    if len > PATH_BYTES_MAX {
        return Err(Errno::Nametoolong.into());
    }
    Ok(memory
        .as_cow_str(GuestPtr::<str>::new((at.cast_unsigned(), len)))?
        .into_owned())
}

pub(super) fn path_flags(flags: i32) -> PathFlags {
    Lookupflags::from_bits_truncate(flags.cast_unsigned()).into()
}

/// WASI 0.1 passes its 16-bit flags as 32-bit numbers; wasmtime-wasi refuses larger values.
fn bits(flags: i32) -> u16 {
    u16::try_from(flags & 0xffff).unwrap_or(0)
}

/// The first buffer that is not empty, as wasmtime-wasi writes it too: a write may be short.
fn first_buffer(
    memory: &GuestMemory<'_>,
    fuel: usize,
    iovs: i32,
    count: i32,
) -> Result<Bytes, Error> {
    let iovs = GuestPtr::<u32>::new(iovs.cast_unsigned());
    let count = count.cast_unsigned();
    if usize::try_from(count)?.saturating_mul(8) > fuel {
        return Err(Errno::Nomem.into());
    }
    for index in 0..count {
        let iov = iovs.add(index.checked_mul(2).ok_or(Errno::Overflow)?)?;
        let (at, len) = (memory.read(iov)?, memory.read(iov.add(1)?)?);
        if usize::try_from(len)? > fuel {
            return Err(Errno::Nomem.into());
        }
        if len > 0 {
            return Ok(memory.to_vec(GuestPtr::<[u8]>::new((at, len)))?.into());
        }
    }
    Ok(Bytes::new())
}

pub(super) fn put_u32(memory: &mut GuestMemory<'_>, at: i32, value: u64) -> Result<(), Error> {
    let value = u32::try_from(value)?;
    Ok(memory.write(GuestPtr::<u32>::new(at.cast_unsigned()), value)?)
}
