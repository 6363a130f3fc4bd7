//! What the host keeps for one guest: the data of its store. It lives exactly as long as the run.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::files::{Files, FilesCtxView, FilesView, Left, P1FilesView, P1View};
use crate::interfaces::http::Http;
use crate::interfaces::wasi::Wasi;
use crate::interfaces::{context, log};
use crate::limiter::Limiter;
use crate::meter::Meter;

/// The data of a guest's store.
pub(crate) struct GuestState {
    pub(crate) limiter: Limiter,
    pub(crate) context: context::Ctx,
    pub(crate) log: log::Ctx,
    pub(crate) wasi: Wasi,
    pub(crate) http: Http,
    pub(crate) files: Files,
    pub(crate) table: ResourceTable,
    pub(crate) meter: Arc<Meter>,
}

impl GuestState {
    /// The state that each call replaces, for a guest that is called again.
    pub(crate) fn begin_call(&mut self, meter: &Arc<Meter>, deadline: Instant) {
        self.meter = Arc::clone(meter);
        self.files.charge_to(meter);
        self.limiter.begin_call();
        self.http.begin_call();
        self.context.remaining = context::Remaining::Until(deadline);
    }

    /// Sets the deadline from which a guest's remaining time is computed.
    pub(crate) fn end_by(&mut self, deadline: Instant) {
        if let context::Remaining::Until(end) = &mut self.context.remaining {
            *end = deadline;
        }
    }

    /// Takes the directory of a guest that has ended. Its descriptors close first, so that files without a
    /// name are gone before the rest is listed.
    pub(crate) async fn take_files(&mut self) -> Option<Left> {
        self.wasi.close();
        self.table = ResourceTable::new();
        self.files.take().await
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: self.wasi.for_components(),
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (ctx, hooks) = self.http.parts();
        WasiHttpCtxView {
            hooks,
            table: &mut self.table,
            ctx,
        }
    }
}

impl FilesView for GuestState {
    fn files(&mut self) -> FilesCtxView<'_> {
        FilesCtxView {
            table: &mut self.table,
            files: &mut self.files,
        }
    }
}

impl P1FilesView for GuestState {
    fn p1(&mut self) -> P1View<'_> {
        P1View {
            wasi: self.wasi.for_core(),
            files: &mut self.files,
        }
    }
}
