//! The HTTP API: wire types, handlers and conversions, one resource per file.
//!
//! Handlers let `intake` turn requests into the domain's types, call `queue` for changes to tasks
//! and `registry` for changes to modules, read from storage, and write the answer. What no handler
//! does: decide policy, touch the sandbox, or keep a request waiting without a limit.
//!
//! `api.rs` wraps the router, `server.rs` has the connections, `routes.rs` lists the routes.

pub mod api;
mod body;
mod caller;
mod compress;
mod error;
mod events;
mod exec;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guest;
mod home;
mod interpreters;
mod json;
mod mcp;
mod modules;
mod openapi;
mod ops;
mod origin;
mod page;
mod path;
pub mod peers;
pub mod room;
mod routes;
mod run;
pub mod server;
mod sessions;
pub mod settings;
mod tasks;
mod worker_api;
mod workers;

use std::sync::Arc;

use crate::http::peers::Peers;
use crate::http::room::Room;
use crate::http::settings::HttpConfig;
use crate::mcp::Mcp;
use cofferdam::queue::SharedQueue;
use cofferdam::registry::Registry;
use cofferdam::runner::Runner;
use cofferdam::sessions::Sessions;
use cofferdam::shutdown::Shutdown;
use cofferdam::telemetry::metrics::Metrics;
use cofferdam::telemetry::process::ProcessFigures;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::memory::Budget;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::worker::Profile;
use cofferdam_sandbox::threads::GuestThreadsHandle;
use cofferdam_storage::disk::Disk;
use cofferdam_storage::files::FileStorage;
use cofferdam_storage::{Modules, Reads};

/// The services of the handlers. Cloned once for each thread.
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
    /// Queries about tasks.
    pub storage: Arc<dyn Reads>,
    /// Queries about modules.
    pub modules: Arc<dyn Modules>,
    /// Spooled inputs and artifacts.
    pub files: FileStorage,
    /// How long the files of executions and snapshots are kept.
    pub files_retention: std::time::Duration,
    /// The endpoint for agents.
    pub mcp: Mcp,
    /// Where work goes that is too long for a thread of the API.
    pub threads: GuestThreadsHandle,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The operating system's figures of this process.
    pub process: Arc<ProcessFigures>,
    /// The time.
    pub clock: Clock,
    /// Whether this host is draining: it takes no more work.
    pub shutdown: Shutdown,
    /// The memory that guests, compiling children and bodies share.
    pub memory: Budget,
    /// Room in it for bodies.
    pub room: Room,
    /// Whether its listeners close: long-lived streams end.
    pub closing: Shutdown,
    /// The storage.
    pub disk: Disk,
    /// The `[http]` section.
    pub config: HttpConfig,
    /// This incarnation of the host.
    pub worker: WorkerId,
    /// What it tells of itself.
    pub profile: Profile,
    /// The other hosts.
    pub peers: Arc<Peers>,
    /// When it started.
    pub started_at: Timestamp,
}

/// The services of the handlers.
pub type AppState = Arc<Services>;

impl Services {
    /// Refuses new work while the host drains.
    pub(crate) fn takes_work(&self) -> Result<(), error::ApiError> {
        match self.shutdown.is_requested() {
            true => Err(error::ApiError::draining()),
            false => Ok(()),
        }
    }

    /// The services in the router's form; call it once for each thread.
    pub fn into_state(self) -> AppState {
        Arc::new(self)
    }
}
