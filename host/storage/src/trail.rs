//! The audit trail: notes in the order in which they were kept, each with the hash of the one before.
//!
//! `chain` has the hashes; `walk` verifies them.

mod chain;
mod walk;

use std::time::Duration;

use async_trait::async_trait;

use crate::StorageError;
use cofferdam_domain::audit::{Note, Text};
use cofferdam_domain::time::Timestamp;

pub use self::chain::{BadLink, Broken, Fault};
pub(crate) use self::chain::{after, pruned};
pub use self::walk::{Verified, walk};

/// Notes that are appended at once.
pub const NOTES_MAX: usize = 64;
/// Entries that one page looks at, however few of them are wanted.
pub const LOOKED_AT_MAX: u64 = 20_000;
/// Entries that one call removes.
pub const PRUNED_MAX: u64 = 1000;

/// The audit trail. Durable as [`Tasks`](crate::Tasks) are; one for all hosts of a database, whose order is
/// the database's. What was appended is never changed, and goes by [`Trail::shorten`] alone; the database
/// itself refuses everything else.
#[async_trait]
pub trait Trail: Send + Sync + 'static {
    /// Appends notes in their order. One that was appended before is left as it is, so that a call whose
    /// answer was lost can be repeated. At most [`NOTES_MAX`] of them.
    async fn append(&self, notes: Vec<Note>) -> Result<(), StorageError>;

    /// Entries, and where the trail begins and ends.
    async fn entries(&self, wanted: &Wanted, limit: u32) -> Result<TrailPage, StorageError>;

    /// Removes entries from before `kept_since`, and the oldest beyond `rows_max`: at most [`PRUNED_MAX`], oldest
    /// first. What was removed last is noted by an entry that is appended with it, made of `note`. How many
    /// went.
    async fn shorten(
        &self,
        kept_since: Timestamp,
        rows_max: u64,
        note: Note,
    ) -> Result<u64, StorageError>;
}

/// A note in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number: each is one more than that of the entry before.
    pub seq: u64,
    /// What was noted.
    pub note: Note,
    /// The hash of the entry before.
    pub previous: Hash,
    /// Its own hash, of all of the above.
    pub hash: Hash,
}

/// SHA-256.
pub type Hash = [u8; 32];

/// The number of an entry, with its hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The number; 0 stands before the first entry.
    pub seq: u64,
    /// The hash; zeros before the first entry.
    pub hash: Hash,
}

/// Where a trail begins and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The newest entry.
    pub head: Link,
    /// The newest of those that were removed because of their age or number.
    pub gone: Link,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// In which order.
    pub order: Order,
    /// Behind the entry of that number, in that order.
    pub after: Option<u64>,
    /// Not those from before.
    pub since: Option<Timestamp>,
    /// Those of this tenant.
    pub tenant: Option<Text>,
    /// Those by this actor.
    pub actor: Option<Text>,
    /// Those of this action.
    pub action: Option<Text>,
}

/// An order of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// Some entries, with the ends of the trail at the same moment.
#[derive(Clone, Debug)]
pub struct TrailPage {
    /// The entries.
    pub entries: Vec<Entry>,
    /// After which number the next page continues; none on the last.
    pub next: Option<u64>,
    /// The ends.
    pub ends: Ends,
}

/// The numbers that one page looks at: from the first to the second, both included; none if nothing is left.
pub(crate) fn window(ends: Ends, wanted: &Wanted) -> Option<(u64, u64)> {
    let (first, last) = (ends.gone.seq + 1, ends.head.seq);
    let (from, to) = match wanted.order {
        Order::Oldest => {
            let from = wanted.after.map_or(first, |after| after.saturating_add(1));
            let from = from.max(first);
            let to = from.saturating_add(LOOKED_AT_MAX - 1);
            // The last window has no end, so that what somebody inserted behind the head is found.
            (from, if to < last { to } else { u64::MAX })
        }
        Order::Newest => {
            let to = wanted.after.map_or(last, |after| after.saturating_sub(1));
            let to = to.min(last);
            (first.max(to.saturating_sub(LOOKED_AT_MAX - 1)), to)
        }
    };
    (from <= to).then_some((from, to))
}

/// A page without entries, which is the last.
pub(crate) fn nothing(ends: Ends) -> TrailPage {
    TrailPage {
        entries: Vec::new(),
        next: None,
        ends,
    }
}

/// Whether nothing from `since` on is before an entry of that time. Hosts append what they note within a few
/// minutes, and their clocks are the database's.
pub(crate) fn is_long_before(at: Timestamp, since: Timestamp) -> bool {
    at.plus(Duration::from_secs(60 * 60)) < since
}

/// Cuts the page: `found` are up to `limit + 1` entries of the window, in the order that is wanted.
pub(crate) fn page(
    mut found: Vec<Entry>,
    limit: u32,
    (from, to): (u64, u64),
    ends: Ends,
    order: Order,
) -> TrailPage {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let next = match (found.len() > limit, order) {
        (true, _) => {
            found.truncate(limit);
            found.last().map(|last| last.seq)
        }
        (false, Order::Oldest) => (to < ends.head.seq).then_some(to),
        (false, Order::Newest) => (from > ends.gone.seq + 1).then_some(from),
    };
    TrailPage {
        entries: found,
        next,
        ends,
    }
}

/// The last of the oldest entries that are to go: up to [`PRUNED_MAX`] of them are given, oldest first, each
/// with its time.
pub(crate) fn last_to_go(
    oldest: impl Iterator<Item = (Link, Timestamp)>,
    ends: Ends,
    kept_since: Timestamp,
    rows_max: u64,
) -> Option<Link> {
    let goes = |(link, at): &(Link, Timestamp)| {
        let rows = ends.head.seq - (link.seq - 1);
        *at < kept_since || rows > rows_max
    };
    let last = oldest.take_while(goes).last();
    last.map(|(link, _)| link)
}
