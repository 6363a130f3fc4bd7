//! What the operator decides: one struct a section, checked before anything is opened.
//!
//! The structs here are what the rest of the host sees. How they are read from flags, environment
//! and file stands in `config/read.rs`.

pub mod dirs;
pub mod http;
pub mod queue;
pub mod sandbox;
pub mod storage;

use crate::domain::limits::LimitPolicy;

/// The whole configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[http]`
    pub http: http::HttpConfig,
    /// `[queue]`
    pub queue: queue::QueueConfig,
    /// `[sandbox]`
    pub sandbox: sandbox::SandboxConfig,
    /// `[storage]`
    pub storage: storage::StorageConfig,
    /// `[limits]` and `[ceilings]`
    pub limits: LimitPolicy,
    /// `[dirs.NAME]`
    pub dirs: dirs::Dirs,
}
