//! `[audit]`: how much of the trail is kept, and of what.

/// The section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// Days after which an entry goes.
    pub keep_days: u32,
    /// Entries that are kept at most; each is smaller than 2 KiB.
    pub rows_max: u64,
    /// Whether runs, code and submitted tasks have entries, too.
    pub runs: bool,
    /// Entries of refused tries in an hour, for each kind of try and host; what is beyond is counted.
    pub refusals_per_hour_max: u64,
}

impl Default for AuditConfig {
    fn default() -> AuditConfig {
        AuditConfig {
            keep_days: 90,
            rows_max: 1_000_000,
            runs: false,
            refusals_per_hour_max: 600,
        }
    }
}
