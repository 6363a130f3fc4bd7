//! One run, from a request in the product's words to a report: resolve the module, check limits
//! and grants against what the operator allows, load it, and drive it on the right thread.
//!
//! `queue` runs claimed tasks through it, `http` runs what is wanted at once, and the command line
//! runs files. It keeps nothing and knows no database.

pub mod admission;
mod code;
pub mod dirs;
mod progress;
pub mod session;

use std::path::PathBuf;
use std::sync::Arc;

use crate::interpreters::request::BadRequest;
use crate::interpreters::{Interpreters, Unavailable};
use crate::registry::schema::Misfit;
use crate::registry::{Registry, RegistryError};
use crate::runner::admission::Admission;
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Payload};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::limits::{AboveCeiling, LimitRequest, Limits};
use cofferdam_domain::module::{ModuleInfo, ModuleName, ModuleRef};
use cofferdam_domain::said;
use cofferdam_domain::task::{BlobId, Input};
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::threads::GuestThreadsHandle;
use cofferdam_sandbox::{
    Attachments, CompileError, EngineClass, GuestInput, Identity, Report, Run, RunSpec, Sandbox,
    Stdin,
};

pub(crate) use crate::runner::code::unmetered;
pub use crate::runner::code::{CodeRequest, Executed, Watcher};
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
}

/// Where spooled inputs are.
pub trait Spool: Send + Sync + 'static {
    /// The file of a spooled input.
    fn path(&self, blob: BlobId) -> PathBuf;
}

/// A run that is wanted at once.
pub struct RunRequest {
    /// What to run.
    pub module: ModuleRef,
    /// What it works on.
    pub input: GuestInput,
    /// Arguments, for commands.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Standard input, where it is not the input's body.
    pub stdin: Option<Stdin>,
    /// What it asks to use.
    pub limits: LimitRequest,
    /// What it asks to touch.
    pub grants: Grants,
    /// How it is watched and stopped.
    pub control: Control,
}

impl RunRequest {
    /// A run on an input in memory, with default limits, nobody watching, and nothing else.
    pub fn inline(module: ModuleRef, input: Payload) -> RunRequest {
        RunRequest {
            module,
            input: GuestInput::Inline(input),
            args: Vec::new(),
            env: Vec::new(),
            stdin: None,
            limits: LimitRequest::default(),
            grants: Grants::none(),
            control: Control::default(),
        }
    }
}

