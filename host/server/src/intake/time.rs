//! Instants as text: RFC 3339.

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

use cofferdam_domain::time::Timestamp;

/// An instant, as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Time {
    /// Reads RFC 3339, with any offset.
    pub(crate) fn parse(text: &str) -> Result<Time, String> {
        match text.parse::<jiff::Timestamp>() {
            Ok(instant) => Ok(Time(Timestamp::from_millis(instant.as_millisecond()))),
            Err(_) => Err(format!(
                "{text:?} is not a time in RFC 3339, like 2026-01-31T12:00:00.000Z"
            )),
        }
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let instant = match jiff::Timestamp::from_millisecond(self.0.as_millis()) {
            Ok(instant) => instant,
            Err(_) if self.0 < Timestamp::EPOCH => jiff::Timestamp::MIN,
            Err(_) => jiff::Timestamp::MAX,
        };
        write!(f, "{instant:.3}")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Time, D::Error> {
        let text = String::deserialize(input)?;
        Time::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_milliseconds() {
        let time = Time::parse("2026-01-31T13:00:00+01:00").unwrap();
        assert_eq!(time.to_string(), "2026-01-31T12:00:00.000Z");
        assert_eq!(Time(Timestamp::from_millis(i64::MAX)).to_string().len(), 24);
        for bad in [
            "",
            "yesterday",
            "2026-01-31",
            "2026-13-01T00:00:00Z",
            "1700000000",
        ] {
            assert!(Time::parse(bad).is_err(), "{bad}");
        }
    }
}
