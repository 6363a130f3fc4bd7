//! This host's own figures: how many attempts ended, and how long recent ones took.
//!
//! The dispatcher sizes its prefetch by them, and the API bases estimates on them. Several threads
//! change these counters without a lock, so a reader sees them approximately consistent.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How much of a new sample goes into a moving mean: one part in this many.
const SMOOTHING: u64 = 16;

/// The assumed duration of an attempt before the first one has ended.
const FIRST_GUESS: Duration = Duration::from_millis(1);

/// The figures.
#[derive(Debug)]
pub(crate) struct Figures {
    completed: AtomicU64,
    failed: AtomicU64,
    run_ns_total: AtomicU64,
    run_ns_lately: AtomicU64,
    wait_ns_lately: AtomicU64,
}

impl Figures {
    pub(crate) fn new() -> Figures {
        Figures {
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            run_ns_total: AtomicU64::new(0),
            run_ns_lately: AtomicU64::new(nanos(FIRST_GUESS)),
            wait_ns_lately: AtomicU64::new(0),
        }
    }

    /// Counts an attempt that ran for `run` after its task had waited for `wait`.
    pub(crate) fn ended(&self, completed: bool, wait: Duration, run: Duration) {
        if completed {
            &self.completed
        } else {
            &self.failed
        }
        .fetch_add(1, Relaxed);
        self.run_ns_total.fetch_add(nanos(run), Relaxed);
        blend(&self.run_ns_lately, nanos(run));
        blend(&self.wait_ns_lately, nanos(wait));
    }

    /// Attempts that completed here.
    pub(crate) fn completed(&self) -> u64 {
        self.completed.load(Relaxed)
    }

    /// Attempts that failed here.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// The mean duration of all attempts that ended here.
    pub(crate) fn mean_run(&self) -> Duration {
        let ended = self.completed() + self.failed();
        Duration::from_nanos(
            self.run_ns_total
                .load(Relaxed)
                .checked_div(ended)
                .unwrap_or(0),
        )
    }

    /// The duration of recent attempts.
    pub(crate) fn run_lately(&self) -> Duration {
        Duration::from_nanos(self.run_ns_lately.load(Relaxed))
    }

    /// How long recent tasks waited.
    pub(crate) fn wait_lately(&self) -> Duration {
        Duration::from_nanos(self.wait_ns_lately.load(Relaxed))
    }
}

/// Two threads may overwrite each other's sample; a moving mean survives that.
fn blend(mean: &AtomicU64, sample: u64) {
    let before = mean.load(Relaxed);
    mean.store(before - before / SMOOTHING + sample / SMOOTHING, Relaxed);
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / SMOOTHING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recent_mean_follows_what_happens() {
        let figures = Figures::new();
        for _ in 0..200 {
            figures.ended(true, Duration::ZERO, Duration::from_secs(2));
        }
        assert!(figures.run_lately() > Duration::from_millis(1900));
        assert_eq!(figures.mean_run(), Duration::from_secs(2));
        for _ in 0..200 {
            figures.ended(false, Duration::ZERO, Duration::from_micros(20));
        }
        assert!(figures.run_lately() < Duration::from_millis(1));
        assert_eq!((figures.completed(), figures.failed()), (200, 200));
    }
}
