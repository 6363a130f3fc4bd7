//! Values as people write them: durations (`5s`, `250ms`, `2m`), sizes (`128MiB`, `64KiB`, `1GiB`), words.

use std::time::Duration;

use serde_json::{Value, json};

use cofferdam_domain::isolation::Isolation;

/// Reads a duration: a whole number and `ms`, `s`, `m` or `h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let factor_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a duration as 250ms, 5s, 2m or 1h".to_owned()),
    };
    times(number, factor_ms).map(Duration::from_millis)
}

/// Reads a size: a whole number and `B`, `KiB`, `MiB` or `GiB`, or plain bytes.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("write a size as 65536, 64KiB, 128MiB or 1GiB".to_owned()),
    };
    times(number, factor)
}

/// Reads a duration for a limit, which must be above 0.
pub(super) fn duration_limit(text: &str) -> Result<Duration, String> {
    duration(text).and_then(more_than_nothing)
}

/// Reads a size for a limit, which must be above 0.
pub(super) fn bytes_limit(text: &str) -> Result<u64, String> {
    bytes(text).and_then(more_than_nothing)
}

fn more_than_nothing<T: Default + PartialEq>(limit: T) -> Result<T, String> {
    match limit == T::default() {
        true => Err("a limit must be above 0".to_owned()),
        false => Ok(limit),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn times(number: &str, factor: u64) -> Result<u64, String> {
    let number: u64 = number
        .parse()
        .map_err(|_| "it must begin with a whole number".to_owned())?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "it is too large".to_owned())
}

/// A duration in the API's unit.
pub(super) fn millis(duration: Duration) -> Value {
    json!(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Reads an isolation.
pub(super) fn isolation(word: &str) -> Result<Isolation, String> {
    Isolation::parse(word).ok_or_else(|| "write shared, process or dedicated".to_owned())
}

/// Reads `K=V`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_more_than_nothing() {
        assert_eq!(bytes_limit("1"), Ok(1));
        assert_eq!(duration_limit("1ms"), Ok(Duration::from_millis(1)));
        assert!(bytes_limit("0MiB").is_err() && duration_limit("0s").is_err());
    }

    #[test]
    fn units_are_exact() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(bytes("128MiB"), Ok(128 << 20));
        assert_eq!(bytes("65536"), Ok(65536));
        for bad in ["", "5", "s", "-1s", "1.5s", "5sec"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in [
            "",
            "1MB",
            "MiB",
            "99999999999999999999GiB",
            "18446744073709551615KiB",
        ] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
