//! The WASI part of a guest's surroundings: arguments, environment, standard streams, clocks and
//! randomness. Files are granted elsewhere, and there is no network.
//!
//! The context is built when the guest first calls into WASI. Many task modules never do, and
//! seeding its random generators alone would cost a fifth of a fresh sandbox.

use std::time::Instant;

use bytes::Bytes;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::EngineClass;
use crate::clocks::{CoarseMonotonic, CoarseWall, CountingMonotonic, FixedWall};
use crate::randomness::{INSECURE_SEED, Seeded};
use crate::streams::{CallInput, LiveInput, Output};
use cofferdam_domain::clock::Clock;

/// What a context is built from.
pub(crate) struct Setup {
    /// The program's name and its arguments.
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) class: EngineClass,
    pub(crate) clock: Clock,
    pub(crate) started: Instant,
    pub(crate) random_bytes: u64,
    pub(crate) resources: u32,
}

/// A guest's standard input.
#[derive(Default)]
pub(crate) enum Input {
    /// Nothing.
    #[default]
    Closed,
    /// These bytes.
    Bytes(Bytes),
    /// A live stream.
    Live(LiveInput),
    /// The input of each call in turn.
    Calls(CallInput),
}

/// A context that is built when it is first needed, for both WASI versions.
pub(crate) struct Wasi {
    setup: Setup,
    components: Option<WasiCtx>,
    core: Option<WasiP1Ctx>,
}

impl Wasi {
    /// Nothing is built yet.
    pub(crate) fn new(setup: Setup) -> Wasi {
        Wasi {
            setup,
            components: None,
            core: None,
        }
    }

    /// Sets another standard input for a guest that has not started.
    pub(crate) fn read_from(&mut self, input: Input) {
        self.setup.stdin = input;
    }

    /// The context of a component.
    pub(crate) fn for_components(&mut self) -> &mut WasiCtx {
        let Wasi {
            setup, components, ..
        } = self;
        components.get_or_insert_with(|| setup.builder().build())
    }

    /// The context of a WASI 0.1 module.
    pub(crate) fn for_core(&mut self) -> &mut WasiP1Ctx {
        let Wasi { setup, core, .. } = self;
        core.get_or_insert_with(|| {
            let mut context = setup.builder().build_p1();
            wasmtime_wasi::WasiView::ctx(&mut context)
                .table
                .set_max_capacity(setup.resources as usize);
            context
        })
    }

    /// Closes what the guest has open.
    pub(crate) fn close(&mut self) {
        (self.components, self.core) = (None, None);
    }

    /// When the run began.
    pub(crate) fn started(&self) -> Instant {
        self.setup.started
    }

    /// Standard output and standard error.
    pub(crate) fn outputs(&self) -> (&Output, &Output) {
        (&self.setup.stdout, &self.setup.stderr)
    }
}

impl Setup {
    fn builder(&mut self) -> WasiCtxBuilder {
        let mut builder = WasiCtxBuilder::new();
        builder
            .args(&self.args)
            .envs(&self.env)
            .stdout(self.stdout.clone())
            .stderr(self.stderr.clone())
            .max_random_size(self.random_bytes)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .allow_blocking_current_thread(false);
        match std::mem::take(&mut self.stdin) {
            Input::Closed => {}
            Input::Bytes(bytes) => {
                builder.stdin(MemoryInputPipe::new(bytes));
            }
            Input::Live(live) => {
                builder.stdin(live);
            }
            Input::Calls(calls) => {
                builder.stdin(calls);
            }
        }
        match self.class {
            EngineClass::Fast | EngineClass::Interpreter | EngineClass::Unchecked => {
                builder
                    .wall_clock(CoarseWall(self.clock.clone()))
                    .monotonic_clock(CoarseMonotonic(self.started));
            }
            EngineClass::Metered => {
                builder
                    .wall_clock(FixedWall)
                    .monotonic_clock(CountingMonotonic::default())
                    .secure_random(Seeded::new("secure"))
                    .insecure_random(Seeded::new("insecure"))
                    .insecure_random_seed(INSECURE_SEED);
            }
        }
        builder
    }
}
