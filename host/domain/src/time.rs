//! Instants as the product keeps them: milliseconds since the Unix epoch, UTC.
//!
//! Other modules read clocks and write RFC 3339; this one has only the arithmetic.

use std::time::Duration;

use uuid::{Builder, Uuid};

/// An instant, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The instant `duration` later; saturates at the end of time.
    pub fn plus(self, duration: Duration) -> Timestamp {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(millis))
    }

    /// The instant `duration` earlier; saturates at the beginning of time.
    pub fn minus(self, duration: Duration) -> Timestamp {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_sub(millis))
    }

    /// A UUIDv7: it begins with this instant, so that such names sort by time; the rest is
    /// `random`.
    pub fn uuid(self, random: &[u8; 10]) -> Uuid {
        let millis = u64::try_from(self.0).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, random).into_uuid()
    }

    /// How long after `earlier` this is; zero if it is earlier.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_added_to_and_told_apart() {
        let at = Timestamp::from_millis(1_000);
        assert_eq!(at.plus(Duration::from_millis(5)).as_millis(), 1_005);
        assert_eq!(at.minus(Duration::from_secs(2)).as_millis(), -1_000);
        assert_eq!(at.since(Timestamp::EPOCH), Duration::from_secs(1));
        assert_eq!(Timestamp::EPOCH.since(at), Duration::ZERO);
        let (first, last) = (i64::MIN, i64::MAX);
        assert_eq!(at.plus(Duration::MAX).as_millis(), last);
        assert_eq!(
            Timestamp::from_millis(-2).minus(Duration::MAX).as_millis(),
            first
        );
        let (first, last) = (Timestamp::from_millis(first), Timestamp::from_millis(last));
        assert_eq!(
            last.since(first).as_millis(),
            u128::from(i64::MAX.cast_unsigned())
        );
    }

    #[test]
    fn a_name_begins_with_its_instant() {
        let named = |millis| Timestamp::from_millis(millis).uuid(&[0xff; 10]).to_string();
        assert_eq!(
            named(0x0001_0203_0405),
            "00010203-0405-7fff-bfff-ffffffffffff"
        );
        assert_eq!(named(-1), "00000000-0000-7fff-bfff-ffffffffffff");
    }
}
