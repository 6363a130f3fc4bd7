//! Compiled modules, mapped into memory and linked once for all their runs.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use wasmtime::component::Component;
use wasmtime::{Engine, InstancePre, Module, ModuleExport, ResourcesRequired};
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::EngineClass;
use crate::cache::VerifiedCode;
use crate::engine::{MEMORIES_PER_SLOT, TABLES_PER_SLOT};
use crate::engines::Linked;
use crate::interfaces::handler::Handler;
use crate::state::GuestState;
use cofferdam_domain::attempt::Usage;
use cofferdam_domain::isolation::Habit;
use cofferdam_domain::module::ModuleKind;

/// A compiled module, mapped and linked, as this process runs it.
pub struct Loaded {
    kind: ModuleKind,
    class: EngineClass,
    slots: u32,
    program: Program,
    /// Whether its runs outlast an epoch tick.
    ticks: Usual,
    /// Whether they compute for long.
    computes: Usual,
}

/// Whether most of a module's last runs were so.
#[derive(Default)]
struct Usual(AtomicU8);

/// What a run instantiates.
pub(crate) enum Program {
    /// A component that exports the handler.
    Task(Handler<GuestState>),
    /// A component that exports `wasi:cli/run`.
    Command(CommandPre<GuestState>),
    /// A WASI 0.1 module and its `_start`.
    Core(InstancePre<GuestState>, ModuleExport),
}

/// Why a compiled module could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file is not code for this engine: it is from another version, damaged or missing. It can
    /// be made again from the module.
    #[error("the compiled code cannot be used: {0}")]
    Unusable(String),
    /// The module imports what no run can have.
    #[error("{0}")]
    Refused(String),
}

/// How many of the last runs count, and how many of them must be so for the next to be expected so.
const RUNS_MAX: u8 = 4;
const RUNS_EXPECTED: u8 = 2;

/// CPU time from which on a run computed for long: the way into a process and back, and memory that no guest
/// wrote to before, cost less than a hundredth of it.
const LONG: Duration = Duration::from_millis(10);

impl Usual {
    fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= RUNS_EXPECTED
    }

    /// Records a run that ended. Runs that end at the same time may overwrite each other's count: it only
    /// decides where the next one starts.
    fn learn(&self, was_so: bool) {
        let before = self.0.load(Ordering::Relaxed);
        let after = if was_so {
            before.saturating_add(1).min(RUNS_MAX)
        } else {
            before.saturating_sub(1)
        };
        if after != before {
            self.0.store(after, Ordering::Relaxed);
        }
    }
}

impl Loaded {
    /// Maps compiled code.
    pub(crate) fn map(
        linked: &Linked,
        code: &VerifiedCode,
        kind: ModuleKind,
    ) -> Result<Loaded, LoadError> {
        let class = code.class();
        let code = code.as_ref();
        let mapped = Mapped::of(&linked.engine, code, kind).map_err(|error| {
            let error = format!("{error:#}");
            // If only an engine with a pool refuses the code, the module does not fit into the
            // pool; compiling it again would not help.
            let fits_elsewhere = linked
                .without_pool()
                .and_then(|engine| Mapped::of(&engine, code, kind))
                .is_ok();
            if fits_elsewhere {
                LoadError::Refused(error)
            } else {
                LoadError::Unusable(error)
            }
        })?;
        match mapped {
            Mapped::Component(component) => Loaded::link_component(linked, &component, class, kind),
            Mapped::Module(module) => Loaded::link_core(linked, &module, class),
        }
    }

    /// Maps the code that another process of this host found to be good, with all that an instance
    /// needs of the operating system.
    pub(crate) fn map_ahead(
        linked: &Linked,
        code: &Path,
        class: EngineClass,
        kind: ModuleKind,
    ) -> wasmtime::Result<Loaded> {
        match Mapped::of(&linked.engine, code, kind)? {
            Mapped::Component(component) => {
                component.initialize_copy_on_write_image()?;
                Loaded::link_component(linked, &component, class, kind)
            }
            Mapped::Module(module) => {
                module.initialize_copy_on_write_image()?;
                Loaded::link_core(linked, &module, class)
            }
        }
        .map_err(|error| wasmtime::Error::msg(error.to_string()))
    }

