//! The calls of WASI 0.1 that are counted, and their signatures. `call` has what they do.

use wasmtime::{Caller, Linker};
use wasmtime_wasi::p1::types::{Errno, Fdflags};
use wasmtime_wasi::p2::bindings::filesystem::types::HostDescriptor as _;

use super::call::{PathOpen, path_flags, string, succeeded};
use super::facts::{borrowed, new_times, put_bytes, put_filestat};
use super::{P1FilesView, enter, errno, original};

const MODULE: &str = "wasi_snapshot_preview1";

/// Defines a call as a function of the guest's memory and its files.
macro_rules! counted {
    ($linker:ident, $name:ident($($arg:ident: $ty:ty),*), $view:ident, $memory:ident, $body:expr) => {
        $linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, T>, ($($arg,)*): ($($ty,)*)| {
                Box::new(async move {
                    #[allow(unused_mut, reason = "not every call writes to the memory")]
                    let (mut $memory, mut $view) = enter(&mut caller)?;
                    errno($body.await)
                })
            },
        )?;
    };
}

pub(super) fn define<T: P1FilesView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    define_reads(linker)?;
    define_facts(linker)?;
    define_writes(linker)?;
    define_descriptors(linker)?;
    define_entries(linker)
}

/// Calls that read files and directories.
fn define_reads<T: P1FilesView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    counted!(linker, fd_read(fd: i32, iovs: i32, count: i32, out: i32), view, memory, async {
        succeeded(original::fd_read(view.wasi, &mut memory, fd, iovs, count, out).await)?;
        view.charge_read(&memory, out)
    });
    counted!(linker, fd_pread(fd: i32, iovs: i32, count: i32, offset: i64, out: i32),
    view, memory, async {
        let read = original::fd_pread(view.wasi, &mut memory, fd, iovs, count, offset, out);
        succeeded(read.await)?;
        view.charge_read(&memory, out)
    });
    counted!(linker, fd_readdir(fd: i32, buf: i32, len: i32, cookie: i64, out: i32),
        view, memory, view.fd_readdir(&mut memory, fd, (buf, len), cookie, out));
    counted!(linker,
    path_readlink(fd: i32, path: i32, len: i32, buf: i32, buf_len: i32, out: i32),
    view, memory, async {
        let (dir, path) = (view.dir(fd)?, string(&memory, path, len)?);
        let target = view.files().readlink_at(dir, path).await?;
        put_bytes(&mut memory, (buf, buf_len), target.as_bytes(), out)
    });
    // A guest cannot shut down a directory that the host opened for it.
    counted!(linker, sock_shutdown(fd: i32, how: i32), view, memory, async {
        match view.is_preopen(fd) {
            true => Err(Errno::Badf.into()),
            false => succeeded(original::sock_shutdown(view.wasi, &mut memory, fd, how)),
        }
    });
    Ok(())
}

/// Calls that read and set a file's metadata.
fn define_facts<T: P1FilesView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    counted!(linker, fd_filestat_get(fd: i32, out: i32), view, memory,
        view.fd_filestat_get(&mut memory, fd, out));
    counted!(linker, path_filestat_get(fd: i32, flags: i32, path: i32, len: i32, out: i32),
    view, memory, async {
        let (dir, path) = (view.dir(fd)?, string(&memory, path, len)?);
        let stat = view.files().stat_at(borrowed(&dir), path_flags(flags), path.clone()).await?;
        let hash = view.files().metadata_hash_at(dir, path_flags(flags), path).await?;
        put_filestat(&mut memory, out, &stat, &hash)
    });
    counted!(linker, fd_filestat_set_times(fd: i32, accessed: i64, modified: i64, flags: i32),
    view, _memory, async {
        let (accessed, modified) = new_times(accessed, modified, flags)?;
        let fd = view.file_or_dir(fd)?;
        Ok(view.files().set_times(fd, accessed, modified).await?)
    });
    counted!(linker,
    path_filestat_set_times(
        fd: i32, flags: i32, path: i32, len: i32, accessed: i64, modified: i64, set: i32
    ),
    view, memory, async {
        let (accessed, modified) = new_times(accessed, modified, set)?;
        let (dir, path) = (view.dir(fd)?, string(&memory, path, len)?);
        let flags = path_flags(flags);
        Ok(view.files().set_times_at(dir, flags, path, accessed, modified).await?)
    });
    counted!(linker, fd_sync(fd: i32), view, _memory, async {
        let (file, _) = view.file(fd)?.ok_or(Errno::Badf)?;
        Ok(view.files().sync(file).await?)
    });
    Ok(())
}