/// Why a run did not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The module.
    #[error(transparent)]
    Module(#[from] RegistryError),
    /// A limit above its ceiling.
    #[error(transparent)]
    Limit(#[from] AboveCeiling),
    /// A directory that is not configured, or more access than it has.
    #[error("grants.dirs: {0}")]
    Grant(String),
    /// The input does not fit the module's schema.
    #[error("the input does not fit the module's schema: {0}")]
    Schema(Misfit),
    /// An interpreter does not take such a request.
    #[error(transparent)]
    Code(#[from] BadRequest),
    /// No code of that language can be run now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The script is not sound.
    #[error("the script is not sound: {}", .0.message)]
    Script(Failure),
}

impl Runner {
    /// A runner of `registry`'s modules in `sandbox`; `spool` has the inputs of
    /// tasks that are too large for memory.
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
        }
    }

    /// Runs at once and gives the report. Dropping the future ends the run.
    pub async fn run_now(&self, request: RunRequest) -> Result<Report, RunError> {
        let limits = self.admission.check(&request.limits, &request.grants)?;
        let info = self.registry.resolve(&request.module).await?;
        let input = match &request.input {
            GuestInput::Inline(payload) => Some(payload),
            GuestInput::File { .. } => None,
        };
        let checked = self.registry.check_input(&info, input).await;
        checked.map_err(RunError::Schema)?;
        if let Some(language) = info.kind.language() {
            let name = request.module.name.clone();
            let report = self.run_code_now(language, &info, request, limits).await?;
            let report = self.held_to_schema(&info, report).await;
            self.count(&name, &report);
            return Ok(report);
        }
        let module = self
            .registry
            .load(&info, EngineClass::for_limits(&limits))
            .await?;
        let usually_long = module.is_usually_long();
        let spec = RunSpec {
            program: request.module.name.as_str().to_owned(),
            input: request.input,
            args: request.args,
            env: request.env,
            limits,
            files: Vec::new(),
            dirs: self.admission.mounts(&request.grants)?,
            identity: Identity::default(),
        };
        let attachments = Attachments {
            stdin: request.stdin,
            control: request.control,
        };
        let run = Run { spec, attachments };
        let running = self.sandbox.start(module, run);
        let report = if usually_long {
            self.threads.hand_over(running).await
        } else {
            self.threads.drive(running).await
        };
        let report = self.held_to_schema(&info, report).await;
        self.count(&request.module.name, &report);
        Ok(report)
    }

    fn count(&self, module: &ModuleName, report: &Report) {
        let failure = report.outcome.failure_kind();
        self.metrics
            .run_finished(module.as_str(), failure, report.usage.duration);
    }

    /// Runs one attempt at a claimed task, on the thread that polls it: the queue does so on the
    /// guest threads. What fails before the guest begins is an outcome too.
    pub async fn run_claim(&self, claim: &Claim, control: Control) -> Report {
        let spec = &claim.spec;
        let class = EngineClass::for_limits(&spec.limits);
        let info = match self.registry.info(spec.digest).await {
            Ok(info) => info,
            Err(error) => return not_loaded(&error),
        };
        if let Some(language) = info.kind.language() {
            let report = self.run_code_claim(language, &info, claim, control).await;
            return self.held_to_schema(&info, report).await;
        }
        let module = match self.registry.load(&info, class).await {
            Ok(module) => module,
            Err(error) => return not_loaded(&error),
        };
        // Checked when the task was submitted; the operator may have changed his mind since.
        let dirs = match self.admission.mounts(&spec.grants) {
            Ok(dirs) => dirs,
            Err(error) => return not_begun(FailureKind::InvalidInput, error.to_string()),
        };
        let spec = RunSpec {
            program: spec.module.as_str().to_owned(),
            input: self.input_of(&spec.input),
            args: spec.args.clone(),
            env: spec.env.clone(),
            limits: spec.limits,
            files: Vec::new(),
            dirs,
            identity: Identity {
                task_id: claim.task_id.to_string(),
                attempt: claim.attempt,
            },
        };
        let attachments = control.into();
        let run = Run { spec, attachments };
        let report = self.sandbox.start(module, run).await;
        self.held_to_schema(&info, report).await
    }

    /// A run that gave something else than its module promised has failed.
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

    /// Checks what a task asks for without running it.
    pub fn check(&self, limits: &LimitRequest, grants: &Grants) -> Result<Limits, RunError> {
        self.admission.check(limits, grants)
    }

    /// The sum of the memory limits of all guests that may exist at once.
    pub fn memory_budget_bytes(&self) -> u64 {
        self.sandbox.occupancy().memory_budget_bytes
    }

    /// The registry it loads from.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The interpreters it runs code by.
    pub fn interpreters(&self) -> &Arc<Interpreters> {
        &self.interpreters
    }

    /// What it lets runs ask for.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    fn input_of(&self, input: &Input) -> GuestInput {
        match input {
            Input::Inline(payload) => GuestInput::Inline(Payload::clone(payload)),
            Input::Spooled {
                content_type,
                blob,
                size_bytes: _,
            } => GuestInput::File {
                content_type: content_type.as_str().into(),
                path: self.spool.path(*blob),
            },
        }
    }
}

/// The report of a run whose module could not be loaded. What the host says to itself, as the paths
/// of its files, is for its log.
fn not_loaded(error: &RegistryError) -> Report {
    let why = match error {
        RegistryError::Compile(CompileError::Host(_) | CompileError::Full(_))
        | RegistryError::Storage(_) => {
            tracing::error!(
                cause = said::for_log(&error.to_string()),
                "a module cannot be loaded"
            );
            "the host could not load the module; its log says why".to_owned()
        }
        RegistryError::Unknown(_)
        | RegistryError::Gone(_)
        | RegistryError::Reserved(_)
        | RegistryError::Forbidden(_)
        | RegistryError::Compile(
            CompileError::Refused(_) | CompileError::Limit(_) | CompileError::Busy,
        ) => error.to_string(),
    };
    not_begun(FailureKind::HostError, why)
}

/// The report of a run that did not begin.
fn not_begun(kind: FailureKind, why: String) -> Report {
    Report::not_begun(Failure::new(kind, why))
}
