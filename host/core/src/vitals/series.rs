//! What the figures were: a point every five seconds for an hour, and one a minute for a day.
//!
//! The points are in memory and bounded in number; a restart begins anew. They are of the whole host: what one
//! tenant has is in storage's counters.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::telemetry::metrics::Tallies;
use crate::telemetry::spread::Counts;
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::time::Timestamp;

/// The thousandths of the percentiles that are kept.
pub const QUANTILES: [u64; 3] = [500, 950, 990];

/// How far apart points are, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Five seconds, for an hour.
    Fine,
    /// A minute, for a day.
    Coarse,
}

impl Step {
    /// Both.
    pub const ALL: [Step; 2] = [Step::Fine, Step::Coarse];

    /// How far apart points are.
    pub const fn duration(self) -> Duration {
        match self {
            Step::Fine => Duration::from_secs(5),
            Step::Coarse => Duration::from_secs(60),
        }
    }

    /// How many are kept.
    pub const fn points_max(self) -> usize {
        match self {
            Step::Fine => 720,
            Step::Coarse => 1440,
        }
    }
}

/// What happened in one step, and how it was at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The end of the step.
    pub at: Timestamp,
    /// Attempts and runs that completed.
    pub completed: u64,
    /// Those that failed, in the order of [`FailureKind::ALL`].
    pub failed: [u64; FailureKind::ALL.len()],
    /// Microseconds that tasks waited, by [`QUANTILES`]; none if none was claimed.
    pub wait_us: Option<[u64; QUANTILES.len()]>,
    /// Microseconds that attempts and runs took.
    pub run_us: Option<[u64; QUANTILES.len()]>,
    /// The levels at its end.
    pub levels: Levels,
}

/// How it is at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Attempts that run.
    pub active: u64,
    /// Attempts that may.
    pub slots: u64,
    /// Tasks that wait, over all hosts; unknown until it was read.
    pub pending: Option<u64>,
    /// The host's memory.
    pub memory_bytes: u64,
    /// What that may become.
    pub memory_limit_bytes: u64,
}

/// Both series.
#[derive(Debug)]
pub(super) struct Series([Ring; 2]);

#[derive(Debug)]
struct Ring {
    step: Step,
    points: VecDeque<Point>,
    /// When the step began that goes on.
    since: Instant,
    /// The counters then.
    before: Tallies,
}

impl Series {
    /// None so far.
    pub(super) fn new(now: Instant, tallies: &Tallies) -> Series {
        Series(Step::ALL.map(|step| Ring {
            step,
            points: VecDeque::new(),
            since: now,
            before: tallies.clone(),
        }))
    }

    /// Takes a look at the counters and the levels.
    pub(super) fn look(&mut self, now: Instant, at: Timestamp, tallies: &Tallies, levels: Levels) {
        for ring in &mut self.0 {
            ring.look(now, at, tallies, levels);
        }
    }

    /// The newest points of a step, the oldest first.
    pub(super) fn newest(&self, step: Step, most: usize) -> Vec<Point> {
        let points = &self.0[step as usize].points;
        let left_out = points.len().saturating_sub(most);
        points.iter().skip(left_out).cloned().collect()
    }
}

impl Ring {
    fn look(&mut self, now: Instant, at: Timestamp, tallies: &Tallies, levels: Levels) {
        let passed = now.saturating_duration_since(self.since);
        if passed < self.step.duration() {
            return;
        }
        let before = &self.before;
        let quantiles = |counts: &Counts| {
            let found = QUANTILES.map(|thousandths| counts.quantile(thousandths));
            let [Some(low), Some(middle), Some(high)] = found else {
                return None;
            };
            Some([low, middle, high])
        };
        let point = Point {
            at,
            completed: tallies.completed - before.completed,
            failed: std::array::from_fn(|kind| tallies.failed[kind] - before.failed[kind]),
            wait_us: quantiles(&tallies.wait.since(&before.wait)),
            run_us: quantiles(&tallies.run.since(&before.run)),
            levels,
        };
        if self.points.len() >= self.step.points_max() {
            self.points.pop_front();
        }
        self.points.push_back(point);
        // Steps that were missed, because the machine stood still, have no points.
        let steps = passed.as_millis() / self.step.duration().as_millis();
        self.since += self.step.duration() * u32::try_from(steps).unwrap_or(u32::MAX);
        self.before = tallies.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tallies(completed: u64) -> Tallies {
        Tallies {
            completed,
            ..Tallies::default()
        }
    }

    #[test]
    fn a_point_has_what_happened_in_its_step_and_the_oldest_go() {
        let (start, levels) = (Instant::now(), Levels::default());
        let mut series = Series::new(start, &tallies(100));
        let seconds = |second: u64| {
            let at = Timestamp::from_millis(i64::try_from(second).unwrap() * 1000);
            (start + Duration::from_secs(second), at)
        };
        for second in 1..=10_000 {
            let (now, at) = seconds(second);
            series.look(now, at, &tallies(100 + second), levels);
        }
        let fine = series.newest(Step::Fine, usize::MAX);
        assert_eq!(fine.len(), Step::Fine.points_max());
        assert!(fine.iter().all(|point| point.completed == 5));
        assert_eq!(fine.last().unwrap().at.as_millis(), 10_000_000);
        assert_eq!(series.newest(Step::Fine, 3), fine[fine.len() - 3..]);
        let coarse = series.newest(Step::Coarse, usize::MAX);
        assert_eq!(coarse.len(), 10_000 / 60);
        assert!(coarse.iter().all(|point| point.completed == 60));
    }

    #[test]
    fn a_look_that_comes_late_makes_one_point() {
        let start = Instant::now();
        let mut series = Series::new(start, &tallies(0));
        let levels = Levels {
            active: 7,
            ..Levels::default()
        };
        let late = start + Duration::from_secs(33);
        series.look(late, Timestamp::EPOCH, &tallies(9), levels);
        let points = series.newest(Step::Fine, 10);
        assert_eq!((points.len(), points[0].completed), (1, 9));
        assert_eq!(points[0].levels, levels);
        assert_eq!(points[0].wait_us, None);
        let next = start + Duration::from_secs(35);
        series.look(next, Timestamp::EPOCH, &tallies(9), levels);
        assert_eq!(series.newest(Step::Fine, 10).len(), 2);
    }
}
