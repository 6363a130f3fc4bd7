//! The sandbox: what surrounds one run of a guest, and the compiler in front of it.
//!
//! `compile` checks and compiles a module in a child process; `load` maps the compiled code;
//! `start` gives a run: a fresh store with every limit armed, driven by polling it like any
//! future. No wasmtime type appears in a signature here, and this crate does not know tasks, queues
//! or databases.

mod admission;
pub mod cache;
mod clocks;
pub mod compile;
pub mod confinement;
pub mod control;
pub mod egress;
mod engine;
mod engines;
mod epoch;
#[cfg(feature = "fault-injection")]
mod faults;
pub mod files;
mod guard;
mod instance;
mod interfaces;
mod kept;
mod limiter;
mod load;
mod local;
pub mod memory;
mod meter;
mod module;
mod outcome;
pub mod processes;
mod randomness;
mod run;
mod seccomp;
pub mod session;
pub mod settings;
mod state;
mod streams;
mod surroundings;
#[cfg(test)]
mod tests;
pub mod threads;
mod witness;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncRead;

use crate::admission::Admission;
use crate::cache::VerifiedCode;
use crate::control::Control;
use crate::egress::{Egress, Outward};
use crate::engines::Engines;
use crate::epoch::Ticker;
use crate::files::{InputFile, Scratch};
use crate::meter::Meter;
use crate::processes::Processes;
use crate::settings::{GuestProgram, OverQuota, SandboxConfig};
use crate::threads::Sliced;
use cofferdam_domain::attempt::{Failure, Outcome, Payload, Streams, Usage};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::grants::Access;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::memory::{Budget, Purpose};
use cofferdam_domain::module::{Descriptor, ModuleKind};

pub use crate::admission::{NoRoom, Occupancy, Party, Patience, Places, Taken};
pub use crate::files::OutputFiles;
pub use crate::load::{LoadError, Loaded};
pub use crate::module::LoadedModule;

/// Which engine a module is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineClass {
    /// Epoch interruption only.
    Fast,
    /// Epochs and fuel, NaN canonicalisation, a fixed clock and seeded randomness: the same input
    /// gives the same output and the same fuel.
    Metered,
    /// Like fast, with a larger stack and its own pool, for the host's interpreters.
    Interpreter,
    /// Like fast, without checks in its loops: nothing but the end of its process stops it. Only
    /// guests that have a process for themselves run on it.
    Unchecked,
}

impl EngineClass {
    /// Every class.
    pub const ALL: [EngineClass; EngineClass::COUNT] = [
        EngineClass::Fast,
        EngineClass::Metered,
        EngineClass::Interpreter,
        EngineClass::Unchecked,
    ];

    /// How many there are.
    pub(crate) const COUNT: usize = 4;

    /// The class that a run of an uploaded module under `limits` needs. One that counts fuel cannot do
    /// without checks.
    pub fn of_run(limits: &Limits, isolation: Isolation) -> EngineClass {
        match (limits.fuel, isolation) {
            (Some(_), _) => EngineClass::Metered,
            (None, Isolation::Shared | Isolation::Process) => EngineClass::Fast,
            (None, Isolation::Dedicated) => EngineClass::Unchecked,
        }
    }

    /// Whether a guest on an engine of this class yields its thread whatever it computes.
    pub(crate) const fn is_checked(self) -> bool {
        match self {
            EngineClass::Fast | EngineClass::Metered | EngineClass::Interpreter => true,
            EngineClass::Unchecked => false,
        }
    }

    /// A guest's stack on an engine of this class.
    pub(crate) fn stack_bytes(self, config: &SandboxConfig) -> usize {
        match self {
            EngineClass::Fast | EngineClass::Metered | EngineClass::Unchecked => config.stack_bytes,
            EngineClass::Interpreter => config.interpreters.stack_bytes,
        }
    }

    /// How many instances the pool of this class has, and the bytes of a slot that stay resident.
    pub(crate) fn pool(self, config: &SandboxConfig) -> (u32, usize) {
        match self {
            EngineClass::Fast | EngineClass::Metered | EngineClass::Unchecked => {
                (config.instances_max, config.keep_resident_bytes)
            }
            EngineClass::Interpreter => (
                config.interpreters.instances(),
                config.interpreters.keep_resident_bytes,
            ),
        }
    }

    /// The word in file names and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            EngineClass::Fast => "fast",
            EngineClass::Metered => "metered",
            EngineClass::Interpreter => "interpreter",
            EngineClass::Unchecked => "unchecked",
        }
    }
}

