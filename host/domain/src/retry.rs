//! When a failed attempt is followed by another.

use std::time::Duration;

use crate::attempt::{Failure, FailureKind};

/// A task's retry policy.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// How many attempts the task gets in all; at least 1.
    pub max_attempts: u32,
    /// How often the task is run again because its host died under it. Such a loss is not the
    /// task's fault and does not use up `max_attempts`; 0 gives at-most-once execution.
    pub max_lost: u32,
    /// The wait before the second attempt.
    pub base: Duration,
    /// What each further wait is multiplied by.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
    /// Whether each wait is drawn from its upper half instead of taken whole.
    pub jitter: bool,
}

impl RetryPolicy {
    /// The most attempts a task may ask for.
    pub const ATTEMPTS_CEILING: u32 = 100;
    /// The longest wait between attempts a task may ask for.
    pub const WAIT_CEILING: Duration = Duration::from_secs(24 * 60 * 60);

    /// The wait after attempt number `attempt` (from 1). `random` is uniform in 0..1.
    pub fn wait_after(&self, attempt: u32, random: f64) -> Duration {
        // Nothing times an infinite factor would be no number, and then the longest wait.
        if self.base.is_zero() {
            return Duration::ZERO;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let whole = self.base.as_secs_f64() * self.factor.powi(exponent);
        let capped = whole.min(self.max.as_secs_f64());
        let drawn = if self.jitter {
            capped * (0.5 + random / 2.0)
        } else {
            capped
        };
        Duration::from_secs_f64(drawn)
    }
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 1,
            max_lost: 5,
            base: Duration::from_millis(1000),
            factor: 2.0,
            max: Duration::from_millis(16_000),
            jitter: true,
        }
    }
}

/// Whether another attempt could end differently. A limit that the same input always meets, and a
/// failure that the guest calls permanent, are not tried again.
pub fn is_worth_retrying(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::GuestError => failure.transient,
        FailureKind::Timeout
        | FailureKind::CpuExhausted
        | FailureKind::Trap
        | FailureKind::Exit
        | FailureKind::Lost
        | FailureKind::HostError => true,
        FailureKind::InvalidInput
        | FailureKind::Cancelled
        | FailureKind::Skipped
        | FailureKind::FuelExhausted
        | FailureKind::MemoryExceeded
        | FailureKind::StackOverflow
        | FailureKind::HostResourcesExceeded
        | FailureKind::DiskExceeded
        | FailureKind::OutputExceeded => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(jitter: bool) -> RetryPolicy {
        RetryPolicy {
            max_attempts: 5,
            jitter,
            ..RetryPolicy::default()
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<u64> = (1..=6)
            .map(|n| policy(false).wait_after(n, 0.9).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 16]);
        assert_eq!(policy(false).wait_after(u32::MAX, 0.0).as_secs(), 16);
    }

    #[test]
    fn jitter_stays_in_the_upper_half() {
        assert_eq!(policy(true).wait_after(3, 0.0), Duration::from_secs(2));
        assert!(policy(true).wait_after(3, 0.999) < Duration::from_secs(4));
    }

    #[test]
    fn no_wait_stays_none_however_often_it_is_multiplied() {
        let policy = RetryPolicy {
            base: Duration::ZERO,
            factor: 100.0,
            ..policy(false)
        };
        for attempt in [1, 2, 100, 1_000, u32::MAX] {
            assert_eq!(policy.wait_after(attempt, 0.0), Duration::ZERO);
        }
    }

    #[test]
    fn jitter_takes_a_wait_between_its_half_and_the_whole() {
        assert_eq!(policy(true).wait_after(1, 0.5), Duration::from_millis(750));
        assert_eq!(policy(true).wait_after(1, 1.0), Duration::from_secs(1));
    }

    #[test]
    fn what_always_ends_alike_is_not_tried_again() {
        let worth = |kind: FailureKind, transient: bool| {
            is_worth_retrying(&Failure {
                transient,
                ..Failure::new(kind, "")
            })
        };
        let worth_it = [
            FailureKind::Timeout,
            FailureKind::CpuExhausted,
            FailureKind::Trap,
            FailureKind::Exit,
            FailureKind::Lost,
            FailureKind::HostError,
        ];
        for kind in FailureKind::ALL {
            assert_eq!(worth(kind, false), worth_it.contains(&kind), "{kind:?}");
        }
        assert!(worth(FailureKind::GuestError, true));
        assert!(!worth(FailureKind::InvalidInput, true));
        assert_eq!(RetryPolicy::WAIT_CEILING, Duration::from_millis(86_400_000));
        assert_eq!(RetryPolicy::default().max_attempts, 1);
    }
}
