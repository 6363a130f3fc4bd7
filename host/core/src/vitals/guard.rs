//! What the host does about a shortage of memory, step by step. It computes from arguments alone.
//!
//! From the critical threshold on it goes up one level at a time, so that each has time to help. It goes down
//! one at a time once memory is a twentieth below the threshold, so that it does not go to and fro. A host that
//! has had nothing to do for a while lets work in again whatever its memory is: refusing more would free
//! nothing.

use std::time::{Duration, Instant};

use cofferdam_domain::pressure::Level;

/// How long a level is held at least.
const STEP: Duration = Duration::from_secs(2);
/// How long a host has nothing to do before it takes work again.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// How far below the threshold memory must be: one part in this many.
const MARGIN: u64 = 20;

/// The guard.
#[derive(Debug)]
pub(super) struct Guard {
    level: Level,
    /// When the level became what it is.
    since: Instant,
    /// When something ran last.
    busy_at: Instant,
}

/// What it goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    pub(super) used_bytes: u64,
    /// The critical threshold; 0 if there is none.
    pub(super) critical_bytes: u64,
    /// Whether anything runs here.
    pub(super) is_busy: bool,
}

impl Guard {
    pub(super) fn new(now: Instant) -> Guard {
        Guard {
            level: Level::None,
            since: now,
            busy_at: now,
        }
    }

    /// The level from now on.
    pub(super) fn look(&mut self, now: Instant, sight: Sight) -> Level {
        let Sight {
            used_bytes,
            critical_bytes,
            is_busy,
        } = sight;
        if is_busy {
            self.busy_at = now;
        }
        let is_above = critical_bytes > 0 && used_bytes >= critical_bytes;
        let is_below = critical_bytes == 0 || used_bytes < critical_bytes - critical_bytes / MARGIN;
        let has_held = now.saturating_duration_since(self.since) >= STEP;
        let is_unused = now.saturating_duration_since(self.busy_at) >= IDLE_MAX;
        let level = self.level;
        let next = if level >= Level::Hold && is_unused {
            Level::Shed
        } else if level == Level::Shed && is_unused && !is_below {
            level
        } else if is_above && (has_held || level == Level::None) {
            level.up()
        } else if is_below && has_held {
            level.down()
        } else {
            level
        };
        if next != self.level {
            self.level = next;
            self.since = now;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The levels at these seconds, with so much of 1,000 bytes in use.
    fn levels(is_busy: bool, moments: &[(u64, u64)]) -> Vec<Level> {
        let start = Instant::now();
        let mut guard = Guard::new(start);
        let looks = moments.iter().map(|(second, used_bytes)| {
            let sight = Sight {
                used_bytes: *used_bytes,
                critical_bytes: 1000,
                is_busy,
            };
            guard.look(start + Duration::from_secs(*second), sight)
        });
        looks.collect()
    }

    #[test]
    fn it_goes_up_and_down_one_level_at_a_time() {
        let moments = [
            (0, 999),
            (1, 1000),
            (2, 2000),
            (3, 2000),
            (5, 2000),
            (9, 2000),
        ];
        let up = [
            Level::None,
            Level::Shed,
            Level::Shed,
            Level::Hold,
            Level::Refuse,
            Level::Refuse,
        ];
        assert_eq!(levels(true, &moments), up);
        let moments = [
            (0, 1000),
            (2, 1000),
            (4, 1000),
            (5, 100),
            (6, 100),
            (8, 100),
            (10, 100),
        ];
        let down = [
            Level::Shed,
            Level::Hold,
            Level::Refuse,
            Level::Refuse,
            Level::Hold,
            Level::Shed,
            Level::None,
        ];
        assert_eq!(levels(true, &moments), down);
    }

    #[test]
    fn just_below_the_threshold_nothing_changes() {
        let moments = [
            (0, 1000),
            (3, 1000),
            (6, 951),
            (60, 999),
            (70, 949),
            (80, 949),
        ];
        let found = [
            Level::Shed,
            Level::Hold,
            Level::Hold,
            Level::Hold,
            Level::Shed,
            Level::None,
        ];
        assert_eq!(levels(true, &moments), found);
    }

    #[test]
    fn a_host_without_work_takes_some_again() {
        let moments = [
            (0, 2000),
            (3, 2000),
            (6, 2000),
            (9, 2000),
            (10, 2000),
            (99, 2000),
        ];
        let found = [
            Level::Shed,
            Level::Hold,
            Level::Refuse,
            Level::Refuse,
            Level::Shed,
            Level::Shed,
        ];
        assert_eq!(levels(false, &moments), found);
    }

    #[test]
    fn without_a_threshold_it_does_nothing() {
        let start = Instant::now();
        let mut guard = Guard::new(start);
        let sight = Sight {
            used_bytes: u64::MAX,
            critical_bytes: 0,
            is_busy: true,
        };
        assert_eq!(guard.look(start, sight), Level::None);
    }
}
