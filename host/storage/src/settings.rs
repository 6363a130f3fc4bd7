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
    /// Which tasks a claim may take, and when it is whose turn.
    pub claims: ClaimRules,
}

/// What an operator decides about claims. The hosts of a database should agree in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRules {
    /// Attempts of the tasks of one module that may be under way, over all hosts; 0 for any number.
    pub running_per_module_max: u32,
    /// The same for the tasks of one tenant for whom nothing else was said.
    pub running_per_tenant_max: u32,
    /// After how long a task of low priority no longer waits for every task of a higher one; zero for
    /// never.
    pub ageing: Duration,
    /// How long a task waits for the worker that it prefers before any other takes it.
    pub preferred_grace: Duration,
}

impl Default for ClaimRules {
    fn default() -> ClaimRules {
        ClaimRules {
            running_per_module_max: 0,
            running_per_tenant_max: 0,
            ageing: Duration::from_secs(60),
            preferred_grace: Duration::from_secs(5),
        }
    }
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
            claims: ClaimRules::default(),
        }
    }
}
