//! Rates: how many requests a key or a tenant may make in a stretch of time.
//!
//! Here is what a rate says and how it is written. Whoever answers requests counts them.

use core::num::NonZeroU32;
use std::fmt;
use std::time::Duration;

/// So many requests in a stretch of time, and how many of them may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    number: NonZeroU32,
    per: Period,
    burst: NonZeroU32,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl Period {
    /// Every period.
    pub const ALL: [Period; 3] = [Period::Second, Period::Minute, Period::Hour];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Period::Second => "second",
            Period::Minute => "minute",
            Period::Hour => "hour",
        }
    }

    /// How long it is.
    pub const fn duration(self) -> Duration {
        match self {
            Period::Second => Duration::from_secs(1),
            Period::Minute => Duration::from_secs(60),
            Period::Hour => Duration::from_secs(60 * 60),
        }
    }
}

/// The text or the burst is not that of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rate is N/second, N/minute or N/hour with a whole number from 1 to {}",
    Rate::NUMBER_MAX
)]
pub struct BadRate;

impl Rate {
    /// The most requests in a period, and the largest burst.
    pub const NUMBER_MAX: u32 = 1_000_000;

    /// Reads `N/second`, `N/minute` or `N/hour`. Without a burst a whole period's requests may come at
    /// once.
    pub fn parse(text: &str, burst: Option<u32>) -> Result<Rate, BadRate> {
        let (number, period) = text.split_once('/').ok_or(BadRate)?;
        let per = Period::ALL.into_iter().find(|per| per.as_str() == period);
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u32> = number.parse().ok().filter(|_| is_plain);
        let bounded =
            |number: u32| (number <= Rate::NUMBER_MAX).then(|| NonZeroU32::new(number))?;
        let number = number.and_then(bounded).ok_or(BadRate)?;
        let burst = burst.map_or(Some(number), bounded);
        Ok(Rate {
            number,
            per: per.ok_or(BadRate)?,
            burst: burst.ok_or(BadRate)?,
        })
    }

    /// How many requests in a period.
    pub fn number(self) -> NonZeroU32 {
        self.number
    }

    /// The period.
    pub fn per(self) -> Period {
        self.per
    }

    /// How many of them may come at once.
    pub fn burst(self) -> NonZeroU32 {
        self.burst
    }
}

/// As [`Rate::parse`] reads it, without the burst.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.per.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_written_as_it_was_read() {
        for text in ["1/second", "100/minute", "1000000/hour"] {
            let rate = Rate::parse(text, None).unwrap();
            assert_eq!(rate.to_string(), text);
            assert_eq!(rate.burst(), rate.number());
        }
        let rate = Rate::parse("10/minute", Some(30)).unwrap();
        assert_eq!((rate.number().get(), rate.burst().get()), (10, 30));
        assert_eq!(rate.per().duration(), Duration::from_secs(60));
        let lengths = Period::ALL.map(|per| per.duration().as_secs());
        assert_eq!(lengths, [1, 60, 3600]);
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in [
            "",
            "/",
            "10",
            "10/",
            "/second",
            "0/second",
            "-1/second",
            "+1/second",
            "1.5/second",
            "10/day",
            "10/Second",
            "10 /second",
            "1000001/second",
            "99999999999/hour",
        ] {
            assert_eq!(Rate::parse(text, None), Err(BadRate), "{text}");
        }
        for burst in [0, 1_000_001] {
            assert_eq!(Rate::parse("1/second", Some(burst)), Err(BadRate));
        }
    }
}
