//! What counts against a module, so that one that fails again and again is held back.
//!
//! A module that is held keeps its tasks pending and has its runs refused, so that it neither wears guest
//! processes out nor uses up attempts that could succeed once it is mended. What one caller runs holds nobody
//! else's runs back; the tasks of one tenant count together.

use std::time::Instant;

use crate::breaker::{self, Held};
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome};
use cofferdam_domain::caller::{Caller, Origin, Tenant};
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleKind};

/// A version of a module, as it is run by one caller, or for a tenant's queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    digest: Digest,
    tenant: Tenant,
    /// The caller's network; none for tasks.
    from: Option<Origin>,
}

impl Subject {
    /// The module in the tasks of that tenant.
    pub(super) fn of_tasks(digest: Digest, tenant: &Tenant) -> Subject {
        Subject {
            digest,
            tenant: tenant.clone(),
            from: None,
        }
    }

    /// The module in what this caller runs at once.
    pub(super) fn of_runs(digest: Digest, caller: &Caller) -> Subject {
        Subject {
            digest,
            tenant: caller.tenant().clone(),
            from: Some(caller.from().network()),
        }
    }

    /// Whether it is that version, for that tenant.
    fn is(&self, digest: &Digest, tenant: &Tenant) -> bool {
        self.digest == *digest && self.tenant == *tenant
    }
}

/// The modules that failed last. Cheap to clone.
#[derive(Clone)]
pub(super) struct Breakers(breaker::Breakers<Subject>);

/// An attempt that was let through. If it is dropped without an end, it says nothing.
pub(super) struct Pass {
    pass: breaker::Pass<Subject>,
    digest: Digest,
    kind: ModuleKind,
}

impl Breakers {
    pub(super) fn new(config: breaker::BreakerConfig) -> Breakers {
        Breakers(breaker::Breakers::new(config))
    }

    /// Lets an attempt at a task of that tenant through, unless its module is held.
    pub(super) fn enter_task(&self, info: &ModuleInfo, tenant: &Tenant) -> Result<Pass, Held> {
        self.enter(info, Subject::of_tasks(info.digest, tenant))
    }

    /// Lets a run of that caller through, unless its module is held.
    pub(super) fn enter_run(&self, info: &ModuleInfo, caller: &Caller) -> Result<Pass, Held> {
        self.enter(info, Subject::of_runs(info.digest, caller))
    }

    fn enter(&self, info: &ModuleInfo, subject: Subject) -> Result<Pass, Held> {
        let pass = self.0.enter(subject, Instant::now())?;
        Ok(Pass {
            pass,
            digest: info.digest,
            kind: info.kind,
        })
    }

    /// Why a module is held, if it is.
    pub(super) fn held(&self, subject: &Subject) -> Option<Held> {
        self.0.held(subject, Instant::now())
    }

    /// Modules that are held.
    pub(super) fn count(&self) -> u64 {
        self.0.count()
    }

    /// Forgets what is known of a version for that tenant; false if there is nothing.
    pub(super) fn reset(&self, digest: &Digest, tenant: &Tenant) -> bool {
        self.0.forget(|subject| subject.is(digest, tenant))
    }
}

impl Pass {
    /// Learns from the attempt's end.
    pub(super) fn ended(self, outcome: &Outcome) {
        self.judged(match outcome {
            Outcome::Completed(_) => None,
            Outcome::Failed(failure) => Some(failure),
        });
    }

    /// The same of an end that is known by its failure alone.
    pub(super) fn judged(self, failure: Option<&Failure>) {
        let Some(failure) = failure else {
            return self.pass.worked();
        };
        match says(failure.kind, self.kind) {
            Says::Nothing => {}
            Says::Works => self.pass.worked(),
            Says::Fails => {
                let reason = format!("{}: {}", failure.kind.as_str(), failure.message);
                if let Some(failures) = self.pass.failed(reason, Instant::now()) {
                    tracing::warn!(digest = %self.digest, failures, "a module is held back");
                }
            }
        }
    }
}

/// What an attempt's failure says of its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Works,
    Fails,
    Nothing,
}

/// What a failure says. Code of users fails in an interpreter all the time, which says nothing against it.
fn says(failure: FailureKind, kind: ModuleKind) -> Says {
    let is_code = kind.language().is_some();
    match failure {
        FailureKind::Lost | FailureKind::HostError => Says::Fails,
        FailureKind::Trap | FailureKind::Exit | FailureKind::Timeout if !is_code => Says::Fails,
        FailureKind::Trap | FailureKind::Exit | FailureKind::Timeout => Says::Works,
        FailureKind::GuestError => Says::Works,
        FailureKind::CpuExhausted
        | FailureKind::FuelExhausted
        | FailureKind::MemoryExceeded
        | FailureKind::StackOverflow
        | FailureKind::HostResourcesExceeded
        | FailureKind::DiskExceeded
        | FailureKind::OutputExceeded
        | FailureKind::InvalidInput
        | FailureKind::Cancelled
        | FailureKind::Skipped => Says::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_domain::module::Language;

    #[test]
    fn what_one_tenant_runs_holds_no_other_back() {
        let digest = Digest::from_bytes([7; 32]);
        let (ours, theirs) = (Tenant::DEFAULT, Tenant::parse("them").unwrap());
        let caller = Caller::local();
        let subjects = [
            Subject::of_tasks(digest, &ours),
            Subject::of_tasks(digest, &theirs),
            Subject::of_runs(digest, &caller),
        ];
        for (subject, is_ours) in subjects.iter().zip([true, false, true]) {
            let others = subjects.iter().filter(|other| *other == subject);
            assert_eq!(others.count(), 1);
            assert_eq!(subject.is(&digest, &ours), is_ours);
        }
    }

    #[test]
    fn only_ends_that_are_the_modules_own_count() {
        let python = ModuleKind::Interpreter(Language::Python);
        for kind in FailureKind::ALL {
            let own = matches!(
                kind,
                FailureKind::Trap
                    | FailureKind::Exit
                    | FailureKind::Timeout
                    | FailureKind::Lost
                    | FailureKind::HostError
            );
            let dead = matches!(kind, FailureKind::Lost | FailureKind::HostError);
            assert_eq!(says(kind, ModuleKind::Command) == Says::Fails, own);
            assert_eq!(says(kind, python) == Says::Fails, dead);
        }
    }
}
