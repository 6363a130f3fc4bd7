//! The instants of a schedule: which are due, and which is next.
//!
//! It is pure: whoever asks says what time it is. The clock of a time zone that jumps over an instant lets a
//! fixed time of day happen right after the jump, and one that goes back lets it happen once; patterns with
//! wildcards or steps follow the hours as they really pass (crate croner).

use std::time::Duration;

use croner::Cron;
use croner::parser::CronParser;
use jiff::tz::TimeZone;
use jiff::{Timestamp as Instant, Zoned};

use cofferdam_domain::schedule::{CatchUp, Timetable};
use cofferdam_domain::time::Timestamp;

/// The longest cron pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 256;
/// The shortest and the longest interval.
pub const EVERY: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 60 * 60);
/// How late an instant may be noticed without having been missed.
pub const LATE_MAX: Duration = Duration::from_secs(60);
/// The most instants that are made up for at once; the others follow.
const AT_ONCE_MAX: usize = 100;

/// A timetable that can be read.
#[derive(Clone, Debug)]
pub struct Readable(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Cron { cron: Box<Cron>, zone: TimeZone },
    Every(Duration),
}

/// Why a timetable cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The pattern is none.
    #[error("not a cron pattern: {0}")]
    Pattern(String),
    /// There is no such time zone.
    #[error("not a time zone of the IANA database, such as Europe/Berlin or UTC")]
    Zone,
    /// The interval is too short or too long.
    #[error("must be from 1000 to 31622400000")]
    Interval,
    /// It has no instant from now on.
    #[error("the pattern has no instant from now on")]
    Never,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Fire for each of these, in this order.
    pub fire: Vec<Timestamp>,
    /// The instant after them; none if there is no more.
    pub next: Option<Timestamp>,
}

impl Readable {
    /// Reads a timetable.
    pub fn of(timetable: &Timetable) -> Result<Readable, Unreadable> {
        match timetable {
            Timetable::Every(interval) if EVERY.contains(interval) => {
                Ok(Readable(Kind::Every(*interval)))
            }
            Timetable::Every(_) => Err(Unreadable::Interval),
            Timetable::Cron { pattern, time_zone } => {
                let zone = TimeZone::get(time_zone).map_err(|_unknown| Unreadable::Zone)?;
                if pattern.len() > PATTERN_BYTES_MAX {
                    let why = format!("it has more than {PATTERN_BYTES_MAX} bytes");
                    return Err(Unreadable::Pattern(why));
                }
                let cron = CronParser::new().parse(pattern);
                let cron = cron.map_err(|error| Unreadable::Pattern(error.to_string()))?;
                Ok(Readable(Kind::Cron {
                    cron: Box::new(cron),
                    zone,
                }))
            }
        }
    }

    /// The first instant after `after`; none if there is no more.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            Kind::Every(interval) => Some(after.plus(*interval)),
            Kind::Cron { cron, zone } => {
                let found = cron.find_next_occurrence(&zoned(after, zone)?, false);
                found.ok().map(|found| stamp(&found))
            }
        }
    }

    /// The next `count` instants, of which `next` is the first.
    pub fn upcoming(&self, next: Option<Timestamp>, count: usize) -> Vec<Timestamp> {
        std::iter::successors(next, |last| self.next(*last))
            .take(count)
            .collect()
    }

    /// What is to be done at `now`, where `planned` is the instant that was next.
    pub fn due(&self, planned: Timestamp, now: Timestamp, catch_up: CatchUp) -> Due {
        if planned > now {
            return Due {
                fire: Vec::new(),
                next: Some(planned),
            };
        }
        if catch_up == CatchUp::All {
            let mut fire: Vec<Timestamp> = self.upcoming(Some(planned), AT_ONCE_MAX + 1);
            fire.retain(|instant| *instant <= now);
            fire.truncate(AT_ONCE_MAX);
            let next = fire.last().and_then(|last| self.next(*last));
            return Due { fire, next };
        }
        let last = self.last(planned, now);
        let missed = last.plus(LATE_MAX) < now;
        Due {
            fire: match catch_up == CatchUp::None && missed {
                true => Vec::new(),
                false => vec![last],
            },
            next: self.next(last),
        }
    }

    /// The last instant up to `now`, which is not before `planned`.
    fn last(&self, planned: Timestamp, now: Timestamp) -> Timestamp {
        let last = match &self.0 {
            Kind::Every(interval) => {
                let passed = now.since(planned).as_millis() / interval.as_millis().max(1);
                let passed = u32::try_from(passed).unwrap_or(u32::MAX);
                Some(planned.plus(interval.saturating_mul(passed)))
            }
            Kind::Cron { cron, zone } => zoned(now, zone).and_then(|now| {
                let found = cron.find_previous_occurrence(&now, true);
                found.ok().map(|found| stamp(&found))
            }),
        };
        last.unwrap_or(planned).max(planned)
    }
}

fn zoned(at: Timestamp, zone: &TimeZone) -> Option<Zoned> {
    let at = Instant::from_millisecond(at.as_millis()).ok()?;
    Some(at.to_zoned(zone.clone()))
}

