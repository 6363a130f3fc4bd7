//! What a host knows of the lanes between its claims: whether one tenant is alone, where to look next, and
//! what each tenant has had.
//!
//! How lanes are looked at is in `lanes`, which needs calls; calls need this. From where a claim looks along
//! a lane is in `floors`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::floors::{Floors, LaneFloors};
use super::look::{Look, Seen};
use crate::settings::ClaimRules;
use crate::turns::{COMMON_LANE, LANES_MAX, Lane, Turns, Wanted};
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
    floors: Floors,
    /// When the last claim came, by its clock.
    claimed_at: Option<Timestamp>,
    /// Whether somebody looks at all lanes, and no claim waits for that.
    is_looking: bool,
}

/// How long it is believed that a tenant is alone.
const ALONE_FOR: Duration = Duration::from_millis(100);

/// The one tenant that waits, and whether somebody has to look again if it is still alone.
#[derive(Default)]
pub(super) struct Alone {
    pub(super) tenant: String,
    pub(super) is_stale: bool,
    /// From where to look along its lane.
    pub(super) floors: LaneFloors,
}

impl Known {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn alone(&self, now: Timestamp) -> Option<Alone> {
        let mut state = self.lock();
        state.claimed_at = Some(now);
        state.alone.as_ref().map(|(tenant, seen)| Alone {
            tenant: tenant.clone(),
            // The clock may have been set back.
            is_stale: !(*seen..seen.plus(ALONE_FOR)).contains(&now) && !state.floors.are_needed(),
            floors: state.floors.of(tenant, COMMON_LANE),
        })
    }

    /// What a claim looks at first.
    pub(super) fn look(&self) -> Look {
        let state = self.lock();
        match state.floors.known() {
            Some(known) => Look::Known(known),
            None => state.look_at_all(),
        }
    }

    /// The next look at all lanes.
    pub(super) fn look_at_all(&self) -> Look {
        self.lock().look_at_all()
    }

    /// Whether a claim that misses something looks at all lanes.
    pub(super) fn may_look(&self) -> bool {
        self.lock().floors.are_bearable()
    }

    /// What somebody looks at who has to know of every lane.
    pub(super) fn look_from_the_first(&self) -> Look {
        let state = self.lock();
        match state.floors.known() {
            Some(known) if !state.floors.are_bearable() => Look::Known(known),
            Some(_) | None => Look::from_the_first(),
        }
    }

    /// Whether it is time for a look at all lanes that no claim waits for, and nobody has begun it. Whoever
    /// is told so begins it.
    pub(super) fn begins_dear_look(&self) -> bool {
        let mut state = self.lock();
        let begins = !state.is_looking && state.floors.are_old(Instant::now());
        state.is_looking |= begins;
        begins
    }

    /// The look has ended; `None` if it failed.
    pub(super) fn ended_dear_look(&self, seen: Option<&Seen>) {
        self.lock().is_looking = false;
        match seen {
            Some(Seen {
                lanes,
                took: Some(took),
            }) => self.looked_from_the_first(lanes, *took),
            Some(Seen { took: None, .. }) | None => {
                self.lock().floors.look_failed(Instant::now());
            }
        }
    }

    /// From where each of these lanes is looked at.
    pub(super) fn floors(&self, wanted: &[Wanted]) -> Vec<LaneFloors> {
        let state = self.lock();
        let wanted = wanted.iter();
        wanted
            .map(|wanted| state.floors.of(&wanted.tenant, wanted.lane))
            .collect()
    }

    /// Notes how far a claim looked, in a look that took so long; whether that is to the end.
    pub(super) fn looked(&self, lanes: &[Lane], took: Duration, now: Timestamp) -> bool {
        let mut state = self.lock();
        let last = lanes.get(LANES_MAX - 1);
        let is_all = state.behind.is_none() && last.is_none();
        state.behind = last.map(|lane| (lane.tenant.clone(), lane.number));
        state.floors = match is_all {
            true => Floors::seen(lanes, now, took, Instant::now()),
            false => Floors::default(),
        };
        last.is_none()
    }

    /// Notes what somebody else saw in a look that began at the first lane.
    pub(super) fn looked_from_the_first(&self, lanes: &[Lane], took: Duration) {
        let mut state = self.lock();
        if let (Some(now), true) = (state.claimed_at, lanes.len() < LANES_MAX) {
            state.floors = Floors::seen(lanes, now, took, Instant::now());
        }
        if !state.floors.are_needed() {
            // Claims look at all lanes themselves.
            return;
        }
        let is_other = |tenant: &str| {
            let is_alone = |lane: &Lane| lane.tenant == tenant && lane.number == COMMON_LANE;
            !lanes.iter().all(is_alone)
        };
        state.alone.take_if(|(tenant, _)| is_other(tenant));
    }

    /// Notes that tasks were stored in these lanes: whoever else was alone is so no longer.
    pub(super) fn came(&self, lanes: Vec<(String, i64)>) {
        if lanes.is_empty() {
            return;
        }
        let mut state = self.lock();
        let is_other = |tenant: &str| {
            lanes
                .iter()
                .any(|lane| lane.0 != tenant || lane.1 != COMMON_LANE)
        };
        state.alone.take_if(|(tenant, _)| is_other(tenant));
        state.floors.came(lanes);
    }

    /// Notes that the tenant that is alone took tasks.
    pub(super) fn took(&self, tenant: &str) {
        self.lock().turns.took_alone(tenant);
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

impl State {
    fn look_at_all(&self) -> Look {
        match self.behind.clone() {
            Some((tenant, lane)) => Look::All(tenant, lane),
            None => Look::from_the_first(),
        }
    }
}
