//! One attempt at a claimed task.
//!
//! A failure before the guest begins is the attempt's outcome if it would happen again. If this
//! host only cannot do the work at the moment, the queue takes the claim back and counts nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::breaker::Held;
use crate::interpreters::Unavailable;
use crate::nodes::Given;
use crate::registry::RegistryError;
use crate::registry::schema::{Misfit, Text};
use crate::runner::{InputFile, NoInput, QUEUE, RunError, Runner, not_begun};
use crate::secrets::SecretsError;
use cofferdam_domain::attempt::{FailureKind, Payload};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::module::ModuleInfo;
use cofferdam_domain::said;
use cofferdam_domain::task::Input;
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::egress::Outward;
use cofferdam_sandbox::files as sandbox_files;
use cofferdam_sandbox::{
    Attachments, CompileError, GuestInput, Identity, Mount, NoRoom, Report, Run, RunSpec,
};

/// This host cannot do the work yet. It may be able to later, and another host may be able to at
/// once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this host cannot do this yet: {why}")]
pub struct NotYet {
    why: String,
    /// How long it will not be able to, where that is known.
    pub(crate) wait: Option<Duration>,
}

impl NotYet {
    /// For this reason.
    pub(crate) fn because(why: impl ToString) -> NotYet {
        NotYet {
            why: why.to_string(),
            wait: None,
        }
    }
}

impl From<Held> for Unbegun {
    fn from(held: Held) -> Unbegun {
        Unbegun::NotYet(NotYet {
            why: format!("its module is {held}"),
            wait: Some(held.wait),
        })
    }
}

/// What a node of a workflow has besides what its task says.
#[derive(Default)]
pub(super) struct Extra {
    /// Outputs of the nodes before it, in `/in`.
    pub(super) files: Vec<sandbox_files::InputFile>,
    /// Source text to run on its input.
    pub(super) source: Option<String>,
    /// Whether its input was not known when it was submitted.
    is_filled: bool,
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

/// A secret of a task cannot be had, now or later.
fn no_secret(cause: &dyn std::fmt::Display) -> Unbegun {
    tracing::error!(%cause, "a secret of a task cannot be read");
    let why = "the host could not read a secret; its log says why".to_owned();
    Unbegun::Failed(FailureKind::HostError, why)
}

/// The input of a task cannot be had, now or later.
fn no_input(cause: &str) -> Unbegun {
    tracing::error!(cause, "the input of a task cannot be read");
    let why = "the host could not read the input; its log says why".to_owned();
    Unbegun::Failed(FailureKind::HostError, why)
}

impl Runner {
    /// Runs one attempt at a claimed task, on the thread that polls it: the queue does so on the
    /// guest threads. A node of a workflow is run with what it was given.
    pub async fn run_claim(
        &self,
        claim: &Claim,
        given: Option<Box<Given>>,
        control: Control,
    ) -> Result<Report, NotYet> {
        let ended = match given {
            None => self.begin_claim(claim, Extra::default(), control).await,
            Some(given) => {
                let Given {
                    spec,
                    files,
                    source,
                    is_filled,
                } = *given;
                let claim = Claim {
                    spec,
                    ..claim.clone()
                };
                let extra = Extra {
                    files,
                    source,
                    is_filled,
                };
                self.begin_claim(&claim, extra, control).await
            }
        };
        match ended {
            Ok(report) => Ok(report),
            Err(Unbegun::NotYet(not_yet)) => Err(not_yet),
            Err(Unbegun::Failed(kind, why)) => Ok(not_begun(kind, why)),
        }
    }

    async fn begin_claim(
        &self,
        claim: &Claim,
        extra: Extra,
        control: Control,
    ) -> Result<Report, Unbegun> {
        let spec = &claim.spec;
        let info = self.registry.info(spec.digest).await?;
        // Source text has no schemas; those of its interpreter are about something else.
        let has_schemas = extra.source.is_none();
        if extra.is_filled && has_schemas {
            self.check_filled(&info, &spec.input).await?;
        }
        let pass = self.breakers.enter_task(&info, &claim.tenant)?;
        let report = match info.kind.language() {
            Some(language) => {
                self.run_code_claim(language, &info, claim, extra, control)
                    .await?
            }
            None => {
                let (dirs, files) = (self.mounts_of(claim)?, extra.files);
                // What comes as a file is not in the key of a result.
                let ask = match files.is_empty() {
                    true => self.ask_of_claim(claim, &dirs).await,
                    false => None,
                };
                let bounds = (dirs, files);
                match ask {
                    None => self.run_module_claim(&info, claim, bounds, control).await?,
                    Some(ask) => {
                        let heard = control.clone();
                        let run = self.run_module_claim(&info, claim, bounds, control);
                        self.results.serve(ask, &heard, Box::pin(run)).await?.0
                    }
                }
            }
        };
        let book = self.admission.cpu();
        book.charge(&claim.tenant, report.usage.cpu);
        pass.ended(&report.outcome);
        Ok(match has_schemas {
            true => self.held_to_schema(&info, report).await,
            false => report,
        })
    }

