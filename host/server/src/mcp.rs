//! The Model Context Protocol: code execution and every module with a schema, as tools that an
//! agent can call.
//!
//! The crate rmcp implements the protocol itself (framing, sessions, version negotiation), and only
//! this module names it. This file defines the tools. It runs nothing itself and keeps only
//! sessions; `http` mounts this at `/mcp` and handles the connection, the size of a body and its
//! time.
//!
//! A call's guest ends when the client cancels the call or goes away: a stream that nobody reads
//! cannot be resumed here, so its run would be useless. A result holds memory for as long as it waits
//! for its reader. Everything else that goes to a client, such as progress, is a few short messages,
//! which rmcp's queues bound.

mod arguments;
mod call;
mod changes;
mod code;
mod door;
mod exact;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod list;
mod module;
mod names;
mod presence;
mod progress;
pub mod readers;
mod schema;
mod server;
mod sessions;
pub mod settings;
mod text;
mod told;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::{Request, Response};
use http_body_util::Full;
use http_body_util::combinators::BoxBody;
use rmcp::model::ToolAnnotations;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::mcp::arguments::Message;
use crate::mcp::changes::Changes;
use crate::mcp::exact::Exact;
use crate::mcp::presence::Presence;
use crate::mcp::readers::Readers;
use crate::mcp::server::Server;
use crate::mcp::sessions::Sessions;
use crate::mcp::settings::McpConfig;
use cofferdam::runner::Runner;
use cofferdam::telemetry::metrics::Metrics;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::clock::Clock;
use cofferdam_sandbox::threads::GuestThreadsHandle;
use cofferdam_storage::Modules;
use cofferdam_storage::files::FileStorage;

pub use crate::mcp::presence::Attended;
pub use crate::mcp::sessions::SessionsFull;

/// How often a silent stream sends a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The names that a loopback address has.
const LOOPBACK_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The services of the tools.
#[derive(Clone)]
pub struct Parts {
    /// Runs modules and code.
    pub runner: Arc<Runner>,
    /// Lists modules.
    pub modules: Arc<dyn Modules>,
    /// Keeps the files that code writes.
    pub files: FileStorage,
    /// Has the memory for results that wait for their reader.
    pub readers: Arc<dyn Readers>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
}

/// The endpoint. Cheap to clone; all clones share the sessions.
#[derive(Clone)]
pub struct Mcp {
    service: StreamableHttpService<Arc<Server>, Sessions>,
    threads: GuestThreadsHandle,
}

/// Ends when the host closes its doors.
#[derive(Clone)]
struct Closing(Shared<BoxFuture<'static, ()>>);

/// The body of an answer: JSON, or events that come as they happen.
pub type AnswerBody = Attended<BoxBody<Bytes, Infallible>>;

impl Mcp {
    /// The endpoint of a host that listens on `address`. Sessions and calls live on the guest
    /// threads, which outlive the connections, so that a drain does not cut off answers.
    pub fn new(
        parts: Parts,
        settings: &McpConfig,
        address: IpAddr,
        threads: GuestThreadsHandle,
    ) -> Mcp {
        let longest = parts.runner.admission().ceilings().timeout;
        let changes = Changes::new(parts.runner.registry().changes());
        let server = Arc::new(Server::new(parts, changes.clone()));
        let service = StreamableHttpService::new(
            move || Ok(Arc::clone(&server)),
            Arc::new(Sessions::new(settings.sessions_max, longest, changes)),
            config(address),
        );
        Mcp { service, threads }
    }

    /// Answers one request of a caller, whose body was read already. A subscription ends when the host
    /// is `closing`.
    pub async fn answer(
        &self,
        caller: Caller,
        mut request: Request<Bytes>,
        closing: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Response<AnswerBody>, SessionsFull> {
        let (presence, absence) = Presence::new();
        let exact = Exact::default();
        request.extensions_mut().insert(absence);
        request.extensions_mut().insert(exact.clone());
        request.extensions_mut().insert(caller.clone());
        request
            .extensions_mut()
            .insert(Closing(closing.boxed().shared()));
        let message = Message(request.body().clone());
        request.extensions_mut().insert(message);
        let service = self.service.clone();
        let answered = async move {
            let answering = async move {
                let response = service.handle(request.map(Full::new)).await;
                response.map(|body| presence.attend(body, exact))
            };
            sessions::telling_of_refusal(&caller, answering).await
        };
        self.threads.hand_over(answered).await
    }
}

/// Where callers are not authenticated, a web page in a browser on this machine must not be a caller:
/// neither from another origin nor by a name that its owner made to point to this address.
fn config(address: IpAddr) -> StreamableHttpServerConfig {
    let own = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let hosts = || LOOPBACK_HOSTS.into_iter().chain([own.as_str()]);
    let origins =
        hosts().flat_map(|host| [format!("http://{host}:*"), format!("https://{host}:*")]);
    StreamableHttpServerConfig::default()
        .with_allowed_hosts(hosts())
        .with_allowed_origins(origins)
        .enforce_origin_validation()
        .with_sse_keep_alive(Some(KEEP_ALIVE))
        .with_sse_retry(None)
        // The body is already in memory, and its size was checked.
        .with_max_request_body_bytes(usize::MAX)
}

/// No tool here changes or reaches anything outside its sandbox.
fn harmless(title: &str) -> ToolAnnotations {
    ToolAnnotations::with_title(title)
        .read_only(true)
        .open_world(false)
}
