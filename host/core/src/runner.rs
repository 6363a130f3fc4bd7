//! One run, from a request in the product's words to a report: resolve the module, check limits
//! and grants against what the operator allows, load it, and drive it on the right thread.
//!
//! `queue` runs claimed tasks through it, `http` runs modules and code at once, and the command
//! line runs files. It keeps nothing and knows no database.

pub mod admission;
mod claim;
mod code;
pub mod dirs;
mod executed;
mod progress;
pub mod session;
mod work;

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::interpreters::request::BadRequest;
use crate::interpreters::{Interpreters, Unavailable};
use crate::registry::schema::{Misfit, Text};
use crate::registry::{Registry, RegistryError};
use crate::runner::admission::Admission;
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Payload};
use cofferdam_domain::caller::{Caller, Forbidden, Scope};
use cofferdam_domain::grants::Grants;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::{AboveCeiling, LimitRequest, Limits};
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleName, ModuleRef};
use cofferdam_domain::task::BlobId;
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::processes::Figures;
use cofferdam_sandbox::threads::GuestThreadsHandle;
use cofferdam_sandbox::{
    Attachments, EngineClass, GuestInput, Identity, LoadedModule, NoRoom, Party, Patience, Report,
    Run, RunSpec, Sandbox, Stdin,
};

pub use crate::runner::claim::NotYet;
pub(crate) use crate::runner::code::unmetered;
pub use crate::runner::code::{CodeRequest, Watcher};
pub use crate::runner::executed::Executed;
pub use crate::runner::progress::ProgressListener;

/// Runs guests.
pub struct Runner {
    registry: Arc<Registry>,
    interpreters: Arc<Interpreters>,
    admission: Admission,
    sandbox: Sandbox,
    threads: GuestThreadsHandle,
    spool: Arc<dyn Spool>,
    metrics: Arc<Metrics>,
    /// One token for each run with a waiting caller; closed while the host drains.
    waited_for: TaskTracker,
}

/// Finds spooled inputs.
#[async_trait]
pub trait Spool: Send + Sync + 'static {
    /// A spooled input as a file of this host.
    async fn open(&self, blob: BlobId) -> Result<InputFile, NoInput>;
}

/// A spooled input as a file. It stays in its place until this is dropped.
pub struct InputFile {
    path: PathBuf,
    _held: Box<dyn Any + Send + Sync>,
}

