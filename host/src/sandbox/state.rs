//! What the host keeps for one guest: the data of its store. It lives exactly as long as the run.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtxView, WasiView};

use crate::sandbox::interfaces::wasi::Wasi;
use crate::sandbox::interfaces::{context, log};
use crate::sandbox::limiter::Limiter;
use crate::sandbox::meter::Meter;

/// The data of a guest's store.
pub(crate) struct GuestState {
    pub(crate) limiter: Limiter,
    pub(crate) context: context::Ctx,
    pub(crate) log: log::Ctx,
    pub(crate) wasi: Wasi,
    pub(crate) table: ResourceTable,
    pub(crate) meter: Arc<Meter>,
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: self.wasi.for_components(),
            table: &mut self.table,
        }
    }
}
