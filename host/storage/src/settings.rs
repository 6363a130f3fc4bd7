//! `[storage]`: where things are kept.

use std::path::PathBuf;

/// The section.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// The data directory; created if absent, owned by one host at a time.
    pub data: PathBuf,
    /// Bytes of spooled inputs and artifacts; beyond that new ones are refused.
    pub files_budget_bytes: u64,
}

impl Default for StorageConfig {
    fn default() -> StorageConfig {
        StorageConfig {
            data: PathBuf::from("cofferdam-data"),
            files_budget_bytes: 10 * 1024 * 1024 * 1024,
        }
    }
}
