//! What an answer means, and when it is tried again. Everything here is computed from arguments.

use std::time::Duration;

use super::settings::CallbacksConfig;
use cofferdam_domain::callback::ERROR_BYTES_MAX;
use cofferdam_domain::said;
use cofferdam_domain::time::Timestamp;
use cofferdam_sandbox::egress::{Answer, EgressError};
use cofferdam_storage::Tried;

/// What a try says of the place it went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// It answers.
    Works,
    /// It does not, or asks to be left alone.
    Fails,
    /// Nothing: it was not reached because of a rule.
    Nothing,
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) says: Says,
    status: Option<u16>,
    error: String,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Delivered,
    GivenUp,
    Again { at_least: Duration },
}

/// The answer of a receiver that wants to hear no more of this.
const GONE: u16 = 410;

impl Verdict {
    pub(super) fn of(answer: Result<Answer, EgressError>) -> Verdict {
        match answer {
            Ok(answer) => Verdict::of_answer(answer),
            Err(error) => {
                let says = match error.is_refusal() {
                    true => Says::Nothing,
                    false => Says::Fails,
                };
                Verdict::missed(says, None, words(&error), Duration::ZERO)
            }
        }
    }

    /// A try that could not be made, for a reason of the sender's own.
    pub(super) fn unsent(error: String) -> Verdict {
        Verdict::missed(Says::Nothing, None, error, Duration::ZERO)
    }

    fn of_answer(answer: Answer) -> Verdict {
        let Answer {
            status,
            retry_after,
        } = answer;
        let at_least = retry_after.unwrap_or_default();
        let missed = |says, why: &str| {
            let error = format!("the answer was {status}{why}");
            Verdict::missed(says, Some(status), error, at_least)
        };
        match status {
            200..=299 => Verdict {
                says: Says::Works,
                status: Some(status),
                error: String::new(),
                then: Then::Delivered,
            },
            GONE => Verdict {
                then: Then::GivenUp,
                ..missed(Says::Works, ", which says that nobody wants to know")
            },
            300..=399 => missed(Says::Works, ", and redirects are not followed"),
            408 | 425 | 429 | 500.. => missed(Says::Fails, ""),
            _ => missed(Says::Works, ""),
        }
    }

    fn missed(says: Says, status: Option<u16>, error: String, at_least: Duration) -> Verdict {
        Verdict {
            says,
            status,
            error: said::cut(error, ERROR_BYTES_MAX),
            then: Then::Again { at_least },
        }
    }

    /// Why it did not arrive.
    pub(super) fn error(&self) -> &str {
        &self.error
    }

    /// What is recorded of the try after `tries` others; `jittered` shortens a wait by chance.
    pub(super) fn tried(
        self,
        config: &CallbacksConfig,
        (tries, since, now): (u32, Timestamp, Timestamp),
        jittered: impl FnOnce(Duration) -> Duration,
    ) -> Tried {
        let next = match self.then {
            Then::Delivered => {
                return Tried::Delivered {
                    status: self.status.unwrap_or_default(),
                };
            }
            Then::GivenUp => None,
            Then::Again { at_least } => {
                let wait = jittered(backoff(config, tries));
                let at = now.plus(wait.max(at_least.min(config.retry_max)));
                (at <= since.plus(config.retry_for)).then_some(at)
            }
        };
        Tried::Missed {
            status: self.status,
            error: self.error,
            next,
        }
    }
}

/// The longest wait after so many tries and one more.
fn backoff(config: &CallbacksConfig, tries: u32) -> Duration {
    let factor = 1_u32.checked_shl(tries).unwrap_or(u32::MAX);
    config
        .retry_base
        .saturating_mul(factor)
        .min(config.retry_max)
}

