//! Where a run takes place: its isolation, the engine that goes with it, and what is learned for the next.

use std::sync::Arc;

use crate::registry::RegistryError;
use crate::runner::Runner;
use cofferdam_domain::isolation::{Habit, Isolation};
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{ModuleInfo, ModuleKind};
use cofferdam_sandbox::{EngineClass, LoadedModule, Report};

/// The place of one run.
pub(super) struct Place {
    pub(super) module: Arc<LoadedModule>,
    pub(super) isolation: Isolation,
    /// The module as it runs where it shares a process: what is known of it is kept there, as long as it is
    /// kept mapped.
    known: Option<Arc<LoadedModule>>,
}

impl Runner {
    /// The place of a run of an uploaded module that asks for `asked`. The caller with this number has it
    /// compiled if it has to be.
    pub(super) async fn place(
        &self,
        info: &ModuleInfo,
        limits: &Limits,
        asked: Option<Isolation>,
        caller: u64,
    ) -> Result<Place, RegistryError> {
        let usual = EngineClass::of_run(limits, Isolation::Shared);
        let mut known = self.registry.loaded(info.digest, usual);
        let habit = known.as_ref().map_or(Habit::Short, |known| known.habit());
        let isolation = self.admission.isolation(asked, info.kind, habit, limits);
        let class = EngineClass::of_run(limits, isolation);
        let module = match &known {
            Some(known) if class == usual => Arc::clone(known),
            Some(_) | None => self.registry.load(info, class, caller).await?,
        };
        if class == usual {
            known = Some(Arc::clone(&module));
        }
        Ok(Place {
            module,
            isolation,
            known,
        })
    }

    /// The isolation of a run of code: nothing is learned of interpreters, whose runs differ.
    pub(super) fn isolation_of_code(
        &self,
        asked: Option<Isolation>,
        kind: ModuleKind,
        limits: &Limits,
    ) -> Isolation {
        self.admission.isolation(asked, kind, Habit::Short, limits)
    }
}

impl Place {
    /// Learns from a run that ended here.
    pub(super) fn learn(&self, report: &Report) {
        if let Some(known) = &self.known {
            known.learn_usage(&report.usage);
        }
    }
}
