//! The keys of `[cache]`: results of runs that are kept for a while.

use super::{Key, Kind, TIB};
use cofferdam::results::settings::CachePolicy;

pub(super) fn keys() -> Vec<Key> {
    vec![
        number!("cache", "bytes", 0..=TIB, "Memory of the results that are kept; 0 keeps none, and then every run runs.", cache.bytes: u64),
        number!("cache", "entries", 1..=100_000_000, "Results that are kept at most.", cache.entries: u64),
        number!("cache", "entry_bytes", 0..=(1 << 30), "The largest result that is kept, with what its run wrote, after compression.", cache.entry_bytes: u64),
        number!("cache", "tenant_bytes", 0..=TIB, "What one tenant may have of cache.bytes; 0 means all.", cache.tenant_bytes: u64),
        number!("cache", "disk_bytes", 0..=TIB, "Disk space of the results that outlive a restart; 0 keeps them in memory alone.", cache.disk_bytes: u64),
        number!("cache", "disk_entries", 1..=10_000_000, "Results that are kept on disk at most, a file each.", cache.disk_entries: u64),
        number!("cache", "disk_tenant_bytes", 0..=TIB, "What one tenant may have of cache.disk_bytes; 0 means all.", cache.disk_tenant_bytes: u64),
        Key {
            section: "cache",
            name: "policy",
            doc: "Which results go first where there is no more room, in memory and on disk: lfu, those that are used least often; lru, those that were not used longest; fifo, those that were kept first.",
            kind: Kind::Text {
                form: "lfu, lru or fifo",
                get: |config| config.cache.policy.as_str().to_owned(),
                set: |config, text| {
                    let mut policies = CachePolicy::ALL.into_iter();
                    let policy = policies.find(|policy| policy.as_str() == text);
                    policy.map(|policy| config.cache.policy = policy).is_some()
                },
            },
        },
    ]
}
