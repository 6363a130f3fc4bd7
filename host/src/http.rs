//! The HTTP API: wire types, handlers and conversions, one resource a file.
//!
//! Handlers parse what came into the domain's types, call `queue` for changes to tasks and
//! `registry` for changes to modules, read from storage, and write the answer. What no handler
//! does: decide policy, touch the sandbox, or keep a request waiting without a limit.
//!
//! `api.rs` stands around the router, `server.rs` around the connections, `routes.rs` lists what
//! there is.

pub mod api;
mod body;
mod compress;
mod error;
mod events;
mod exec;
mod guest;
mod json;
mod mcp;
mod modules;
mod openapi;
mod ops;
mod origin;
mod page;
mod path;
mod pool;
mod query;
mod routes;
mod run;
pub mod server;
mod sessions;
mod tasks;

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::http::HttpConfig;
use crate::domain::attempt::WorkerId;
use crate::domain::time::Timestamp;
use crate::mcp::Mcp;
use crate::queue::SharedQueue;
use crate::registry::Registry;
use crate::runner::Runner;
use crate::sessions::Sessions;
use crate::shutdown::Shutdown;
use crate::storage::Storage;
use crate::storage::files::FileStorage;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process::ProcessFigures;

/// What the handlers work with. Cloned once for each thread.
#[derive(Clone)]
pub struct Services {
    /// Changes to tasks.
    pub queue: SharedQueue,
    /// Runs without a task.
    pub runner: Arc<Runner>,
    /// Interpreters that callers keep.
    pub sessions: Arc<Sessions>,
    /// Changes to modules.
    pub registry: Arc<Registry>,
    /// Reads.
    pub storage: Arc<dyn Storage>,
    /// Spooled inputs and artifacts.
    pub files: FileStorage,
    /// How long the files of executions and snapshots are kept.
    pub files_retention: std::time::Duration,
    /// The endpoint for agents.
    pub mcp: Mcp,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What the operating system says of this process.
    pub process: Arc<ProcessFigures>,
    /// The time.
    pub clock: Clock,
    /// Whether this host is draining.
    pub shutdown: Shutdown,
    /// The `[http]` section.
    pub config: HttpConfig,
    /// This incarnation of the host.
    pub worker: WorkerId,
    /// When it started.
    pub started_at: Timestamp,
}

/// The services as handlers see them.
pub type AppState = Arc<Services>;

impl Services {
    /// The services in the form the router takes; call it once for each thread.
    pub fn into_state(self) -> AppState {
        Arc::new(self)
    }
}
