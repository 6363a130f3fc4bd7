//! From where a claim looks along a lane.
//!
//! Whatever was claimed stays in the index for as long as some transaction could still see it as waiting, and
//! a claim that begins at the lane's end walks over all of it. So a host remembers where it found the first
//! task of each priority, and begins a little before that, while a look at everything is dear. What came with
//! an earlier `run_at` since then is found by the next look at everything, which no claim waits for, and which
//! takes its share of the time and no more.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::params::{Param, Params};
use crate::turns::{LANES_MAX, Lane};
use cofferdam_domain::task::Priority;
use cofferdam_domain::time::Timestamp;

/// The `run_at` from which on each priority of a lane is looked at.
pub(super) type LaneFloors = [i64; Priority::ALL.len()];

/// Everything is looked at.
pub(super) const NO_FLOORS: LaneFloors = [i64::MIN; Priority::ALL.len()];

/// A look that took less is not dear: claims look at everything.
const CHEAP: Duration = Duration::from_millis(5);
/// A claim whose slots are not filled looks at everything at once if that took less.
const BEARABLE: Duration = Duration::from_millis(20);
/// A dear look takes one part in so many of the time.
const SHARE: u32 = 20;
/// How much earlier than the first task that was seen another may lie and be found at once: it was
/// committed late, or given back.
const MARGIN: Duration = Duration::from_secs(10);

/// What the last look at everything told.
#[derive(Default)]
pub(super) struct Floors {
    lanes: HashMap<(String, i64), LaneFloors>,
    /// How long it took and when it ended, if it was dear.
    dear: Option<(Duration, Instant)>,
}

impl Floors {
    /// What a look told that found these lanes, and no others, at `now`.
    pub(super) fn seen(lanes: &[Lane], now: Timestamp, took: Duration, ended: Instant) -> Floors {
        if took <= CHEAP {
            return Floors::default();
        }
        let floor = |head: Option<i64>| {
            let first = head.map_or(now, |head| Timestamp::from_millis(head).min(now));
            first.minus(MARGIN).as_millis()
        };
        let lanes = lanes.iter().map(|lane| {
            let name = (lane.tenant.clone(), lane.number);
            (name, lane.heads.map(floor))
        });
        Floors {
            lanes: lanes.collect(),
            dear: Some((took, ended)),
        }
    }

    /// The lanes that were seen, if a look at everything is dear.
    pub(super) fn known(&self) -> Option<Vec<(String, i64, LaneFloors)>> {
        self.dear?;
        let lanes = self.lanes.iter();
        Some(
            lanes
                .map(|((tenant, lane), floors)| (tenant.clone(), *lane, *floors))
                .collect(),
        )
    }

    /// Adds lanes in which tasks were stored since then: claims look at those that are known.
    pub(super) fn came(&mut self, lanes: Vec<(String, i64)>) {
        if self.dear.is_none() {
            return;
        }
        for lane in lanes {
            if self.lanes.len() < LANES_MAX {
                self.lanes.entry(lane).or_insert(NO_FLOORS);
            }
        }
    }

    /// From where to look along a lane.
    pub(super) fn of(&self, tenant: &str, lane: i64) -> LaneFloors {
        let name = (tenant.to_owned(), lane);
        self.lanes.get(&name).copied().unwrap_or(NO_FLOORS)
    }

    /// Whether a look at everything is dear.
    pub(super) fn are_needed(&self) -> bool {
        self.dear.is_some()
    }

    /// Whether it is time for another dear look.
    pub(super) fn are_old(&self, now: Instant) -> bool {
        self.dear
            .is_some_and(|(took, ended)| now >= ended + took * SHARE)
    }

    /// Whether a claim that misses something waits for a look at everything.
    pub(super) fn are_bearable(&self) -> bool {
        self.dear.is_none_or(|(took, _)| took <= BEARABLE)
    }

    /// A look failed at that time; the next comes as if it had succeeded.
    pub(super) fn look_failed(&mut self, ended: Instant) {
        if let Some((_, before)) = &mut self.dear {
            *before = ended;
        }
    }
}

/// Floors as parameters, a column for each priority.
pub(super) fn columns(floors: &[LaneFloors]) -> Params {
    let column = |priority: usize| floors.iter().map(|floors| floors[priority]).collect();
    let priorities = 0..NO_FLOORS.len();
    priorities
        .map(|priority| Param::new::<Vec<i64>>(column(priority)))
        .collect()
}
