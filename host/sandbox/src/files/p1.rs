//! WASI 0.1: the calls of `wasi_snapshot_preview1` that touch directories or grow files.
//!
//! wasmtime-wasi implements WASI 0.1 over its own 0.2 objects in a resource table; only the map
//! from a guest's descriptor numbers to that table is hidden. This module keeps a second copy of
//! it, so that every counted call uses the same code as `p2`. The rest of WASI 0.1 is
//! wasmtime-wasi's, unchanged. `wasi_unstable`, its predecessor, is not linked at all.

mod call;
mod calls;
mod facts;

use std::collections::HashMap;

use wasmtime::component::Resource;
use wasmtime::{AsContextMut as _, Caller, Extern, Linker};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p1::types::{Errno, Error};
use wasmtime_wasi::p1::wasi_snapshot_preview1 as original;
use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1 as _;
use wiggle::GuestMemory;

use crate::files::Files;
use crate::files::p1::call::Call;

/// A run's files with wasmtime-wasi's state of WASI 0.1.
pub(crate) struct P1View<'a> {
    /// wasmtime-wasi's state.
    pub(crate) wasi: &'a mut WasiP1Ctx,
    /// The run's files.
    pub(crate) files: &'a mut Files,
}

/// Access to the files in the data of a core module's store.
pub(crate) trait P1FilesView: Send {
    /// The files and the WASI state.
    fn p1(&mut self) -> P1View<'_>;
}

/// A guest's descriptor numbers. Those of the standard streams are not among them.
#[derive(Debug, Default)]
pub(super) struct GuestFds {
    installed: bool,
    known: HashMap<u32, GuestFd>,
}

#[derive(Clone, Copy, Debug)]
struct GuestFd {
    /// Its place in the resource table.
    rep: u32,
    /// Whether every write goes to the end.
    append: bool,
}

/// The number of the first preopen: after standard input, output and error.
const FIRST_PREOPEN: u32 = 3;

impl Files {
    /// Gives a core module's WASI state its directories, the first time. It is called wherever the
    /// state is handed out, because wasmtime-wasi looks for preopens at the first call on any
    /// descriptor; the state must have been built without preopens.
    pub(crate) fn installed<'a>(&mut self, wasi: &'a mut WasiP1Ctx) -> &'a mut WasiP1Ctx {
        if !self.fds.installed {
            self.fds.installed = true;
            if let Err(error) = self.install(wasi) {
                tracing::error!(%error, "a guest runs without its directories");
            }
        }
        wasi
    }

    fn install(&mut self, wasi: &mut WasiP1Ctx) -> wasmtime::Result<()> {
        let count = self.preopen_count();
        let granted = (0..self.plan.mounts.len())
            .filter_map(|number| self.preopen(number))
            .map(|(at, perms, _)| (at.to_owned(), perms))
            .collect::<Vec<_>>();
        *wasi.ctx().ctx.filesystem() = self.scratch.placeholder_ctx(&granted)?;
        // Any call on a descriptor makes wasmtime-wasi put the preopens into its table.
        let _no_preopen = wasi.fd_prestat_get(&mut GuestMemory::Unshared(&mut []), 0.into());
        let mut number = 0;
        // The streams come before them; every place is looked at until all are found.
        for rep in 0..PREOPEN_REP_MAX {
            let key = Resource::<Descriptor>::new_borrow(rep);
            if let Ok(Descriptor::Dir(_)) = wasi.ctx().table.get(&key)
                && let Some((_, _, zone)) = self.preopen(number)
            {
                self.adopt_preopen(rep, number, zone, false);
                let fd = FIRST_PREOPEN + u32::try_from(number)?;
                self.fds.known.insert(fd, GuestFd { rep, append: false });
                number += 1;
            }
        }
        if number == count {
            Ok(())
        } else {
            let found = "preopened directories were found";
            Err(wasmtime::format_err!("{number} of {count} {found}"))
        }
    }
}

/// More places than the standard streams and all preopens can take.
const PREOPEN_REP_MAX: u32 = 64;

/// Replaces calls of wasmtime-wasi's, which must already be in the linker, by the counted ones.
pub(crate) fn add_to_linker_p1<T: P1FilesView + 'static>(
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    calls::define(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Finds a guest's memory and its files, as at the start of every call.
fn enter<'a, T: P1FilesView>(
    caller: &'a mut Caller<'_, T>,
) -> wasmtime::Result<(GuestMemory<'a>, Call<'a>)> {
    let fuel = caller.as_context_mut().hostcall_fuel();
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        wasmtime::bail!("missing required memory export");
    };
    let (bytes, data) = memory.data_and_store_mut(caller);
    let P1View { wasi, files } = data.p1();
    let wasi = files.installed(wasi);
    wasi.set_hostcall_fuel(fuel);
    Ok((GuestMemory::Unshared(bytes), Call { wasi, files, fuel }))
}

/// The return value of a call: 0, or the error's number; a trap ends the guest.
fn errno(result: Result<(), Error>) -> wasmtime::Result<i32> {
    let errno = match result {
        Ok(()) => Errno::Success,
        Err(error) => error.downcast()?,
    };
    Ok(i32::from(u16::from(errno)))
}
