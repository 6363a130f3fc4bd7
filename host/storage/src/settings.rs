//! `[storage]`: where things are kept.

use std::path::PathBuf;
use std::time::Duration;

/// The section.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// The data directory; created if absent, owned by one host at a time.
    pub data: PathBuf,
    /// The database that hosts share; the one in the data directory if absent.
    pub url: Option<String>,
    /// Bytes of spooled inputs and artifacts; above this new ones are refused.
    pub files_budget_bytes: u64,
    /// Above this many bytes in the database no task is accepted; above a quarter more none is
    /// claimed. Ends of attempts are always recorded.
    pub database_budget_bytes: u64,
    /// With less than this free on the disk the host is not ready.
    pub disk_free_min_bytes: u64,
    /// How long one read of the database may take.
    pub read_timeout: Duration,
}

impl Default for StorageConfig {
    fn default() -> StorageConfig {
        StorageConfig {
            data: PathBuf::from("cofferdam-data"),
            url: None,
            files_budget_bytes: 10 * 1024 * 1024 * 1024,
            database_budget_bytes: 10 * 1024 * 1024 * 1024,
            disk_free_min_bytes: 8 * 1024 * 1024,
            read_timeout: Duration::from_secs(5),
        }
    }
}
