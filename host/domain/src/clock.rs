//! The only place that asks what time it is.
//!
//! Everything else takes a [`Clock`] or a [`Timestamp`], so that tests move time instead of
//! waiting for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::Timestamp;

/// A source of the current time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
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

    /// The current time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::EPOCH.plus(self.since_epoch()),
            Source::Manual(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
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
            Source::Manual(millis) => {
                let millis = millis.load(Ordering::SeqCst);
                Duration::from_millis(u64::try_from(millis).unwrap_or(0))
            }
        }
    }

    /// Moves a manual clock; a system clock is not affected.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual(millis) = &self.0 {
            millis.store(to.as_millis(), Ordering::SeqCst);
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
}