    /// Holds an input that was not known when its task was submitted against the module's schema.
    async fn check_filled(&self, info: &ModuleInfo, input: &Input) -> Result<(), Unbegun> {
        let Input::Inline(payload) = input else {
            return Ok(());
        };
        let text = Text::Memory(payload.body.clone());
        let checked = self.registry.check_input(info, &payload.content_type, text);
        checked.await.map_err(|misfit| {
            if misfit == Misfit::Busy {
                return Unbegun::NotYet(NotYet::because(misfit));
            }
            let why = RunError::Schema(misfit).to_string();
            Unbegun::Failed(FailureKind::InvalidInput, why)
        })
    }

    async fn run_module_claim(
        &self,
        info: &ModuleInfo,
        claim: &Claim,
        (dirs, files): (Vec<Mount>, Vec<sandbox_files::InputFile>),
        control: Control,
    ) -> Result<Report, Unbegun> {
        let spec = &claim.spec;
        let limits = &spec.limits;
        let place = self.place(info, limits, spec.isolation, QUEUE).await?;
        let (input, opened) = self.input_of(&spec.input).await?;
        let spec = RunSpec {
            program: spec.module.as_str().to_owned(),
            input,
            args: spec.args.clone(),
            env: spec.env.clone(),
            limits: spec.limits,
            files,
            dirs,
            outward: self.outward_of(claim).await?,
            isolation: place.isolation,
            identity: Identity {
                task_id: claim.task_id.to_string(),
                attempt: claim.attempt,
            },
        };
        let mut attachments = Attachments::from(control);
        attachments.patience = self.patience_of_attempt(info.digest);
        let run = Run { spec, attachments };
        let report = self.sandbox.start(Arc::clone(&place.module), run).await?;
        place.learn(&report);
        // Until here the file is in its place.
        drop(opened);
        Ok(report)
    }

    /// The directories of a claimed task. They were checked when it was submitted, but the
    /// configuration, or what is said of its tenant, may have changed since.
    pub(super) fn mounts_of(&self, claim: &Claim) -> Result<Vec<Mount>, Unbegun> {
        let grants = &claim.spec.grants;
        if grants.dirs.is_empty() {
            return Ok(Vec::new());
        }
        let rules = self.admission.rules_of(&claim.tenant);
        let mounts = self.admission.mounts(rules.as_deref(), grants);
        mounts.map_err(|error| Unbegun::Failed(FailureKind::InvalidInput, error.to_string()))
    }

    /// Where a claimed task may send requests to, as the configuration and its tenant's list are today, with the
    /// secrets of today.
    pub(super) async fn outward_of(&self, claim: &Claim) -> Result<Outward, Unbegun> {
        let (tenant, grants) = (&claim.tenant, &claim.spec.grants);
        if grants.http.is_empty() {
            return Ok(Outward::default());
        }
        let rules = self.admission.rules_of(tenant);
        let outward = self.admission.way_out(rules.as_deref(), tenant, grants);
        outward.await.map_err(|error| {
            let RunError::Secret(cause) = &error else {
                return Unbegun::Failed(FailureKind::InvalidInput, error.to_string());
            };
            match cause {
                passing if passing.may_pass() => Unbegun::NotYet(NotYet::because(passing)),
                SecretsError::Storage(cause) => no_secret(cause),
                SecretsError::Unknown(_)
                | SecretsError::Forbidden(_)
                | SecretsError::TooMany
                | SecretsError::NoKeys => {
                    Unbegun::Failed(FailureKind::InvalidInput, error.to_string())
                }
            }
        })
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
