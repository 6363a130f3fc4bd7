//! One run, from a request in the product's words to a report: resolve the module, check limits
//! and grants against what the operator allows, load it, and drive it on the right thread.
//!
//! `queue` runs claimed tasks through it, `http` runs what is wanted at once, and the command line
//! runs files. It keeps nothing and knows no database.

use std::sync::Arc;

use crate::domain::attempt::{Claim, Payload};
use crate::domain::grants::Grants;
use crate::domain::limits::{AboveCeiling, LimitRequest};
use crate::domain::module::ModuleRef;
use crate::registry::{Registry, RegistryError};
use crate::sandbox::control::Control;
use crate::sandbox::{GuestInput, Report, Stdin};

/// Runs guests.
pub struct Runner {}

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
}

impl Runner {
    /// Runs at once and gives the report. Dropping the future ends the run.
    pub async fn run_now(&self, _request: RunRequest) -> Result<Report, RunError> {
        todo!()
    }

    /// Runs one attempt at a claimed task. What fails before the guest begins is an outcome too.
    pub async fn run_claim(&self, _claim: &Claim, _control: Control) -> Report {
        todo!()
    }

    /// Checks what a task asks for without running it.
    pub fn check(
        &self,
        _limits: &LimitRequest,
        _grants: &Grants,
    ) -> Result<crate::domain::limits::Limits, RunError> {
        todo!()
    }

    /// The registry it loads from.
    pub fn registry(&self) -> &Arc<Registry> {
        todo!()
    }
}
