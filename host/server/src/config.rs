//! The operator's configuration: one struct for each section, checked before anything is opened.
//!
//! Each crate defines its settings beside the code they configure. Here they are put together:
//! `config/keys.rs` lists every key with its range; `config/read.rs` reads them from file and
//! environment; `config/show.rs` writes them.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod keys;
pub mod read;
pub mod show;

use cofferdam::access::settings::AccessConfig;
use cofferdam::audit::settings::AuditConfig;
use cofferdam::breaker::BreakerConfig;
use cofferdam::callbacks::CallbacksConfig;
use cofferdam::interpreters::settings::InterpretersConfig;
use cofferdam::queue::settings::{QueueConfig, WorkerConfig};
use cofferdam::results::settings::CacheConfig;
use cofferdam::runner::dirs::Dirs;
use cofferdam::sessions::settings::SessionsConfig;
use cofferdam::telemetry::settings::LogConfig;
use cofferdam::vitals::settings::AlertsConfig;
use cofferdam_domain::isolation::IsolationPolicy;
use cofferdam_domain::limits::LimitPolicy;
use cofferdam_sandbox::settings::SandboxConfig;
use cofferdam_storage::settings::StorageConfig;

use crate::http::settings::HttpConfig;
use crate::mcp::settings::McpConfig;

/// The whole configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[access]`
    pub access: AccessConfig,
    /// `[audit]`
    pub audit: AuditConfig,
    /// `[http]`
    pub http: HttpConfig,
    /// `[mcp]`
    pub mcp: McpConfig,
    /// `[queue]`
    pub queue: QueueConfig,
    /// `[worker]`
    pub worker: WorkerConfig,
    /// `[interpreters]`
    pub interpreters: InterpretersConfig,
    /// `[sandbox]`
    pub sandbox: SandboxConfig,
    /// `isolation` and `isolation_floor` of `[sandbox]`
    pub isolation: IsolationPolicy,
    /// `[cache]`
    pub cache: CacheConfig,
    /// `[breaker]`
    pub breaker: BreakerConfig,
    /// `[alerts]`
    pub alerts: AlertsConfig,
    /// `[callbacks]`
    pub callbacks: CallbacksConfig,
    /// `[sessions]`
    pub sessions: SessionsConfig,
    /// `[storage]`
    pub storage: StorageConfig,
    /// `[log]`
    pub telemetry: LogConfig,
    /// `[limits]` and `[ceilings]`
    pub limits: LimitPolicy,
    /// `[dirs.NAME]`
    pub dirs: Dirs,
}
