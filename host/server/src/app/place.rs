//! Where this host is: the address at which others reach it, and the machine's name.

use std::net::SocketAddr;

use anyhow::Context;

use crate::http::settings::HttpConfig;
use cofferdam_domain::worker::Address;

/// Where other hosts reach this one: where the operator says, or where it listens.
pub(super) fn advertised(config: &HttpConfig, listens: SocketAddr) -> Option<Address> {
    let configured = config.advertise.clone();
    configured.or_else(|| Address::parse(&format!("http://{listens}")).ok())
}

/// The name of this machine; empty if it is unknown.
pub(super) fn machine_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()
}

/// The address of the first listener.
pub(super) fn first_address(listeners: &[std::net::TcpListener]) -> anyhow::Result<SocketAddr> {
    let first = listeners
        .first()
        .context("there is at least one listener")?;
    Ok(first.local_addr()?)
}