/// An error in words that tell whoever submitted the task no addresses.
fn words(error: &EgressError) -> String {
    match error {
        EgressError::Prohibited { place, what, .. } => {
            format!("{place} has an address that is {what}; such addresses are not reached")
        }
        EgressError::NotGranted { .. } => "it could not be granted".to_owned(),
        EgressError::NotAllowed(place) => {
            format!("this host's operator does not list {place} in [callbacks] allow")
        }
        EgressError::Requests(_) | EgressError::InBytes(_) | EgressError::OutBytes(_) => {
            "the exchange was too large".to_owned()
        }
        EgressError::PlainSecret(_)
        | EgressError::BadSecret { .. }
        | EgressError::NotTenants(_)
        | EgressError::BadTarget(_)
        | EgressError::BadMethod(_)
        | EgressError::NoSuchHost(_)
        | EgressError::NotResolved(_)
        | EgressError::NotConnected(..)
        | EgressError::ConnectTimeout(..)
        | EgressError::Tls(..)
        | EgressError::Certificate(..)
        | EgressError::Timeout(_)
        | EgressError::Head(_)
        | EgressError::Incomplete
        | EgressError::Protocol(_) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Timestamp = Timestamp::from_millis(1_000_000);

    fn answer(status: u16, retry_after: Option<u64>) -> Verdict {
        Verdict::of(Ok(Answer {
            status,
            retry_after: retry_after.map(Duration::from_secs),
        }))
    }

    /// When it is tried again, in seconds after the first try; `None` if never.
    fn next(verdict: Verdict, tries: u32, after: u64) -> Option<u64> {
        let now = SINCE.plus(Duration::from_secs(after));
        let config = CallbacksConfig::default();
        match verdict.tried(&config, (tries, SINCE, now), |wait| wait) {
            Tried::Missed { next, .. } => next.map(|next| next.since(SINCE).as_secs()),
            other @ (Tried::Held(_) | Tried::Delivered { .. }) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_says_whether_the_place_works() {
        for (status, says) in [
            (200, Says::Works),
            (204, Says::Works),
            (302, Says::Works),
            (400, Says::Works),
            (404, Says::Works),
            (410, Says::Works),
            (408, Says::Fails),
            (429, Says::Fails),
            (500, Says::Fails),
            (503, Says::Fails),
            (999, Says::Fails),
        ] {
            let verdict = answer(status, None);
            assert_eq!(verdict.says, says, "{status}");
            let delivered = Tried::Delivered { status };
            let tried = verdict.tried(&CallbacksConfig::default(), (0, SINCE, SINCE), |it| it);
            assert_eq!(tried == delivered, (200..300).contains(&status), "{status}");
        }
    }

    #[test]
    fn waits_double_until_a_day_is_over() {
        let waits = |tries| next(answer(500, None), tries, 0);
        assert_eq!([0, 1, 2].map(waits), [Some(5), Some(10), Some(20)]);
        assert_eq!([10, 31, 32, 4_000_000].map(waits), [Some(3600); 4]);
        assert_eq!(next(answer(410, None), 0, 0), None);
        let day = 24 * 60 * 60;
        assert_eq!(next(answer(500, None), 0, day - 5), Some(day));
        assert_eq!(next(answer(500, None), 0, day - 4), None);
    }

    #[test]
    fn who_asks_for_patience_gets_some() {
        assert_eq!(next(answer(503, Some(60)), 0, 0), Some(60));
        assert_eq!(next(answer(503, Some(1)), 0, 0), Some(5));
        assert_eq!(next(answer(503, Some(u64::MAX)), 0, 0), Some(3600));
    }

    #[test]
    fn errors_are_short_and_name_no_address() {
        let prohibited = EgressError::Prohibited {
            place: "a.example:80".to_owned(),
            address: [10, 1, 2, 3].into(),
            what: "private",
        };
        let verdict = Verdict::of(Err(prohibited));
        assert_eq!(verdict.says, Says::Nothing);
        assert!(verdict.error.contains("private") && !verdict.error.contains("10.1"));
        let long = EgressError::Protocol("x".repeat(10_000));
        let verdict = Verdict::of(Err(long));
        assert_eq!(verdict.says, Says::Fails);
        assert!(verdict.error.len() <= ERROR_BYTES_MAX + 64);
        let late = EgressError::Timeout(Duration::from_secs(3));
        assert_eq!(Verdict::of(Err(late)).says, Says::Fails);
    }
}
