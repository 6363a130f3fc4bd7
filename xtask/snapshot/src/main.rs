//! `cofferdam-snapshot CORE.wasm COMPONENT.wasm`: runs a core module's `wizer-initialize`, keeps the
//! memory as it is then, and wraps the result as a component over the WASI 0.1 adapter.
//!
//! It is a separate program, so that xtask starts at once on a machine where nothing is compiled
//! yet. It snapshots modules of this repository only.

mod pages;

use anyhow::{Context, anyhow};
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER;
use wasmtime::{
    Config, Engine, Instance, Linker, Memory, Module, Store, Val, WasmParams, WasmResults,
};
use wasmtime_wasi::p1::{WasiP1Ctx, add_to_linker_sync};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};
use wit_component::ComponentEncoder;

const INITIALIZE: &str = "wizer-initialize";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(core), Some(component)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: cofferdam-snapshot CORE.wasm COMPONENT.wasm");
    };
    let wasm = std::fs::read(&core).with_context(|| core.clone())?;
    let snapshot = snapshot(&wasm).with_context(|| format!("{core} cannot be initialised"))?;
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(&snapshot)?
        .adapter("wasi_snapshot_preview1", ADAPTER)?
        .encode()
        .with_context(|| format!("{core} cannot be made a component"))?;
    std::fs::write(&component, encoded).with_context(|| component.clone())
}

fn snapshot(wasm: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut wizer = Wizer::new();
    wizer.init_func(INITIALIZE);
    let (context, instrumented) = wizer.instrument(wasm).map_err(own)?;
    let engine = engine().map_err(own)?;
    let module = Module::new(&engine, &instrumented).map_err(own)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let taken = |state: &mut State| {
        let snapshot = wizer.snapshot(&context, state);
        runtime.block_on(snapshot).map_err(own)
    };
    // Only an instance that begins as runs do shows what runs write to.
    let mut trial = State::new(&module).map_err(own)?;
    trial.call::<(), ()>(INITIALIZE, ()).map_err(own)?;
    let usual = pages::rehearsed(&engine, &taken(&mut trial)?)?;
    let mut state = State::new(&module).map_err(own)?;
    pages::gather(&usual, &mut trial, &mut state).map_err(own)?;
    state.call::<(), ()>(INITIALIZE, ()).map_err(own)?;
    let usual = pages::rehearsed(&engine, &taken(&mut state)?)?;
    pages::note(&mut state, &usual)?;
    taken(&mut state)
}

/// wasmtime's error is not a `std::error::Error`.
fn own(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:?}")
}

fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.wasm_gc(false).wasm_function_references(false);
    Engine::new(&config)
}

/// An instance. While the snapshot is taken, the names it looks up are those that wizer exported.
struct State {
    store: Store<WasiP1Ctx>,
    instance: Instance,
}

impl State {
    fn new(module: &Module) -> wasmtime::Result<State> {
        let engine = module.engine();
        let mut linker = Linker::new(engine);
        add_to_linker_sync(&mut linker, |context| context)?;
        // Only runs use the imports of the task world; the functions called here do not.
        linker.define_unknown_imports_as_traps(module)?;
        let wasi = wasmtime_wasi::WasiCtxBuilder::new()
            .inherit_stderr()
            .build_p1();
        let mut store = Store::new(engine, wasi);
        let instance = linker.instantiate(&mut store, module)?;
        Ok(State { store, instance })
    }

    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &str,
        parameters: P,
    ) -> wasmtime::Result<R> {
        self.instance
            .get_typed_func::<P, R>(&mut self.store, name)?
            .call(&mut self.store, parameters)
    }

    fn memory(&mut self, name: &str) -> Memory {
        self.instance
            .get_memory(&mut self.store, name)
            .expect("the memory is exported")
    }
}

impl InstanceState for State {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self
            .instance
            .get_global(&mut self.store, name)
            .expect("wizer exported the global");
        match global.get(&mut self.store) {
            Val::I32(value) => SnapshotVal::I32(value),
            Val::I64(value) => SnapshotVal::I64(value),
            Val::F32(value) => SnapshotVal::F32(value),
            Val::F64(value) => SnapshotVal::F64(value),
            Val::V128(value) => SnapshotVal::V128(value.as_u128()),
            other @ (Val::FuncRef(_)
            | Val::ExternRef(_)
            | Val::AnyRef(_)
            | Val::ExnRef(_)
            | Val::ContRef(_)) => {
                unreachable!("wizer refuses modules with a global such as {other:?}")
            }
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        contents(self.memory(name).data(&self.store));
    }
}
