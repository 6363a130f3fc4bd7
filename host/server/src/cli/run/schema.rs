//! Checks values against a module's own schemas, as a host does.
//!
//! A run without a server first asks the module for its description. Nobody else waits, so a check
//! runs on the only thread, with a host's time limit.

use anyhow::bail;

use cofferdam::registry::schema::{Bounds, Misfit, hold};
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome};
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::Descriptor;
use cofferdam_domain::said;
use cofferdam_sandbox::settings::SandboxConfig;
use cofferdam_sandbox::{GuestInput, LoadedModule, Report, Sandbox, Undescribed};

/// A module's description of its input and output.
pub(super) struct Held {
    descriptor: Descriptor,
    bounds: Bounds,
}

impl Held {
    /// Asks the module, under the limits of its run.
    pub(super) async fn of(
        sandbox: &Sandbox,
        module: &LoadedModule,
        config: &SandboxConfig,
        limits: &Limits,
        isolation: Isolation,
    ) -> anyhow::Result<Held> {
        let descriptor = match sandbox.describe(module, limits, isolation).await {
            Ok(descriptor) => descriptor.unwrap_or_default(),
            Err(Undescribed::Failed(failure)) => bail!("describe() failed: {}", failure.message),
            Err(Undescribed::NoRoom(no_room)) => bail!(no_room),
        };
        Ok(Held {
            descriptor,
            bounds: Bounds {
                timeout: config.schema_check_timeout,
                memory_bytes: config.schema_check_memory_bytes,
            },
        })
    }

    /// Refuses an input that does not fit the module's schema.
    pub(super) fn input(&self, input: &GuestInput) -> Result<(), Failure> {
        let (Some(schema), GuestInput::Inline(payload)) = (&self.descriptor.input_schema, input)
        else {
            return Ok(());
        };
        match hold(schema, payload.body.clone(), self.bounds) {
            Ok(()) => Ok(()),
            Err(Misfit::NotJson(_)) if !said::is_json(&payload.content_type) => Ok(()),
            Err(misfit) => {
                let why = format!("the input does not fit the module's schema: {misfit}");
                Err(Failure::new(FailureKind::InvalidInput, why))
            }
        }
    }

    /// A run whose output does not fit its module's schema has failed.
    pub(super) fn output(&self, report: Report) -> Report {
        let (Some(schema), Outcome::Completed(payload)) =
            (&self.descriptor.output_schema, &report.outcome)
        else {
            return report;
        };
        match hold(schema, payload.body.clone(), self.bounds) {
            Ok(()) => report,
            Err(misfit) => {
                let why = format!("the output does not fit the module's output schema: {misfit}");
                let outcome = Outcome::Failed(Failure::new(FailureKind::GuestError, why));
                Report { outcome, ..report }
            }
        }
    }
}
