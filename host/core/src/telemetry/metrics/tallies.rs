//! Counters as they are at one moment, from which others compute what happened meanwhile.

use super::Metrics;
use crate::telemetry::spread::Counts;
use cofferdam_domain::attempt::FailureKind;

/// What ended here since the start, attempts and runs without a task together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Those that completed.
    pub completed: u64,
    /// Those that failed, in the order of [`FailureKind::ALL`].
    pub failed: [u64; FailureKind::ALL.len()],
    /// How long tasks waited.
    pub wait: Counts,
    /// How long guests ran.
    pub run: Counts,
}

impl Metrics {
    /// The counters now.
    pub fn tallies(&self) -> Tallies {
        let ((attempts, failed_attempts), (runs, failed_runs)) =
            (self.attempts.read(), self.runs.read());
        Tallies {
            completed: attempts + runs,
            failed: std::array::from_fn(|kind| failed_attempts[kind] + failed_runs[kind]),
            wait: self.waits.read(),
            run: self.durations.read(),
        }
    }
}
