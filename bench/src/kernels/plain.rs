//! wasmtime itself: the engine's configuration is the host's, less epochs and fuel.

use std::time::Instant;

use anyhow::anyhow;
use wasmtime::{Config, Engine, Instance, Module, Store};

use super::work::Kernel;

/// A compiled kernel.
pub(super) struct Plain {
    engine: Engine,
    module: Module,
}

impl Plain {
    /// Compiles it.
    pub(super) fn load(kernel: &Kernel) -> anyhow::Result<Plain> {
        let wasm = wat::parse_str(&kernel.text)?;
        compiled(&wasm).map_err(|error| anyhow!("{}: {error:#}", kernel.name))
    }

    /// The milliseconds of a run in a store of its own.
    pub(super) fn run(&self) -> anyhow::Result<f64> {
        self.call().map_err(|error| anyhow!("{error:#}"))
    }

    fn call(&self) -> wasmtime::Result<f64> {
        let mut store = Store::new(&self.engine, ());
        let began = Instant::now();
        let instance = Instance::new(&mut store, &self.module, &[])?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call(&mut store, ())?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }
}

fn compiled(wasm: &[u8]) -> wasmtime::Result<Plain> {
    let mut config = Config::new();
    config
        .wasm_exceptions(true)
        .relaxed_simd_deterministic(true);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, wasm)?;
    Ok(Plain { engine, module })
}
