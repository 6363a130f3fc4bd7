//! The keys of `[audit]`.

use super::{Key, Kind};

pub(super) fn keys() -> Vec<Key> {
    vec![
        number!("audit", "keep_days", 1..=3650, "Days after which an entry of the audit trail goes.", audit.keep_days: u32),
        number!("audit", "rows_max", 1000..=100_000_000, "Entries of the audit trail that are kept at most, each smaller than 2 KiB; the oldest go.", audit.rows_max: u64),
        number!("audit", "refusals_per_hour_max", 10..=100_000, "Entries of refused tries in an hour that this host makes, for each of keys, scopes and requests of guests; what is beyond is only counted.", audit.refusals_per_hour_max: u64),
        flag!(
            "audit",
            "runs",
            "Whether runs, code and submitted tasks have entries in the audit trail, too. Their answers do not wait for them.",
            audit.runs
        ),
    ]
}