impl InputFile {
    /// The file at `path`, which stays there as long as `held`.
    pub fn new(path: PathBuf, held: impl Any + Send + Sync) -> InputFile {
        InputFile {
            path,
            _held: Box::new(held),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Why a spooled input is no file of this host.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoInput {
    /// It may be later.
    #[error("the input cannot be had yet: {0}")]
    NotYet(String),
    /// It is not kept, or not as it was.
    #[error("the input cannot be read: {0}")]
    Gone(String),
}

/// A run at once.
pub struct RunRequest {
    /// The module.
    pub module: ModuleRef,
    /// What it works on.
    pub input: Payload,
    /// Arguments, for commands.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Standard input, if it is not the input's body.
    pub stdin: Option<Stdin>,
    /// The limits it asks for.
    pub limits: LimitRequest,
    /// The grants it asks for.
    pub grants: Grants,
    /// The isolation it asks for.
    pub isolation: Option<Isolation>,
    /// How it is watched and stopped.
    pub control: Control,
}

impl RunRequest {
    /// A run on an input in memory, with default limits and without an observer.
    pub fn inline(module: ModuleRef, input: Payload) -> RunRequest {
        RunRequest {
            module,
            input,
            args: Vec::new(),
            env: Vec::new(),
            stdin: None,
            limits: LimitRequest::default(),
            grants: Grants::none(),
            isolation: None,
            control: Control::default(),
        }
    }
}

/// Why there was no room for a run; it is re-exported, so that users of this module's errors need
/// not know the sandbox.
pub type RoomError = NoRoom;

/// Why a run did not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The caller has no right to run anything.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The module.
    #[error(transparent)]
    Module(#[from] RegistryError),
    /// A limit is above its ceiling.
    #[error(transparent)]
    Limit(#[from] AboveCeiling),
    /// A directory is not configured, or the requested access exceeds the configured one.
    #[error("grants.dirs: {0}")]
    Grant(String),
    /// The input does not fit the module's schema.
    #[error("the input does not fit the module's schema: {0}")]
    Schema(Misfit),
    /// An interpreter does not accept the request.
    #[error(transparent)]
    Code(#[from] BadRequest),
    /// Code of that language cannot run at the moment.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The host is draining.
    #[error("this host is shutting down")]
    Draining,
    /// The host has no room for it at the moment.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The script is invalid.
    #[error("the script is invalid: {}", .0.message)]
    Script(Failure),
}

impl Runner {
    /// A runner of `registry`'s modules in `sandbox`; `spool` has the large inputs of tasks.
    pub fn new(
        registry: Arc<Registry>,
        interpreters: Arc<Interpreters>,
        admission: Admission,
        sandbox: Sandbox,
        threads: GuestThreadsHandle,
        spool: Arc<dyn Spool>,
        metrics: Arc<Metrics>,
    ) -> Runner {
        Runner {
            registry,
            interpreters,
            admission,
            sandbox,
            threads,
            spool,
            metrics,
            waited_for: TaskTracker::new(),
        }
    }

    /// Refuses new runs, except attempts at claimed tasks.
    pub fn drain(&self) {
        self.waited_for.close();
    }

    /// Returns once all runs with a waiting caller have ended, after [`Runner::drain`].
    pub async fn drained(&self) {
        self.waited_for.wait().await;
    }

    /// Keeps the host from closing before a run with a waiting caller has ended.
    fn enter(&self) -> Result<TaskTrackerToken, RunError> {
        match self.waited_for.is_closed() {
            true => Err(RunError::Draining),
            false => Ok(self.waited_for.token()),
        }
    }

    /// Runs at once and returns the report. Dropping the future ends the run.
    pub async fn run_now(&self, caller: &Caller, request: RunRequest) -> Result<Report, RunError> {
        caller.may(Scope::Run)?;
        let (came, _entered) = (Instant::now(), self.enter()?);
        let limits = self.admission.check(&request.limits, &request.grants)?;
        let info = self.registry.resolve(&request.module).await?;
        let text = Text::Memory(request.input.body.clone());
        let content_type = &request.input.content_type;
        let checked = self.registry.check_input(&info, content_type, text);
        checked.await.map_err(RunError::Schema)?;
        if let Some(language) = info.kind.language() {
            let name = request.module.name.clone();
            let patience = self.patience(caller, came, limits.timeout, info.digest);
            let report = self
                .run_code_now(language, &info, request, limits, patience)
                .await?;
            let report = self.held_to_schema(&info, report).await;
            self.count(&name, &report);
            return Ok(report);
        }
        let module = self
            .registry
            .load(&info, EngineClass::for_limits(&limits), caller.number())
            .await?;
        let spec = RunSpec {
            program: request.module.name.as_str().to_owned(),
            input: GuestInput::Inline(request.input),
            args: request.args,
            env: request.env,
            limits,
            files: Vec::new(),
            dirs: self.admission.mounts(&request.grants)?,
            isolation: self.admission.isolation(request.isolation, info.kind),
            identity: Identity::default(),
        };
        let attachments = Attachments {
            stdin: request.stdin,
            control: request.control,
            patience: self.patience(caller, came, limits.timeout, info.digest),
        };
        let run = Run { spec, attachments };
        let report = self.drive(module, run).await?;
        let report = self.held_to_schema(&info, report).await;
        self.count(&request.module.name, &report);
        Ok(report)
    }

    /// Runs it on the right thread.
    async fn drive(&self, module: Arc<LoadedModule>, run: Run) -> Result<Report, NoRoom> {
        let usually_long = module.is_usually_long();
        let running = self.sandbox.start(module, run);
        match usually_long {
            true => self.threads.hand_over(running).await,
            false => self.threads.drive(running).await,
        }
    }

    /// How long a run with a waiting caller may wait for room: no longer than its own time limit.
    fn patience(
        &self,
        caller: &Caller,
        came: Instant,
        timeout: Duration,
        module: Digest,
    ) -> Patience {
        let begin_within = timeout.min(self.sandbox.queue_timeout());
        Patience {
            begin_by: came.checked_add(begin_within),
            end_by: came.checked_add(timeout),
            party: party(caller.number(), module),
        }
    }

    /// The same for an attempt at a task, which is given back if there is no room.
    fn patience_of_attempt(&self, module: Digest) -> Patience {
        Patience {
            begin_by: Instant::now().checked_add(self.sandbox.queue_timeout()),
            end_by: None,
            party: party(QUEUE, module),
        }
    }

    fn count(&self, module: &ModuleName, report: &Report) {
        let failure = report.outcome.failure_kind();
        self.metrics
            .run_finished(module.as_str(), failure, report.usage.duration);
    }

    /// A run whose output does not fit its module's schema has failed.
    async fn held_to_schema(&self, info: &ModuleInfo, report: Report) -> Report {
        let misfit = match &report.outcome {
            Outcome::Completed(output) => self.registry.check_output(info, output).await.err(),
            Outcome::Failed(_) => None,
        };
        let Some(misfit) = misfit else { return report };
        let why = format!("the output does not fit the module's output schema: {misfit}");
        let outcome = Outcome::Failed(Failure::new(FailureKind::GuestError, why));
        Report { outcome, ..report }
    }

    /// Checks a task's limits and grants without running it.
    pub fn check(&self, limits: &LimitRequest, grants: &Grants) -> Result<Limits, RunError> {
        self.admission.check(limits, grants)
    }

    /// The most memory that all guests together may have.
    pub fn memory_most_bytes(&self) -> u64 {
        self.sandbox.occupancy().memory_most_bytes
    }

    /// Runs that wait for room, or code for its turn.
    pub fn waiting(&self) -> u64 {
        let waiting = self.sandbox.occupancy().waiting + self.interpreters.turns().waiting();
        u64::try_from(waiting).unwrap_or(u64::MAX)
    }

    /// The processes that isolated guests run in, where there are any.
    pub fn processes(&self) -> Option<Figures> {
        self.sandbox.processes()
    }

    /// The registry it loads from.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The interpreters for code.
    pub fn interpreters(&self) -> &Arc<Interpreters> {
        &self.interpreters
    }

    /// The bounds of runs' requests.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }
}

/// Attempts at tasks wait as if one caller had sent them all: the queue decided their order.
const QUEUE: u64 = u64::MAX;

/// Runs of one caller and one module wait in one line.
fn party(caller: u64, module: Digest) -> Party {
    let [a, b, c, d, e, f, g, h, ..] = *module.as_bytes();
    let module = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    Party { caller, module }
}

/// The report of a run that did not begin.
fn not_begun(kind: FailureKind, why: String) -> Report {
    Report::not_begun(Failure::new(kind, why))
}
