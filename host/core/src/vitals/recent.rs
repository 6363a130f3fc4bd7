//! What a figure did lately: how much a count or a level rose over a span of time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Readings that are kept. They come once a second, so that is as far as a span may go.
const READINGS_MAX: usize = 301;

/// The readings of one figure over a span.
#[derive(Debug)]
pub(super) struct Recent {
    span: Duration,
    readings: VecDeque<(Instant, u64)>,
}

impl Recent {
    pub(super) fn over(span: Duration) -> Recent {
        Recent {
            span,
            readings: VecDeque::new(),
        }
    }

    /// Takes a reading; says how much more that is than at the beginning of the span, and how long ago that
    /// beginning is. Less is no rise.
    pub(super) fn rise(&mut self, now: Instant, reading: u64) -> (u64, Duration) {
        self.readings.push_back((now, reading));
        // One that is as old as the span stays, to compare with.
        while self.readings.len() > READINGS_MAX || self.second_is_old_enough(now) {
            self.readings.pop_front();
        }
        let first = self.readings.front().copied();
        let (began, first) = first.unwrap_or((now, reading));
        (
            reading.saturating_sub(first),
            now.saturating_duration_since(began),
        )
    }

    fn second_is_old_enough(&self, now: Instant) -> bool {
        let second = self.readings.get(1);
        second.is_some_and(|(at, _)| now.saturating_duration_since(*at) >= self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_span_counts_and_few_readings_are_kept() {
        let start = Instant::now();
        let mut recent = Recent::over(Duration::from_secs(10));
        let mut rise = |second, reading| {
            let now = start + Duration::from_secs(second);
            (recent.rise(now, reading), recent.readings.len())
        };
        let seconds = Duration::from_secs;
        assert_eq!(rise(0, 100), ((0, seconds(0)), 1));
        assert_eq!(rise(5, 150), ((50, seconds(5)), 2));
        assert_eq!(rise(10, 190), ((90, seconds(10)), 3));
        // Of those that are older than the span one is left.
        assert_eq!(rise(17, 200), ((50, seconds(12)), 3));
        assert_eq!(rise(60, 120), ((0, seconds(43)), 2));
        for _ in 0..1000 {
            assert!(rise(61, 1).1 <= READINGS_MAX);
        }
    }
}
