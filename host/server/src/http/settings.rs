//! `[http]`: the API's listener and what a connection may cost.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cofferdam_domain::worker::Address;

/// How far the kernel confines this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Confined {
    /// Its files, ports and signals.
    pub landlock: bool,
    /// Its system calls.
    pub seccomp: bool,
}

/// The section.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The address of the API. What may be listened on, `server/exposure` says.
    pub listen: SocketAddr,
    /// A second address for operations (`/livez`, `/readyz`, `/metrics`, `/health`), answered by a
    /// separate thread; none if absent. The same holds for it.
    pub operations_listen: Option<SocketAddr>,
    /// The certificate of HTTPS, and those that lead from it to an authority, as PEM; empty for HTTP.
    pub tls_certificate: PathBuf,
    /// Its private key, as PEM.
    pub tls_key: PathBuf,
    /// How long the beginning of an HTTPS connection may take.
    pub handshake_timeout: Duration,
    /// Whether other machines may reach the API without HTTPS.
    pub allow_plaintext: bool,
    /// The authorities that vouch for other hosts, as PEM; those of the web if empty.
    pub peers_ca: PathBuf,
    /// Where other hosts reach the API; the address that it listens on if absent.
    pub advertise: Option<Address>,
    /// Threads that accept and serve connections; 0 means one per core.
    pub threads: usize,
    /// Open connections at once. If all places are taken, one more replaces the one that has been
    /// silent for longest, or is refused.
    pub connections_max: usize,
    /// Open connections of one address at once.
    pub connections_per_peer_max: usize,
    /// Requests that one connection of HTTP/2 has at once. Each has a place among the connections.
    pub requests_per_connection_max: u32,
    /// Requests that are passed on to other hosts at once; a quarter as many more are for the output of
    /// tasks that run there.
    pub forwards_max: usize,
    /// How long a client may take to send a request's headers, and to stay silent between two
    /// requests.
    pub header_timeout: Duration,
    /// How long a client may take for each piece of a body.
    pub body_idle_timeout: Duration,
    /// How long a body may take in all, in addition to the time that it needs at
    /// `bytes_per_second_min`.
    pub body_timeout: Duration,
    /// The lowest average rate at which a body may arrive and an answer may be read.
    pub bytes_per_second_min: u64,
    /// The bytes of bodies, of requests and of answers, that are in memory at once for all callers:
    /// the most that they take of the host's memory budget.
    pub bodies_bytes: u64,
    /// What of the host's memory budget only bodies take, at most a quarter of it.
    pub bodies_reserved_bytes: u64,
    /// How long a request waits for room among them.
    pub bodies_wait: Duration,
    /// The largest body that is kept in memory; a larger raw task input goes to disk.
    pub inline_body_bytes: u64,
    /// The largest body of a batch of tasks.
    pub batch_body_bytes: u64,
    /// The largest raw task input.
    pub spooled_body_bytes: u64,
    /// The largest module, as uploaded.
    pub module_bytes: u64,
    /// The longest a request may wait for a task with `wait_ms`.
    pub wait_max: Duration,
    /// How long open requests get to finish at shutdown.
    pub drain_timeout: Duration,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            operations_listen: None,
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
            handshake_timeout: Duration::from_secs(10),
            allow_plaintext: false,
            peers_ca: PathBuf::new(),
            advertise: None,
            threads: 0,
            connections_max: 4096,
            connections_per_peer_max: 4000,
            requests_per_connection_max: 100,
            forwards_max: 256,
            header_timeout: Duration::from_secs(30),
            body_idle_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            bytes_per_second_min: 16 * 1024,
            bodies_bytes: 256 * 1024 * 1024,
            bodies_reserved_bytes: 64 * 1024 * 1024,
            bodies_wait: Duration::from_secs(10),
            inline_body_bytes: 4 * 1024 * 1024,
            batch_body_bytes: 32 * 1024 * 1024,
            spooled_body_bytes: 1024 * 1024 * 1024,
            module_bytes: 128 * 1024 * 1024,
            wait_max: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl HttpConfig {
    /// The files of HTTPS: the certificate and its key; `None` for HTTP.
    pub fn tls_files(&self) -> Option<(&Path, &Path)> {
        let is_set = !self.tls_certificate.as_os_str().is_empty();
        is_set.then_some((&*self.tls_certificate, &*self.tls_key))
    }
}
