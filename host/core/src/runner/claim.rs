//! One attempt at a claimed task.
//!
//! A failure before the guest begins is the attempt's outcome if it would happen again. If this
//! host only cannot do the work at the moment, the queue takes the claim back and counts nothing.

use crate::interpreters::Unavailable;
use crate::registry::RegistryError;
use crate::runner::{InputFile, NoInput, QUEUE, Runner, not_begun};
use cofferdam_domain::attempt::{FailureKind, Payload};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::module::ModuleInfo;
use cofferdam_domain::said;
use cofferdam_domain::task::Input;
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::{
    Attachments, CompileError, EngineClass, GuestInput, Identity, Mount, NoRoom, Report, Run,
    RunSpec,
};

/// This host cannot do the work yet. It may be able to later, and another host may be able to at
/// once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this host cannot do this yet: {0}")]
pub struct NotYet(String);

impl NotYet {
    /// For this reason.
    pub(crate) fn because(why: impl ToString) -> NotYet {
        NotYet(why.to_string())
    }
}

/// Why an attempt did not begin.
pub(super) enum Unbegun {
    /// It may begin later.
    NotYet(NotYet),
    /// It failed.
    Failed(FailureKind, String),
}

impl From<RegistryError> for Unbegun {
    fn from(error: RegistryError) -> Unbegun {
        match error.may_pass() {
            true => Unbegun::NotYet(NotYet::because(error)),
            false => Unbegun::Failed(FailureKind::HostError, not_loaded(&error)),
        }
    }
}

impl From<NoRoom> for Unbegun {
    fn from(no_room: NoRoom) -> Unbegun {
        Unbegun::NotYet(NotYet::because(no_room))
    }
}

impl From<Unavailable> for Unbegun {
    fn from(unavailable: Unavailable) -> Unbegun {
        match unavailable {
            Unavailable::WarmingUp(_)
            | Unavailable::NoRoom(_)
            | Unavailable::Failed { again: true, .. } => {
                Unbegun::NotYet(NotYet::because(unavailable))
            }
            Unavailable::NotInstalled { .. } | Unavailable::Failed { again: false, .. } => {
                Unbegun::Failed(FailureKind::HostError, unavailable.to_string())
            }
        }
    }
}

/// Why a module could not be loaded. Details of the host, such as paths of its files, go to its
/// log.
fn not_loaded(error: &RegistryError) -> String {
    match error {
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
    }
}

/// The input of a task cannot be had, now or later.
fn no_input(cause: &str) -> Unbegun {
    tracing::error!(cause, "the input of a task cannot be read");
    let why = "the host could not read the input; its log says why".to_owned();
    Unbegun::Failed(FailureKind::HostError, why)
}

impl Runner {
    /// Runs one attempt at a claimed task, on the thread that polls it: the queue does so on the
    /// guest threads.
    pub async fn run_claim(&self, claim: &Claim, control: Control) -> Result<Report, NotYet> {
        match self.begin_claim(claim, control).await {
            Ok(report) => Ok(report),
            Err(Unbegun::NotYet(not_yet)) => Err(not_yet),
            Err(Unbegun::Failed(kind, why)) => Ok(not_begun(kind, why)),
        }
    }

    async fn begin_claim(&self, claim: &Claim, control: Control) -> Result<Report, Unbegun> {
        let spec = &claim.spec;
        let info = self.registry.info(spec.digest).await?;
        let report = match info.kind.language() {
            Some(language) => self.run_code_claim(language, &info, claim, control).await?,
            None => self.run_module_claim(&info, claim, control).await?,
        };
        Ok(self.held_to_schema(&info, report).await)
    }

    async fn run_module_claim(
        &self,
        info: &ModuleInfo,
        claim: &Claim,
        control: Control,
    ) -> Result<Report, Unbegun> {
        let spec = &claim.spec;
        let class = EngineClass::for_limits(&spec.limits);
        let module = self.registry.load(info, class, QUEUE).await?;
        let (input, opened) = self.input_of(&spec.input).await?;
        let spec = RunSpec {
            program: spec.module.as_str().to_owned(),
            input,
            args: spec.args.clone(),
            env: spec.env.clone(),
            limits: spec.limits,
            files: Vec::new(),
            dirs: self.mounts_of(&spec.grants)?,
            isolation: self.admission.isolation(spec.isolation, info.kind),
            identity: Identity {
                task_id: claim.task_id.to_string(),
                attempt: claim.attempt,
            },
        };
        let mut attachments = Attachments::from(control);
        attachments.patience = self.patience_of_attempt(info.digest);
        let run = Run { spec, attachments };
        let report = self.sandbox.start(module, run).await?;
        // Until here the file is in its place.
        drop(opened);
        Ok(report)
    }

    /// The directories of a claimed task. They were checked when it was submitted, but the
    /// configuration may have changed since.
    pub(super) fn mounts_of(&self, grants: &Grants) -> Result<Vec<Mount>, Unbegun> {
        let mounts = self.admission.mounts(grants);
        mounts.map_err(|error| Unbegun::Failed(FailureKind::InvalidInput, error.to_string()))
    }

    /// The input, and what keeps its file in its place if it has one.
    async fn input_of(&self, input: &Input) -> Result<(GuestInput, Option<InputFile>), Unbegun> {
        let (content_type, blob) = match input {
            Input::Inline(payload) => {
                return Ok((GuestInput::Inline(Payload::clone(payload)), None));
            }
            Input::Spooled {
                content_type, blob, ..
            } => (content_type.as_str().into(), *blob),
        };
        let file = match self.spool.open(blob).await {
            Ok(file) => file,
            Err(not_yet @ NoInput::NotYet(_)) => {
                return Err(Unbegun::NotYet(NotYet::because(not_yet)));
            }
            Err(NoInput::Gone(cause)) => return Err(no_input(&cause)),
        };
        let path = file.path().to_owned();
        Ok((GuestInput::File { content_type, path }, Some(file)))
    }
}
