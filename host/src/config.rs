//! What the operator decides: one struct a section, checked before anything is opened.
//!
//! The structs here are what the rest of the host sees. `config/keys.rs` lists every key with its
//! range; `config/read.rs` takes them from file and environment.

pub mod dirs;
pub mod http;
pub mod interpreters;
pub mod keys;
pub mod queue;
pub mod read;
pub mod sandbox;
pub mod sessions;
pub mod storage;
pub mod telemetry;

use crate::domain::limits::LimitPolicy;

/// The whole configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[http]`
    pub http: http::HttpConfig,
    /// `[queue]`
    pub queue: queue::QueueConfig,
    /// `[interpreters]`
    pub interpreters: interpreters::InterpretersConfig,
    /// `[sandbox]`
    pub sandbox: sandbox::SandboxConfig,
    /// `[sessions]`
    pub sessions: sessions::SessionsConfig,
    /// `[storage]`
    pub storage: storage::StorageConfig,
    /// `[log]`
    pub telemetry: telemetry::LogConfig,
    /// `[limits]` and `[ceilings]`
    pub limits: LimitPolicy,
    /// `[dirs.NAME]`
    pub dirs: dirs::Dirs,
}
