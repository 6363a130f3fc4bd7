//! The HTTP API: wire types, handlers and conversions, one resource per file.
//!
//! Handlers let `intake` turn requests into the domain's types, call `queue` for changes to tasks
//! and `registry` for changes to modules, read from storage, and write the answer. What no handler
//! does: decide policy, touch the sandbox, or keep a request waiting without a limit.
//!
//! `api.rs` wraps the router, `server.rs` has the connections, `tls.rs` their certificate, `routes.rs` lists
//! the routes.

mod alerts;
pub mod api;
mod audit;
mod body;
mod caller;
mod compress;
mod error;
mod events;
mod exec;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard;
mod guest;
mod home;
mod interpreters;
mod json;
mod keys;
mod mcp;
mod modules;
mod monitoring;
mod noted;
mod openapi;
mod ops;
mod origin;
mod page;
mod path;
pub mod peers;
mod rates;
pub mod room;
mod routes;
mod run;
mod schedules;
mod secrets;
pub mod server;
mod sessions;
pub mod settings;
mod stats;
mod tasks;
mod tenants;
pub mod tls;
mod worker_api;
mod workers;
mod workflows;

use std::sync::Arc;

use crate::http::peers::Peers;
use crate::http::room::Room;
use crate::http::settings::{Confined, HttpConfig};
use crate::mcp::Mcp;
use cofferdam::access::Access;
use cofferdam::audit::Audit;
use cofferdam::callbacks::{Callbacks, Write};
use cofferdam::queue::SharedQueue;
use cofferdam::registry::Registry;
use cofferdam::runner::Runner;
use cofferdam::schedules::Schedules;
use cofferdam::secrets::Secrets;
use cofferdam::sessions::Sessions;
use cofferdam::shutdown::Shutdown;
use cofferdam::telemetry::metrics::Metrics;
use cofferdam::telemetry::process::ProcessFigures;
use cofferdam::vitals::{self, Vitals};
use cofferdam::workflows::definitions::Definitions;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::memory::Budget;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::worker::Profile;
use cofferdam_sandbox::threads::GuestThreadsHandle;
use cofferdam_storage::disk::Disk;
use cofferdam_storage::files::FileStorage;
use cofferdam_storage::{Modules, Reads};

/// How the end of a task is written for its callback.
pub const END: Write = tasks::callback::message;

/// How a host of that name tells the operator of alerts.
pub fn alert_messages(worker: WorkerId, profile: &Profile) -> vitals::Write {
    alerts::messages(worker, profile)
}

/// The services of the handlers. Cloned once for each thread.
#[derive(Clone)]
pub struct Services {
    /// Keys and tenants, and who a caller is.
    pub access: Arc<Access>,
    /// What tenants entrust to this host.
    pub secrets: Secrets,
    /// What is noted of who changed what.
    pub audit: Arc<Audit>,
    /// Changes to tasks.
    pub queue: SharedQueue,
    /// Runs without a task.
    pub runner: Arc<Runner>,
    /// Interpreters that callers keep.
    pub sessions: Arc<Sessions>,
    /// Tasks that are submitted again and again.
    pub schedules: Arc<Schedules>,
    /// Definitions of workflows.
    pub definitions: Arc<Definitions>,
    /// Ends of tasks, batches and workflows that somebody is told.
    pub callbacks: Arc<Callbacks>,
    /// The condition of this host.
    pub vitals: Arc<Vitals>,
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
    /// How far the kernel confines this process.
    pub confined: Confined,
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
    /// Refuses new work while the host drains or is short of memory.
    pub(crate) fn takes_work(&self) -> Result<(), error::ApiError> {
        match self.shutdown.is_requested() {
            true => Err(error::ApiError::draining()),
            false => Ok(self.vitals.lets_in()?),
        }
    }

    /// The services in the router's form; call it once for each thread.
    pub fn into_state(self) -> AppState {
        Arc::new(self)
    }
}
