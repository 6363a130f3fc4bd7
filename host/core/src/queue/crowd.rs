//! Whether several tenants have work on this host at the moment. An embedded database makes one change after another:
//! where there are several tenants, changes are kept short, so that none waits for long behind another's.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cofferdam_domain::caller::Tenant;

/// How long a tenant counts after its last task was submitted or ended.
const LATELY: Duration = Duration::from_secs(1);

/// Who was there lately.
#[derive(Debug, Default)]
pub(crate) struct Crowd(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    last: Option<Tenant>,
    /// When there was last another tenant than the time before.
    changed_at: Option<Instant>,
}

impl Crowd {
    /// Notes that a task of a tenant was submitted or ended.
    pub(crate) fn note(&self, tenant: &Tenant, now: Instant) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.last.as_ref() != Some(tenant) {
            seen.changed_at = seen.last.is_some().then_some(now);
            seen.last = Some(tenant.clone());
        }
    }

    /// Whether there were several tenants lately.
    pub(crate) fn is_there(&self, now: Instant) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.changed_at
            .is_some_and(|at| now.saturating_duration_since(at) < LATELY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_tenant_is_no_crowd_and_another_is_for_a_while() {
        let (crowd, begun) = (Crowd::default(), Instant::now());
        let [a, b] = ["a", "b"].map(|name| Tenant::parse(name).unwrap());
        crowd.note(&a, begun);
        crowd.note(&a, begun);
        assert!(!crowd.is_there(begun));
        crowd.note(&b, begun);
        crowd.note(&a, begun);
        crowd.note(&a, begun + LATELY / 2);
        assert!(crowd.is_there(begun + LATELY / 2));
        assert!(!crowd.is_there(begun + LATELY));
    }
}