/// Everything one run is given.
pub struct Run {
    /// What it is.
    pub spec: RunSpec,
    /// Its live handles.
    pub attachments: Attachments,
}

/// A run as plain data: it can be kept, sent to another process, and done again.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// The guest's own name: its first argument.
    pub program: String,
    /// What the guest works on. A command reads the body as its standard input unless `stdin`
    /// says otherwise.
    pub input: GuestInput,
    /// Arguments after the program's name.
    pub args: Vec<String>,
    /// Environment variables; the host's own are not added.
    pub env: Vec<(String, String)>,
    /// Its limits.
    pub limits: Limits,
    /// Files put into its directories before it starts.
    pub files: Vec<InputFile>,
    /// Granted directories of the host.
    pub dirs: Vec<Mount>,
    /// Where it may send requests to.
    pub outward: Outward,
    /// What surrounds it besides this sandbox.
    pub isolation: Isolation,
    /// Its identity.
    pub identity: Identity,
}

/// The live handles of one run, which end with it.
#[derive(Default)]
pub struct Attachments {
    /// Standard input, where it is not the input's body.
    pub stdin: Option<Stdin>,
    /// How it is watched and stopped.
    pub control: Control,
    /// How long it waits for room.
    pub patience: Patience,
    /// Where its requests go instead of out of this process.
    pub way: WayOut,
}

/// A way out of this process that is not its own. Only the sandbox makes one.
#[derive(Clone, Default)]
pub struct WayOut(pub(crate) Option<Arc<dyn interfaces::http::Way>>);

impl From<Control> for Attachments {
    fn from(control: Control) -> Attachments {
        Attachments {
            control,
            ..Attachments::default()
        }
    }
}

/// A run's input.
#[derive(Clone, Debug)]
pub enum GuestInput {
    /// In memory.
    Inline(Payload),
    /// A file that appears as `/in/payload`; the inline body is empty. A command reads it as its
    /// standard input as well.
    File {
        /// Its media type.
        content_type: Arc<str>,
        /// Where it is on the host.
        path: PathBuf,
    },
}

/// Where a guest's standard input comes from.
pub enum Stdin {
    /// These bytes, then the end.
    Bytes(Bytes),
    /// A live stream; reading from it waits.
    Stream(Box<dyn AsyncRead + Send + Sync + Unpin>),
}

/// A host directory as one run sees it.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it is on the host.
    pub path: PathBuf,
    /// Where the guest sees it.
    pub at: String,
    /// What the guest may do there.
    pub access: Access,
}

/// A run's identity, which the guest can ask for.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The task's id as text; empty for a run that is not a task.
    pub task_id: String,
    /// The attempt's number, from 1.
    pub attempt: u32,
}

