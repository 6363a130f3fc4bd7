//! The retry policy in a caller's request.

use std::time::Duration;

use crate::intake::json::Whole;
use crate::intake::refused::Refused;
use cofferdam_domain::retry::RetryPolicy;

/// The longest wait between attempts in the API's unit: [`RetryPolicy::WAIT_CEILING`].
const WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// The most attempts as the API's number type: [`RetryPolicy::ATTEMPTS_CEILING`].
const ATTEMPTS_MAX: u64 = 100;
/// What each further wait may be multiplied by.
const FACTORS: std::ops::RangeInclusive<f64> = 1.0..=100.0;

/// The retry policy.
#[derive(Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryJson {
    /// Attempts in all.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100)]
    max_attempts: Option<Whole<1, ATTEMPTS_MAX>>,
    /// How often it is run again because its host died.
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 100)]
    max_lost: Option<Whole<0, ATTEMPTS_MAX>>,
    /// The wait before the second attempt.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 86_400_000)]
    base_ms: Option<Whole<0, WAIT_MS_MAX>>,
    /// What each further wait is multiplied by, 1 to 100.
    #[schema(minimum = 1, maximum = 100)]
    factor: Option<f64>,
    /// The longest wait.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 86_400_000)]
    max_ms: Option<Whole<0, WAIT_MS_MAX>>,
    /// Whether each wait is drawn from its upper half.
    jitter: Option<bool>,
}

impl RetryJson {
    /// The policy, with defaults for what is absent.
    pub(super) fn into_policy(self) -> Result<RetryPolicy, Refused> {
        let default = RetryPolicy::default();
        let factor = self.factor.unwrap_or(default.factor);
        if !FACTORS.contains(&factor) {
            let (low, high) = (FACTORS.start(), FACTORS.end());
            let detail = format!("{factor} is not a number from {low} to {high}");
            return Err(Refused::field("retry.factor", detail));
        }
        let count = |asked: Option<u64>, default: u32| {
            asked
                .and_then(|asked| u32::try_from(asked).ok())
                .unwrap_or(default)
        };
        Ok(RetryPolicy {
            max_attempts: count(self.max_attempts.map(|n| n.0), default.max_attempts),
            max_lost: count(self.max_lost.map(|n| n.0), default.max_lost),
            base: self
                .base_ms
                .map_or(default.base, |n| Duration::from_millis(n.0)),
            factor,
            max: self
                .max_ms
                .map_or(default.max, |n| Duration::from_millis(n.0)),
            jitter: self.jitter.unwrap_or(default.jitter),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceilings_are_those_of_the_domain() {
        assert_eq!(
            Duration::from_millis(WAIT_MS_MAX),
            RetryPolicy::WAIT_CEILING
        );
        assert_eq!(ATTEMPTS_MAX, u64::from(RetryPolicy::ATTEMPTS_CEILING));
    }
}
