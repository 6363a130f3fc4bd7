//! The right to run tasks: a host has it for as long as no other may take it for dead.
//!
//! It is counted from before the last heartbeat that was recorded was sent, on a clock that nobody sets,
//! and ends a while before others may take the tasks, so that the guests are gone by then. A host that
//! shares its storage with nobody has the right without end. What happens without it is in `fencing` and
//! `dispatcher`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The part of the time until a silent host counts as dead that is left for stopping the guests.
const TO_STOP: u32 = 5;

/// The right.
#[derive(Debug)]
pub(crate) struct Lease {
    length: Option<Duration>,
    renewed: Mutex<Instant>,
}

impl Lease {
    /// A right that ends in time before a host that is silent for `dead_after` counts as dead.
    pub(crate) fn until_dead(dead_after: Duration, now: Instant) -> Lease {
        Lease {
            length: Some(dead_after - dead_after / TO_STOP),
            renewed: Mutex::new(now),
        }
    }

    /// A right without end.
    pub(crate) fn endless(now: Instant) -> Lease {
        Lease {
            length: None,
            renewed: Mutex::new(now),
        }
    }

    /// Records that a heartbeat was recorded which was sent no sooner than `since`.
    pub(crate) fn renew(&self, since: Instant) {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        *renewed = since.max(*renewed);
    }

    /// How long it lasts from `now` on; `None` if it has no end.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        let length = self.length?;
        Some(length.saturating_sub(now.saturating_duration_since(renewed)))
    }

    /// Whether this host may run tasks.
    pub(crate) fn is_held(&self, now: Instant) -> bool {
        self.left(now).is_none_or(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_before_others_may_take_the_tasks_and_lasts_from_each_heartbeat_anew() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let lease = Lease::until_dead(Duration::from_secs(10), start);
        assert_eq!(lease.left(after(7)), Some(Duration::from_secs(1)));
        assert!(lease.is_held(after(7)) && !lease.is_held(after(8)) && !lease.is_held(after(60)));
        lease.renew(after(60));
        lease.renew(after(30));
        assert!(lease.is_held(after(67)) && !lease.is_held(after(68)));
        assert_eq!(Lease::endless(start).left(after(1_000_000)), None);
        assert!(Lease::endless(start).is_held(after(1_000_000)));
    }
}
