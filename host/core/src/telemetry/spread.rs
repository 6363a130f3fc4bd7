//! How durations are spread: a histogram from which percentiles of any interval can be computed.
//!
//! Buckets are an eighth of a power of two wide, so a percentile is off by a sixteenth at most. Recording is one
//! atomic addition; the counts only grow, and an interval is the difference of two readings.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets for each power of two.
const PARTS: usize = 8;
/// Up to 2³⁷ µs, which is a day and a half; what is longer counts as that.
const BUCKETS: usize = 36 * PARTS;

/// The histogram.
#[derive(Debug)]
pub struct Spread(Box<[AtomicU64; BUCKETS]>);

/// The counts at one moment, or over an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts(Box<[u64; BUCKETS]>);

impl Spread {
    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0[bucket(micros)].fetch_add(1, Relaxed);
    }

    /// The counts so far.
    pub fn read(&self) -> Counts {
        Counts(Box::new(std::array::from_fn(|place| {
            self.0[place].load(Relaxed)
        })))
    }
}

impl Default for Spread {
    fn default() -> Spread {
        Spread(Box::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl Default for Counts {
    fn default() -> Counts {
        Counts(Box::new([0; BUCKETS]))
    }
}

impl Counts {
    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Counts) -> Counts {
        Counts(Box::new(std::array::from_fn(|place| {
            self.0[place].saturating_sub(earlier.0[place])
        })))
    }

    /// The duration in microseconds that so many thousandths are not above; none if nothing was counted.
    pub fn quantile(&self, thousandths: u64) -> Option<u64> {
        let all: u64 = self.0.iter().sum();
        if all == 0 {
            return None;
        }
        let rank = (all * thousandths).div_ceil(1000).max(1);
        let mut below = 0;
        let place = self.0.iter().position(|count| {
            below += count;
            below >= rank
        });
        place.map(middle)
    }
}

/// The bucket of a duration: below [`PARTS`] each microsecond has one.
fn bucket(micros: u64) -> usize {
    let Some(power) = micros.checked_ilog2().filter(|power| *power >= 3) else {
        return usize::try_from(micros).unwrap_or(0);
    };
    let part = (micros >> (power - 3)) & 7;
    let place = (power as usize - 2) * PARTS + usize::try_from(part).unwrap_or(0);
    place.min(BUCKETS - 1)
}

/// The middle of a bucket.
fn middle(place: usize) -> u64 {
    if place < PARTS {
        return place as u64;
    }
    let (power, part) = (place / PARTS + 2, (place % PARTS) as u64);
    let width = 1_u64 << (power - 3);
    (1_u64 << power) + part * width + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let spread = Spread::default();
        assert_eq!(spread.read().quantile(500), None);
        for micros in 1..=1000 {
            spread.record(Duration::from_micros(micros));
        }
        let first = spread.read();
        for (thousandths, exact) in [(500, 500.0), (950, 950.0), (990, 990.0)] {
            let found = first.quantile(thousandths).unwrap();
            let off = (found as f64 - exact).abs() / exact;
            assert!(off < 1.0 / 16.0, "{thousandths}: {found}");
        }
        for _ in 0..10 {
            spread.record(Duration::from_secs(3));
        }
        let lately = spread.read().since(&first);
        let found = lately.quantile(10).unwrap();
        assert!((2_800_000..3_200_000).contains(&found), "{found}");
        assert_eq!(lately.quantile(1000), Some(found));
    }

    #[test]
    fn every_duration_has_a_bucket_and_they_are_in_order() {
        let mut last = 0;
        for micros in (0..10_000).chain([1 << 20, 1 << 30, 1 << 36, 1 << 37, u64::MAX]) {
            let place = bucket(micros);
            assert!(place >= last && place < BUCKETS, "{micros}");
            last = place;
        }
        for micros in 0..PARTS as u64 {
            assert_eq!(middle(bucket(micros)), micros);
        }
    }
}
