//! `[cache]`: how much is kept of results.

/// The section.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// Memory of all results together; 0 keeps none.
    pub bytes: u64,
    /// How many are kept.
    pub entries: u64,
    /// The largest one that is kept, as it is kept.
    pub entry_bytes: u64,
    /// What one tenant may have of it; 0 means all.
    pub tenant_bytes: u64,
    /// Disk space of those that outlive the process; 0 keeps them in memory alone.
    pub disk_bytes: u64,
    /// How many of those are kept.
    pub disk_entries: u64,
    /// What one tenant may have of the disk space; 0 means all.
    pub disk_tenant_bytes: u64,
    /// Which go first, in memory and on disk.
    pub policy: CachePolicy,
}

/// Which results go first when there is no more room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CachePolicy {
    /// Those that are used least often; what is new must be used more often than what it would replace.
    #[default]
    Lfu,
    /// Those that were not used longest.
    Lru,
    /// Those that were kept first, however often they were used since.
    Fifo,
}

impl CachePolicy {
    /// Every policy.
    pub const ALL: [CachePolicy; 3] = [CachePolicy::Lfu, CachePolicy::Lru, CachePolicy::Fifo];

    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            CachePolicy::Lfu => "lfu",
            CachePolicy::Lru => "lru",
            CachePolicy::Fifo => "fifo",
        }
    }
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig {
            bytes: 128 << 20,
            entries: 100_000,
            entry_bytes: 4 << 20,
            tenant_bytes: 64 << 20,
            disk_bytes: 1 << 30,
            disk_entries: 100_000,
            disk_tenant_bytes: 512 << 20,
            policy: CachePolicy::Lfu,
        }
    }
}
