//! The running engines, each with the linkers for its modules.
//!
//! Instances come from a pool where the address space has room for one; where it has not (a
//! container with a limit, a small virtual address width) they are allocated one by one, which is
//! slower and otherwise the same.

use wasmtime::{Engine, component};

use crate::engine::{EngineShape, engine_config, pooling};
use crate::files;
use crate::interfaces::{context, http, log};
use crate::settings::SandboxConfig;
use crate::state::GuestState;
use crate::{EngineClass, SandboxError};

/// The engines of a process: all of them, or that of one class.
pub(crate) struct Engines(Vec<Linked>);

/// One engine with its linkers.
pub(crate) struct Linked {
    shape: EngineShape,
    pub(crate) engine: Engine,
    pub(crate) components: component::Linker<GuestState>,
    pub(crate) core: wasmtime::Linker<GuestState>,
}

impl Engines {
    /// Builds those of the host. The one without checks only knows the code there, so it has no pool.
    pub(crate) fn of_host(config: &SandboxConfig) -> Result<Engines, SandboxError> {
        let linked = |class: EngineClass| match class.is_checked() {
            true => Linked::pooled(class, config),
            false => {
                let shape = shape(class, config);
                Linked::new(shape, Engine::new(&engine_config(shape)))
            }
        };
        let built: Result<_, SandboxError> = EngineClass::ALL.into_iter().map(linked).collect();
        Ok(Engines(built?))
    }

    /// Builds that of a process whose runs are of one class.
    pub(crate) fn of_process(
        config: &SandboxConfig,
        class: EngineClass,
    ) -> Result<Engines, SandboxError> {
        Ok(Engines(vec![Linked::pooled(class, config)?]))
    }

    /// The engine of `class`.
    pub(crate) fn of(&self, class: EngineClass) -> &Linked {
        let found = self.0.iter().find(|linked| linked.shape.class == class);
        found.expect("a process loads modules only of the classes that it has engines for")
    }

    /// Handles of all engines.
    pub(crate) fn handles(&self) -> Vec<Engine> {
        self.0.iter().map(|linked| linked.engine.clone()).collect()
    }
}

impl Linked {
    fn pooled(class: EngineClass, config: &SandboxConfig) -> Result<Linked, SandboxError> {
        let shape = shape(class, config);
        Linked::new(shape, engine(shape, config))
    }

    fn new(shape: EngineShape, engine: wasmtime::Result<Engine>) -> Result<Linked, SandboxError> {
        engine
            .and_then(|engine| Linked::link(shape, engine))
            .map_err(|error| SandboxError::Engine(format!("{error:#}")))
    }

    fn link(shape: EngineShape, engine: Engine) -> wasmtime::Result<Linked> {
        let mut components = component::Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut components)?;
        components.allow_shadowing(true);
        files::add_to_linker_p2(&mut components)?;
        components.allow_shadowing(false);
        context::add_to_linker(&mut components, |state: &mut GuestState| &mut state.context)?;
        http::add_to_linker(&mut components)?;
        log::add_to_linker(&mut components, |state: &mut GuestState| &mut state.log)?;
        let mut core = wasmtime::Linker::new(&engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut core, |state: &mut GuestState| {
            let GuestState { files, wasi, .. } = state;
            files.installed(wasi.for_core())
        })?;
        files::add_to_linker_p1(&mut core)?;
        #[cfg(feature = "fault-injection")]
        crate::faults::add_to_linker(&mut core)?;
        Ok(Linked {
            shape,
            engine,
            components,
            core,
        })
    }

    /// A guest's stack.
    pub(crate) fn stack_bytes(&self) -> usize {
        self.shape.stack_bytes
    }

    /// An engine that accepts the same compiled code and has no pool with limits. Nothing runs on
    /// it.
    pub(crate) fn without_pool(&self) -> wasmtime::Result<Engine> {
        Engine::new(&engine_config(self.shape))
    }
}

fn shape(class: EngineClass, config: &SandboxConfig) -> EngineShape {
    EngineShape {
        class,
        stack_bytes: class.stack_bytes(config),
    }
}

fn engine(shape: EngineShape, config: &SandboxConfig) -> wasmtime::Result<Engine> {
    let mut pooled = engine_config(shape);
    let (instances, keep_resident_bytes) = shape.class.pool(config);
    pooled.allocation_strategy(pooling(instances, keep_resident_bytes));
    let class = shape.class.as_str();
    match Engine::new(&pooled) {
        Ok(engine) => {
            tracing::info!(class, instances, "instances come from a pool");
            return Ok(engine);
        }
        Err(error) => {
            tracing::warn!(
                class,
                error = format!("{error:#}"),
                "no room for an instance pool; instances are allocated one by one"
            );
        }
    }
    Engine::new(&engine_config(shape))
}