fn stamp(at: &Zoned) -> Timestamp {
    Timestamp::from_millis(at.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(pattern: &str, zone: &str) -> Result<Readable, Unreadable> {
        Readable::of(&Timetable::Cron {
            pattern: pattern.to_owned(),
            time_zone: zone.to_owned(),
        })
    }

    fn at(text: &str) -> Timestamp {
        let instant: Instant = text.parse().unwrap();
        Timestamp::from_millis(instant.as_millisecond())
    }

    fn told(instants: &[Timestamp]) -> Vec<String> {
        let text = |at: &Timestamp| Instant::from_millisecond(at.as_millis()).unwrap();
        instants.iter().map(|at| text(at).to_string()).collect()
    }

    /// The next three instants of a pattern in Berlin.
    fn in_berlin(pattern: &str, after: &str) -> Vec<String> {
        let table = cron(pattern, "Europe/Berlin").unwrap();
        told(&table.upcoming(table.next(at(after)), 3))
    }

    #[test]
    fn a_fixed_time_happens_once_on_each_day_whatever_clocks_do() {
        // 02:30 does not exist on 29 March 2026, and exists twice on 25 October.
        let spring = in_berlin("30 2 * * *", "2026-03-28T12:00:00Z");
        let expected = [
            "2026-03-29T01:00:00Z",
            "2026-03-30T00:30:00Z",
            "2026-03-31T00:30:00Z",
        ];
        assert_eq!(spring, expected);
        let autumn = in_berlin("30 2 * * *", "2026-10-24T12:00:00Z");
        let expected = [
            "2026-10-25T00:30:00Z",
            "2026-10-26T01:30:00Z",
            "2026-10-27T01:30:00Z",
        ];
        assert_eq!(autumn, expected);
    }

    #[test]
    fn a_step_follows_the_hours_as_they_pass() {
        let spring = in_berlin("0 * * * *", "2026-03-29T00:00:00Z");
        let expected = [
            "2026-03-29T01:00:00Z",
            "2026-03-29T02:00:00Z",
            "2026-03-29T03:00:00Z",
        ];
        assert_eq!(spring, expected);
        let autumn = in_berlin("*/30 * * * *", "2026-10-25T00:15:00Z");
        let expected = [
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
        ];
        assert_eq!(autumn, expected);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for bad in ["", "* * * *", "61 * * * *", "a b c d e", &"1,".repeat(200)] {
            let refused = cron(bad, "UTC");
            assert!(
                matches!(refused, Err(Unreadable::Pattern(_))),
                "{bad}: {refused:?}"
            );
        }
        assert_eq!(
            cron("* * * * *", "Mars/Olympus").err(),
            Some(Unreadable::Zone)
        );
        assert_eq!(
            cron("0 0 31 2 *", "UTC")
                .unwrap()
                .next(at("2026-01-01T00:00:00Z")),
            None
        );
        for interval in [0, 999, 31_622_400_001] {
            let every = Timetable::Every(Duration::from_millis(interval));
            assert_eq!(Readable::of(&every).err(), Some(Unreadable::Interval));
        }
    }

    #[test]
    fn missed_instants_are_made_up_for_as_the_schedule_says() {
        let hourly = cron("0 * * * *", "UTC").unwrap();
        let planned = at("2026-05-01T10:00:00Z");
        let due = |now, catch_up| {
            let due = hourly.due(planned, at(now), catch_up);
            (
                told(&due.fire),
                told(&due.next.into_iter().collect::<Vec<_>>()),
            )
        };
        let next = |hour: &str| vec![format!("2026-05-01T{hour}:00:00Z")];
        // It is not yet, or just is, time for it.
        for catch_up in CatchUp::ALL {
            assert_eq!(due("2026-05-01T09:59:59Z", catch_up), (vec![], next("10")));
            assert_eq!(
                due("2026-05-01T10:00:01Z", catch_up),
                (next("10"), next("11"))
            );
        }
        // Nobody was there for three and a half hours.
        let now = "2026-05-01T13:30:00Z";
        assert_eq!(due(now, CatchUp::None), (vec![], next("14")));
        assert_eq!(due(now, CatchUp::One), (next("13"), next("14")));
        let all = ["10", "11", "12", "13"].map(|hour| next(hour).remove(0));
        assert_eq!(due(now, CatchUp::All), (all.to_vec(), next("14")));
        // The last one was just noticed late.
        assert_eq!(
            due("2026-05-01T13:00:30Z", CatchUp::None),
            (next("13"), next("14"))
        );
    }

    #[test]
    fn a_year_of_missed_seconds_is_made_up_for_in_parts() {
        let seconds = Readable::of(&Timetable::Every(Duration::from_secs(1))).unwrap();
        let (planned, now) = (at("2025-05-01T10:00:00Z"), at("2026-05-01T10:00:00Z"));
        let due = seconds.due(planned, now, CatchUp::All);
        assert_eq!(due.fire.len(), AT_ONCE_MAX);
        assert_eq!(
            due.next,
            Some(planned.plus(Duration::from_secs(AT_ONCE_MAX as u64)))
        );
        let due = seconds.due(planned, now, CatchUp::One);
        assert_eq!(told(&due.fire), ["2026-05-01T10:00:00Z"]);
        assert_eq!(due.next, Some(now.plus(Duration::from_secs(1))));
    }
}
