//! What a host knows of the lanes between its claims: whether one tenant is alone, where to look next, and
//! what each tenant has had.
//!
//! How lanes are looked at is in `lanes`, which needs calls; calls need this.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::settings::ClaimRules;
use crate::turns::{COMMON_LANE, LANES_MAX, Lane, Turns};
use cofferdam_domain::time::Timestamp;

/// What a host knows of the lanes between its claims.
#[derive(Default)]
pub(super) struct Known(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    pub(super) turns: Turns,
    /// Behind which lane the next look begins.
    behind: Option<(String, i64)>,
    /// The tenant whose tasks alone are due, in one lane without bounds, as far as was seen; and when.
    alone: Option<(String, Timestamp)>,
}

/// How long it is believed that a tenant is alone.
const ALONE_FOR: Duration = Duration::from_millis(100);

/// The one tenant that waits, and whether somebody has to look again if it is still alone.
pub(super) struct Alone {
    pub(super) tenant: String,
    pub(super) is_stale: bool,
}

impl Known {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn alone(&self, now: Timestamp) -> Option<Alone> {
        let state = self.lock();
        state.alone.as_ref().map(|(tenant, seen)| Alone {
            tenant: tenant.clone(),
            // The clock may have been set back.
            is_stale: !(*seen..seen.plus(ALONE_FOR)).contains(&now),
        })
    }

    /// Behind which lane the next look begins.
    pub(super) fn behind(&self) -> (String, i64) {
        self.lock().behind.clone().unwrap_or_else(first)
    }

    /// Notes how far was looked; whether that is to the end.
    pub(super) fn looked(&self, lanes: &[Lane]) -> bool {
        let last = lanes.get(LANES_MAX - 1);
        self.lock().behind = last.map(|lane| (lane.tenant.clone(), lane.number));
        last.is_none()
    }

    /// Notes what was seen of the lanes that this host serves.
    pub(super) fn learn(&self, lanes: &[Lane], rules: &ClaimRules, now: Timestamp) {
        let mut state = self.lock();
        let is_simple = |lane: &Lane| {
            lane.number == COMMON_LANE && !lane.is_bounded(rules) && !lane.is_ageing(rules, now)
        };
        let mut due = lanes.iter().filter(|lane| lane.is_due(now));
        let alone = match (due.next(), due.next()) {
            (Some(lane), None) => is_simple(lane).then(|| lane.tenant.clone()),
            // Whoever was alone may be so again.
            (None, _) => state.alone.take().map(|(tenant, _)| tenant),
            (Some(_), Some(_)) => None,
        };
        state.alone = alone.map(|tenant| (tenant, now));
    }
}

/// Before every lane.
pub(super) fn first() -> (String, i64) {
    (String::new(), i64::MIN)
}