/// The number for a run that is not a task.
impl Default for Identity {
    fn default() -> Identity {
        Identity {
            task_id: String::new(),
            attempt: 1,
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// Its result or failure.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What it wrote.
    pub streams: Streams,
    /// The files it left under `/out` (and for code execution in `/work`).
    pub files: Option<OutputFiles>,
    /// What surrounded it; none if it never began.
    pub isolation: Option<Isolation>,
}

/// The sandbox. Cheap to clone; all clones share the engines and the pool.
#[derive(Clone)]
pub struct Sandbox {
    shared: Arc<Shared>,
}

/// The path of the guests' directories, under the data directory.
const SCRATCH_DIR: &str = "scratch";

/// The state that all runs share: it never contains anything of a guest.
struct Shared {
    ticker: Ticker,
    engines: Engines,
    admission: Admission,
    clock: Clock,
    scratch: Scratch,
    over_quota: OverQuota,
    queue_timeout: Duration,
    /// Where guests' requests go, unless this is a process that has no network.
    egress: Option<Egress>,
    /// Those that guests run in, where there are any.
    processes: Option<Processes>,
}

/// A run in progress: poll it like any future to drive the guest; dropping it ends the guest.
pub struct Running {
    work: Pin<Box<dyn Future<Output = Result<Report, NoRoom>> + Send>>,
    meter: Arc<Meter>,
}

/// Why the sandbox could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// wasmtime refused the configuration.
    #[error("the engine could not be built: {0}")]
    Engine(String),
    /// A thread or a directory could not be made.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Sandbox {
    /// Builds the engines and starts the epoch thread. Guests take their memory from `memory`. Their
    /// directories are under `data`, where `incarnation` distinguishes this process from every other
    /// that uses it. Runs that are to be isolated are so in processes of `program`; without it they are
    /// not.
    pub fn new(
        config: &SandboxConfig,
        memory: Budget,
        data: &Path,
        incarnation: u64,
        clock: Clock,
        program: Option<GuestProgram>,
    ) -> Result<Sandbox, SandboxError> {
        let engines = Engines::of_host(config)?;
        let scratch = Scratch::open(&data.join(SCRATCH_DIR), incarnation)?;
        let ticker = Ticker::start(engines.handles())?;
        let guests_bytes = memory.most_bytes(Purpose::Guests);
        let egress = Egress::new(config.egress.clone());
        let processes = program.map(|program| {
            Processes::new(
                program,
                config,
                scratch.clone(),
                guests_bytes,
                clock.clone(),
                egress.clone(),
            )
        });
        let admission = Admission::new(
            [
                config.instances_max,
                config.interpreters.instances(),
                config.dedicated_max(),
            ],
            memory,
            config.memory_price_bytes,
        );
        let shared = Shared {
            ticker,
            engines,
            admission,
            clock,
            scratch,
            over_quota: config.over_quota,
            queue_timeout: config.queue_timeout,
            egress: Some(egress),
            processes,
        };
        Ok(Sandbox {
            shared: Arc::new(shared),
        })
    }

    /// Maps compiled code and links it.
    pub fn load(
        &self,
        code: &VerifiedCode,
        kind: ModuleKind,
    ) -> Result<Arc<LoadedModule>, LoadError> {
        let linked = self.shared.engines.of(code.class());
        let loaded = Arc::new(Loaded::map(linked, code, kind)?);
        let pool = match &self.shared.processes {
            Some(processes) => processes.of_module(code, kind),
            None => Ok(None),
        };
        let pool = pool.map_err(|error| LoadError::Unusable(error.to_string()))?;
        Ok(Arc::new(LoadedModule { loaded, pool }))
    }

    /// A run of `module`. It starts when it is polled. It waits for room for as long as its
    /// patience lasts.
    pub fn start(&self, module: Arc<LoadedModule>, run: Run) -> Running {
        let meter = Arc::new(Meter::new(run.spec.limits.cpu));
        let work = run::execute(Arc::clone(&self.shared), module, run, Arc::clone(&meter));
        Running {
            work: Box::pin(work),
            meter,
        }
    }

    /// A task module's description of itself, asked for under `limits`; `None` for a command.
    pub async fn describe(
        &self,
        module: &LoadedModule,
        limits: &Limits,
        isolation: Isolation,
    ) -> Result<Option<Descriptor>, Undescribed> {
        run::describe(&self.shared, module, limits, isolation).await
    }

    /// How long a run waits for room if its caller sets no time.
    pub fn queue_timeout(&self) -> Duration {
        self.shared.queue_timeout
    }

    /// Ends the processes of guests and removes what ended runs left on disk, for at most `grace`; the next start removes the rest.
    /// Blocks.
    pub fn close(&self, grace: Duration) {
        if let Some(processes) = &self.shared.processes {
            processes.close();
        }
        self.shared.scratch.close(grace);
    }

    /// The processes that guests run in, where there are any.
    pub fn processes(&self) -> Option<processes::Figures> {
        self.shared.processes.as_ref().map(Processes::figures)
    }

    /// The way out to other machines, for guests and for the host's own calls.
    pub fn egress(&self) -> Option<&Egress> {
        self.shared.egress.as_ref()
    }

    /// How much of the pool and of the memory budget guests use.
    pub fn occupancy(&self) -> Occupancy {
        self.shared.admission.occupancy()
    }
}

impl Future for Running {
    type Output = Result<Report, NoRoom>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.work.as_mut().poll(context)
    }
}

impl Sliced for Running {
    fn is_long(&self) -> bool {
        self.meter.is_long()
    }
}

/// Why a module did not describe itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undescribed {
    /// It failed.
    Failed(Failure),
    /// It was not asked.
    NoRoom(NoRoom),
}

/// Why a module was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It is not a module, is of none of the three kinds, or imports what no grant can give.
    #[error("{0}")]
    Refused(String),
    /// Compiling it takes more time or memory than a module may.
    #[error("{0}")]
    Limit(String),
    /// The compiler itself failed.
    #[error("the compiler failed: {0}")]
    Host(String),
    /// The disk has no room for the code.
    #[error("there is no room for the compiled module: {0}")]
    Full(String),
    /// Too many modules already wait for the compiler.
    #[error("too many modules already wait for the compiler; try again later")]
    Busy,
}
