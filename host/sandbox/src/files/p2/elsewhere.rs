//! Runs calls of wasmtime-wasi that may block on a blocking thread, and charges them to the run.
//!
//! wasmtime-wasi would move each of its calls to such a thread itself, where nothing measures it; a
//! guest could spend ten times its CPU limit by looking up long paths. So a call is moved as a
//! whole, with copies of its descriptors that are allowed to block.

use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt as _;
use wasmtime_wasi::filesystem::{Descriptor, File};
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use crate::files::p2::{Fd, FilesCtxView};

/// The longest path, as on Linux.
const PATH_BYTES_MAX: usize = 4096;

/// Drives a call whose descriptors may block: it is ready at its first poll.
pub(in crate::files) fn at_once<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never()
        .expect("a call on descriptors that may block waits for nothing")
}

/// A path as an operating system takes it. wasmtime-wasi takes the empty path as the directory
/// itself.
pub(in crate::files) fn check_path(path: &str) -> FsResult<()> {
    match path.len() {
        0 => Err(ErrorCode::NoEntry.into()),
        1..=PATH_BYTES_MAX => Ok(()),
        _ => Err(ErrorCode::NameTooLong.into()),
    }
}

impl FilesCtxView<'_> {
    /// A copy of a descriptor that may block.
    pub(super) fn blocking(&self, fd: &Fd) -> FsResult<Descriptor> {
        Ok(match self.table.get(fd)? {
            Descriptor::Dir(dir) => {
                let mut copy = self.files.scratch.blocking_dir().clone();
                copy.dir = Arc::clone(&dir.dir);
                (copy.perms, copy.open_mode) = (dir.perms, dir.open_mode);
                Descriptor::Dir(copy)
            }
            Descriptor::File(file) => {
                let same = file.file.try_clone().map_err(ErrorCode::from)?;
                Descriptor::File(File::new(same, file.perms, file.open_mode, true))
            }
        })
    }
}

/// Moves a call of wasmtime-wasi to a blocking thread: `elsewhere!(self, fd; |view|
/// view.stat(fd))`.
macro_rules! elsewhere {
    ($self:ident, $($fd:ident),+; |$view:ident| $call:expr) => {{
        let meter = std::sync::Arc::clone(&$self.files.meter);
        let mut table = wasmtime::component::ResourceTable::new();
        $(let $fd = {
            let copy = $self.blocking(&$fd)?;
            table.push(copy)?
        };)+
        $crate::files::charge::charged(&meter, move || {
            let mut ctx = wasmtime_wasi::filesystem::WasiFilesystemCtx::default();
            #[allow(unused_mut, reason = "some calls take the view as it is")]
            let mut $view = wasmtime_wasi::filesystem::WasiFilesystemCtxView {
                ctx: &mut ctx,
                table: &mut table,
            };
            $crate::files::p2::elsewhere::at_once($call)
        })
        .await
    }};
}
pub(super) use elsewhere;
