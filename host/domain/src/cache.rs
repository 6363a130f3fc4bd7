//! The words of the result cache: how long a result is good, and where one came from.

use std::time::Duration;

/// The longest time that a result is kept for: a week.
pub const TTL_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Where results are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheTier {
    /// In this process.
    Memory,
    /// In files, which outlive it.
    Disk,
}

impl CacheTier {
    /// Every one, the quicker first.
    pub const ALL: [CacheTier; 2] = [CacheTier::Memory, CacheTier::Disk];

    /// The word of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            CacheTier::Memory => "memory",
            CacheTier::Disk => "disk",
        }
    }
}

/// Where a result came from that was asked of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheUse {
    /// It was kept.
    Hit,
    /// It was made.
    Miss,
    /// It was made by another run that was under way.
    Joined,
}

impl CacheUse {
    /// Every one.
    pub const ALL: [CacheUse; 3] = [CacheUse::Hit, CacheUse::Miss, CacheUse::Joined];

    /// The word of the API and of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            CacheUse::Hit => "hit",
            CacheUse::Miss => "miss",
            CacheUse::Joined => "joined",
        }
    }
}
