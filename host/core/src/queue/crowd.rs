//! How many tasks one change of storage is for. An embedded database makes one change after another: where several
//! tenants have work, changes are kept short, so that none waits for long behind another's; and shorter still while
//! one of them submits a few tasks at a time, because somebody waits for those. A commit costs as much for a few
//! tasks as for many, so a lone tenant's changes are as long as they may be.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cofferdam_domain::caller::Tenant;

/// How long a tenant counts after its last task was submitted or ended.
const LATELY: Duration = Duration::from_secs(1);
/// The most tasks of one call whose caller counts as one who waits.
const FEW: usize = 16;
/// The most tasks of one change where several tenants have work.
const CROWDED_MAX: usize = 128;
/// The same while somebody waits: a task takes three changes until its caller has its end, and each may come behind
/// another tenant's.
const AWAITED_MAX: usize = 4;

/// Who was there lately.
#[derive(Debug, Default)]
pub(crate) struct Crowd(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    last: Option<Tenant>,
    /// When there was last another tenant than the time before.
    changed_at: Option<Instant>,
    /// When a few tasks were last submitted.
    few_at: Option<Instant>,
}

impl Crowd {
    /// Notes that a tenant submitted so many tasks at once.
    pub(crate) fn submitted(&self, tenant: &Tenant, tasks: usize, now: Instant) {
        let mut seen = self.lock();
        seen.note(tenant, now);
        if tasks <= FEW {
            seen.few_at = Some(now);
        }
    }

    /// Notes that tasks of a tenant ended.
    pub(crate) fn ended(&self, tenant: &Tenant, now: Instant) {
        self.lock().note(tenant, now);
    }

    /// How many tasks one change is for, where it may be for `max`.
    pub(crate) fn at_once(&self, max: usize, now: Instant) -> usize {
        let seen = self.lock();
        let is_lately =
            |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < LATELY);
        match (is_lately(seen.changed_at), is_lately(seen.few_at)) {
            (false, _) => max,
            (true, false) => max.min(CROWDED_MAX),
            (true, true) => max.min(AWAITED_MAX),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn note(&mut self, tenant: &Tenant, now: Instant) {
        if self.last.as_ref() != Some(tenant) {
            self.changed_at = self.last.is_some().then_some(now);
            self.last = Some(tenant.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 512;

    #[test]
    fn a_lone_tenant_is_no_crowd_and_another_is_for_a_while() {
        let (crowd, begun) = (Crowd::default(), Instant::now());
        let [a, b] = ["a", "b"].map(|name| Tenant::parse(name).unwrap());
        crowd.submitted(&a, MAX, begun);
        crowd.ended(&a, begun);
        assert_eq!(crowd.at_once(MAX, begun), MAX);
        crowd.submitted(&b, FEW + 1, begun);
        crowd.ended(&a, begun);
        crowd.ended(&a, begun + LATELY / 2);
        assert_eq!(crowd.at_once(MAX, begun + LATELY / 2), CROWDED_MAX);
        assert_eq!(crowd.at_once(8, begun + LATELY / 2), 8);
        assert_eq!(crowd.at_once(MAX, begun + LATELY), MAX);
    }

    #[test]
    fn whoever_submits_a_few_tasks_waits_for_them_unless_nobody_else_is_there() {
        let (crowd, begun) = (Crowd::default(), Instant::now());
        let [a, b] = ["a", "b"].map(|name| Tenant::parse(name).unwrap());
        crowd.submitted(&b, 1, begun);
        assert_eq!(crowd.at_once(MAX, begun), MAX);
        crowd.ended(&a, begun);
        assert_eq!(crowd.at_once(MAX, begun), AWAITED_MAX);
        crowd.submitted(&b, FEW, begun + LATELY / 2);
        crowd.ended(&a, begun + LATELY / 2);
        assert_eq!(crowd.at_once(MAX, begun + LATELY), AWAITED_MAX);
        assert_eq!(crowd.at_once(MAX, begun + LATELY * 2), MAX);
    }
}
