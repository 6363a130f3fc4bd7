//! `[egress]`: which other machines the host and its guests may reach, and how much one run may send and get.

use std::net::SocketAddr;
use std::time::Duration;

use super::address::Network;
use cofferdam_domain::grants::http::HostPattern;

/// The section.
#[derive(Clone, Debug)]
pub struct EgressConfig {
    /// The hosts that runs may be granted; none means that no run reaches any.
    pub allow: Vec<HostPattern>,
    /// Networks that may be reached although they are not public.
    pub allow_private: Vec<Network>,
    /// Networks that may not be reached although they are public.
    pub deny: Vec<Network>,
    /// Who is asked for the addresses of names; those that the machine asks if there are none.
    pub name_servers: Vec<SocketAddr>,
    /// Connections of one run at once; more of them wait.
    pub connections: usize,
    /// Connections of all runs at once; more of them wait.
    pub connections_max: usize,
    /// Requests of one run.
    pub requests: u64,
    /// Bytes that one run may receive, everything on its connections included.
    pub in_bytes: u64,
    /// Bytes that one run may send.
    pub out_bytes: u64,
    /// The longest head of a request or an answer.
    pub head_bytes: usize,
    /// How long a connection may take to be made, the name resolved and the certificate checked.
    pub connect_timeout: Duration,
    /// How long a request may take, its answer included.
    pub request_timeout: Duration,
}

impl Default for EgressConfig {
    fn default() -> EgressConfig {
        EgressConfig {
            allow: Vec::new(),
            allow_private: Vec::new(),
            deny: Vec::new(),
            name_servers: Vec::new(),
            connections: 16,
            connections_max: 512,
            requests: 1000,
            in_bytes: 64 << 20,
            out_bytes: 64 << 20,
            head_bytes: 64 << 10,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
        }
    }
}