/// Calls that grow a file.
fn define_writes<T: P1FilesView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    counted!(linker, fd_write(fd: i32, iovs: i32, count: i32, out: i32), view, memory,
        view.fd_write(&mut memory, fd, iovs, count, out));
    counted!(linker, fd_pwrite(fd: i32, iovs: i32, count: i32, offset: i64, out: i32),
        view, memory, view.fd_pwrite(&mut memory, fd, iovs, count, offset, out));
    counted!(linker, fd_filestat_set_size(fd: i32, size: i64), view, _memory, async {
        let (file, _) = view.file(fd)?.ok_or(Errno::Badf)?;
        Ok(view.files().set_size(file, size.cast_unsigned()).await?)
    });
    Ok(())
}

/// Calls that make, close and move descriptors.
fn define_descriptors<T: P1FilesView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    counted!(linker, fd_close(fd: i32), view, memory, view.fd_close(&mut memory, fd));
    counted!(linker, fd_renumber(from: i32, to: i32), view, memory,
        view.fd_renumber(&mut memory, from, to));
    counted!(linker, fd_fdstat_set_flags(fd: i32, flags: i32), view, memory, async {
        succeeded(original::fd_fdstat_set_flags(view.wasi, &mut memory, fd, flags))?;
        if let Some(known) = view.files.fds.known.get_mut(&fd.cast_unsigned()) {
            known.append = flags & i32::from(Fdflags::APPEND.bits()) != 0;
        }
        Ok(())
    });
    linker.func_wrap_async(
        MODULE,
        "path_open",
        |mut caller: Caller<'_, T>, args: PathOpen| {
            Box::new(async move {
                let (mut memory, mut view) = enter(&mut caller)?;
                errno(view.path_open(&mut memory, args).await)
            })
        },
    )?;
    Ok(())
}

/// Calls that create, move and remove entries.
fn define_entries<T: P1FilesView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    counted!(linker, path_create_directory(fd: i32, path: i32, len: i32), view, memory, async {
        let (dir, path) = (view.dir(fd)?, string(&memory, path, len)?);
        Ok(view.files().create_directory_at(dir, path).await?)
    });
    counted!(linker, path_remove_directory(fd: i32, path: i32, len: i32), view, memory, async {
        let (dir, path) = (view.dir(fd)?, string(&memory, path, len)?);
        Ok(view.files().remove_directory_at(dir, path).await?)
    });
    counted!(linker, path_unlink_file(fd: i32, path: i32, len: i32), view, memory, async {
        let (dir, path) = (view.dir(fd)?, string(&memory, path, len)?);
        Ok(view.files().unlink_file_at(dir, path).await?)
    });
    counted!(linker, path_symlink(old: i32, old_len: i32, fd: i32, new: i32, new_len: i32),
    view, memory, async {
        let (dir, old) = (view.dir(fd)?, string(&memory, old, old_len)?);
        let new = string(&memory, new, new_len)?;
        Ok(view.files().symlink_at(dir, old, new).await?)
    });
    counted!(linker,
    path_rename(fd: i32, old: i32, old_len: i32, new_fd: i32, new: i32, new_len: i32),
    view, memory, async {
        let (dir, old) = (view.dir(fd)?, string(&memory, old, old_len)?);
        let (new_dir, new) = (view.dir(new_fd)?, string(&memory, new, new_len)?);
        Ok(view.files().rename_at(dir, old, new_dir, new).await?)
    });
    counted!(linker,
    path_link(
        fd: i32, flags: i32, old: i32, old_len: i32, new_fd: i32, new: i32, new_len: i32
    ),
    view, memory, async {
        let (dir, old) = (view.dir(fd)?, string(&memory, old, old_len)?);
        let (new_dir, new) = (view.dir(new_fd)?, string(&memory, new, new_len)?);
        Ok(view.files().link_at(dir, path_flags(flags), old, new_dir, new).await?)
    });
    Ok(())
}
