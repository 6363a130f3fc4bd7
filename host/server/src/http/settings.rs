//! `[http]`: the API's listener and what a connection may cost.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The section.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where the API listens. Anything but loopback is refused.
    pub listen: SocketAddr,
    /// Threads that accept and serve connections; 0 is one per core.
    pub threads: usize,
    /// Open connections at once; one more waits to be accepted.
    pub connections_max: usize,
    /// How long a client may take to send a request's headers, and to stay silent between two
    /// requests.
    pub header_timeout: Duration,
    /// How long a client may take for each piece of a body.
    pub body_idle_timeout: Duration,
    /// The largest body that is kept in memory; a larger raw task input goes to disk.
    pub inline_body_bytes: u64,
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
            threads: 0,
            connections_max: 4096,
            header_timeout: Duration::from_secs(30),
            body_idle_timeout: Duration::from_secs(30),
            inline_body_bytes: 4 * 1024 * 1024,
            spooled_body_bytes: 1024 * 1024 * 1024,
            module_bytes: 128 * 1024 * 1024,
            wait_max: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}
