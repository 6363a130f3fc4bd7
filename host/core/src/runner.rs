//! One run, from a request in the product's words to a report: resolve the module, check limits
//! and grants against what the operator allows, load it, and drive it on the right thread.
//!
//! `queue` runs claimed tasks through it, `http` runs modules and code at once, and the command
//! line runs files. It keeps nothing and knows no database.

pub mod admission;
mod asked;
mod breaker;
mod claim;
mod code;
pub mod cpu;
pub mod dirs;
mod executed;
mod now;
mod place;
mod progress;
pub mod session;
mod tenants;
mod work;

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::breaker::{BreakerConfig, Held};
use crate::interpreters::request::BadRequest;
use crate::interpreters::{Interpreters, Unavailable};
use crate::registry::schema::Misfit;
use crate::registry::{Registry, RegistryError};
use crate::results::Results;
use crate::runner::admission::Admission;
use crate::runner::breaker::{Breakers, Subject};
use crate::secrets::SecretsError;
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Payload};
use cofferdam_domain::caller::quota::OverQuota;
use cofferdam_domain::caller::{Caller, Forbidden, Scope, Tenant};
use cofferdam_domain::grants::Grants;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::{AboveCeiling, LimitRequest, Limits};
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleName, ModuleRef};
use cofferdam_domain::pressure::{Pressed, Pressure};
use cofferdam_domain::task::BlobId;
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::processes::Figures;
use cofferdam_sandbox::threads::GuestThreadsHandle;
use cofferdam_sandbox::{LoadedModule, NoRoom, Party, Patience, Report, Run, Sandbox, Stdin};

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
    breakers: Breakers,
    pressure: Pressure,
    results: Arc<Results>,
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
    /// How old a result of the cache may be that it takes, if it takes any.
    pub cache_ttl: Option<Duration>,
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
            cache_ttl: None,
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
    /// A secret that its requests are to have.
    #[error("grants.http: {0}")]
    Secret(#[from] SecretsError),
    /// It has a callback that is not allowed.
    #[error("{0}")]
    Callback(String),
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
    /// The caller's tenant has used up a quota.
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    /// The host is short of memory.
    #[error(transparent)]
    Pressed(#[from] Pressed),
    /// The host has no room for it at the moment.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The module is held back.
    #[error("this module is {0}")]
    Held(#[from] Held),
    /// The script is invalid.
    #[error("the script is invalid: {}", .0.message)]
    Script(Failure),
}

/// What a runner is made of.
pub struct Parts {
    /// The modules that it runs.
    pub registry: Arc<Registry>,
    /// The interpreters of code.
    pub interpreters: Arc<Interpreters>,
    /// What runs may ask for.
    pub admission: Admission,
    /// Where they run.
    pub sandbox: Sandbox,
    /// The threads of guests.
    pub threads: GuestThreadsHandle,
    /// The large inputs of tasks.
    pub spool: Arc<dyn Spool>,
    /// What it counts in.
    pub metrics: Arc<Metrics>,
    /// When a module is held back.
    pub breaker: BreakerConfig,
    /// Whether the host takes new work.
    pub pressure: Pressure,
    /// Results of runs that are kept.
    pub results: Arc<Results>,
}

impl Runner {
    /// A runner made of these parts.
    pub fn new(parts: Parts) -> Runner {
        Runner {
            registry: parts.registry,
            interpreters: parts.interpreters,
            admission: parts.admission,
            sandbox: parts.sandbox,
            threads: parts.threads,
            spool: parts.spool,
            metrics: parts.metrics,
            breakers: Breakers::new(parts.breaker),
            pressure: parts.pressure,
            results: parts.results,
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

    /// Keeps the host from closing before a run with a waiting caller has ended. Refuses one whose tenant has
    /// used up its CPU time.
    fn enter(&self, caller: &Caller) -> Result<TaskTrackerToken, RunError> {
        self.pressure.lets_in()?;
        if self.waited_for.is_closed() {
            return Err(RunError::Draining);
        }
        self.admission.cpu().check(caller)?;
        Ok(self.waited_for.token())
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

    /// Why runs of a version by this caller, or its tenant's tasks here, are held back, if they are.
    pub fn held(&self, digest: Digest, caller: &Caller) -> Option<Held> {
        let tasks = self.tasks_held(digest, caller.tenant());
        tasks.or_else(|| self.breakers.held(&Subject::of_runs(digest, caller)))
    }

    /// Why that tenant's tasks of a version are held back here, if they are.
    pub fn tasks_held(&self, digest: Digest, tenant: &Tenant) -> Option<Held> {
        self.breakers.held(&Subject::of_tasks(digest, tenant))
    }

    /// Versions that are held back.
    pub fn held_count(&self) -> u64 {
        self.breakers.count()
    }

    /// Lets a version run again for the caller's tenant; false if nothing was held against it.
    pub fn reset(&self, caller: &Caller, digest: Digest) -> Result<bool, Forbidden> {
        caller.may(Scope::Modules)?;
        Ok(self.breakers.reset(&digest, caller.tenant()))
    }

    /// Checks a task's limits and grants without running it.
    pub fn check(
        &self,
        caller: &Caller,
        limits: &LimitRequest,
        grants: &Grants,
    ) -> Result<Limits, RunError> {
        self.admission.check(caller, limits, grants)
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

    /// Whether anybody waits for a run here, or for room for one.
    pub fn is_busy(&self) -> bool {
        !self.waited_for.is_empty() || self.waiting() > 0
    }

    /// The processes that isolated guests run in, where there are any.
    pub fn processes(&self) -> Option<Figures> {
        self.sandbox.processes()
    }

    /// Gives up what only makes runs faster: mapped modules that nothing runs, and kept results.
    pub fn shed(&self) {
        self.registry.shed();
        self.results.shed();
    }

    /// The results that are kept.
    pub fn results(&self) -> &Arc<Results> {
        &self.results
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
