//! The only place that asks what time it is.
//!
//! Everything else takes a [`Clock`] or a [`Timestamp`], so that tests move time instead of
//! waiting for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::Timestamp;

/// A source of the current time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
    Told(Arc<Told>),
}

/// What somebody else's clock showed when this one began to count, as far as it was told.
#[derive(Debug)]
struct Told {
    begun: Instant,
    millis_at_begin: AtomicI64,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// A clock that does not move until [`Clock::set`] is called.
    pub fn manual(start: Timestamp) -> Clock {
        Clock(Source::Manual(Arc::new(AtomicI64::new(start.as_millis()))))
    }

    /// A clock that counts on from what it was last told with [`Clock::set`], whatever the machine's
    /// own clock says. It begins with `start`.
    pub fn told(start: Timestamp) -> Clock {
        Clock(Source::Told(Arc::new(Told {
            begun: Instant::now(),
            millis_at_begin: AtomicI64::new(start.as_millis()),
        })))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::EPOCH.plus(self.since_epoch()),
            Source::Manual(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
            Source::Told(told) => {
                let millis = told.millis_at_begin.load(Ordering::SeqCst);
                Timestamp::from_millis(millis).plus(told.begun.elapsed())
            }
        }
    }

    /// The time since 1970, in the clock's full precision.
    pub fn since_epoch(&self) -> Duration {
        match &self.0 {
            Source::System => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "this is the one place that may ask"
                )]
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
                since_epoch.unwrap_or_default()
            }
            Source::Manual(_) | Source::Told(_) => self.now().since(Timestamp::EPOCH),
        }
    }

    /// Moves a manual clock, and corrects one that was made by [`Clock::told`]; a system clock is not
    /// affected.
    pub fn set(&self, to: Timestamp) {
        match &self.0 {
            Source::System => {}
            Source::Manual(millis) => millis.store(to.as_millis(), Ordering::SeqCst),
            Source::Told(told) => {
                let at_begin = to.minus(told.begun.elapsed());
                told.millis_at_begin
                    .store(at_begin.as_millis(), Ordering::SeqCst);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_shows_what_it_is_set_to() {
        let clock = Clock::manual(Timestamp::from_millis(7));
        let same = clock.clone();
        assert_eq!(clock.now(), Timestamp::from_millis(7));
        clock.set(Timestamp::from_millis(1_500));
        assert_eq!(same.now(), Timestamp::from_millis(1_500));
        assert_eq!(same.since_epoch(), Duration::from_millis(1_500));
        clock.set(Timestamp::from_millis(-1));
        assert_eq!(same.since_epoch(), Duration::ZERO);
    }

    #[test]
    fn the_machines_clock_goes_on_and_cannot_be_set() {
        let clock = Clock::system();
        clock.set(Timestamp::EPOCH);
        // Nobody runs this before it was written.
        let written = Timestamp::from_millis(1_700_000_000_000);
        let first = clock.now();
        assert!(first > written);
        assert!(clock.now() >= first && clock.since_epoch() > Duration::ZERO);
    }

    #[test]
    fn a_clock_that_is_told_the_time_counts_on_from_there() {
        let hour = Duration::from_secs(3600);
        let clock = Clock::told(Timestamp::EPOCH.plus(hour));
        let twin = clock.clone();
        assert!(clock.now().since(Timestamp::EPOCH) >= hour);
        twin.set(Timestamp::EPOCH.plus(hour * 9));
        let now = clock.now().since(Timestamp::EPOCH);
        assert!((hour * 9..hour * 10).contains(&now), "{now:?}");
        assert!(clock.now() >= Timestamp::EPOCH.plus(now));
    }
}