    /// Links a component of the given kind.
    pub(crate) fn link_component(
        linked: &Linked,
        component: &Component,
        class: EngineClass,
        kind: ModuleKind,
    ) -> Result<Loaded, LoadError> {
        let refused = |error: wasmtime::Error| LoadError::Refused(format!("{error:#}"));
        let pre = linked
            .components
            .instantiate_pre(component)
            .map_err(refused)?;
        let program = match kind {
            ModuleKind::Task | ModuleKind::Interpreter(_) => {
                Program::Task(Handler::new(pre).map_err(refused)?)
            }
            ModuleKind::Command => Program::Command(CommandPre::new(pre).map_err(refused)?),
            ModuleKind::CoreCommand => {
                return Err(LoadError::Refused(
                    "a component is not a core module".to_owned(),
                ));
            }
            ModuleKind::Script(_) => return Err(not_compiled()),
        };
        let slots = component.resources_required().map_or(1, slots);
        Ok(Loaded::new(kind, class, slots, program))
    }

    /// Links a WASI 0.1 module.
    pub(crate) fn link_core(
        linked: &Linked,
        module: &Module,
        class: EngineClass,
    ) -> Result<Loaded, LoadError> {
        let pre = linked
            .core
            .instantiate_pre(module)
            .map_err(|error| LoadError::Refused(format!("{error:#}")))?;
        let start = module
            .get_export_index("_start")
            .ok_or_else(|| LoadError::Refused("the module exports no _start".to_owned()))?;
        let slots = slots(module.resources_required());
        Ok(Loaded::new(
            ModuleKind::CoreCommand,
            class,
            slots,
            Program::Core(pre, start),
        ))
    }

    fn new(kind: ModuleKind, class: EngineClass, slots: u32, program: Program) -> Loaded {
        Loaded {
            kind,
            class,
            slots,
            program,
            ticks: Usual::default(),
            computes: Usual::default(),
        }
    }

    /// How it is linked and called.
    pub fn kind(&self) -> ModuleKind {
        self.kind
    }

    /// The engine it was compiled for.
    pub fn class(&self) -> EngineClass {
        self.class
    }

    /// Both.
    pub(crate) fn named(&self) -> (ModuleKind, EngineClass) {
        (self.kind, self.class)
    }

    /// Whether its last runs were long, so that the next one had better start on a guest thread.
    pub fn is_usually_long(&self) -> bool {
        self.ticks.is_so()
    }

    /// What is known of its last runs, wherever they were.
    pub fn habit(&self) -> Habit {
        match self.computes.is_so() {
            true => Habit::Long,
            false => Habit::Short,
        }
    }

    /// Records what a run used that ended.
    pub fn learn_usage(&self, usage: &Usage) {
        self.computes.learn(usage.cpu >= LONG);
    }

    /// Slots of the pool that one instance takes.
    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// Records whether a run that ended in this process outlasted a tick.
    pub(crate) fn learn(&self, was_long: bool) {
        self.ticks.learn(was_long);
    }
}

/// Machine code mapped from compiled code.
enum Mapped {
    Component(Component),
    Module(Module),
}

impl Mapped {
    /// `path` is that of a [`VerifiedCode`], here or in the process that started this one.
    fn of(engine: &Engine, path: &Path, kind: ModuleKind) -> wasmtime::Result<Mapped> {
        match kind {
            ModuleKind::Task | ModuleKind::Interpreter(_) | ModuleKind::Command => {
                #[expect(unsafe_code, reason = "wasmtime cannot check machine code it maps")]
                // SAFETY: a `VerifiedCode` exists only for code that this host's compiler made and
                // whose seal was checked.
                let component = unsafe { Component::deserialize_file(engine, path) };
                component.map(Mapped::Component)
            }
            ModuleKind::CoreCommand => {
                #[expect(unsafe_code, reason = "wasmtime cannot check machine code it maps")]
                // SAFETY: as above.
                let module = unsafe { Module::deserialize_file(engine, path) };
                module.map(Mapped::Module)
            }
            ModuleKind::Script(_) => Err(wasmtime::Error::msg(SCRIPT)),
        }
    }
}

const SCRIPT: &str = "a script runs in its interpreter and has no machine code of its own";

fn not_compiled() -> LoadError {
    LoadError::Refused(SCRIPT.to_owned())
}

/// The number of slots for these memories and tables.
fn slots(required: ResourcesRequired) -> u32 {
    let memories = required.num_memories.div_ceil(MEMORIES_PER_SLOT);
    let tables = required.num_tables.div_ceil(TABLES_PER_SLOT);
    memories.max(tables).max(1)
}
