//! Where this host is: the address at which others reach it, the machine's name, and what it needs to
//! reach the others.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::config::Config;
use crate::http::peers::{Peers, Sharing};
use crate::http::settings::HttpConfig;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::worker::{Address, Profile};
use cofferdam_storage::Opened;

/// Where other hosts reach this one: where the operator says, or where it listens.
pub(super) fn advertised(config: &HttpConfig, listens: SocketAddr) -> Option<Address> {
    let configured = config.advertise.clone();
    configured.or_else(|| Address::parse(&format!("http://{listens}")).ok())
}

/// What this host tells of itself.
pub(super) fn profile(config: &Config, address: Option<Address>, started_at: Timestamp) -> Profile {
    let version = env!("CARGO_PKG_VERSION");
    let worker = &config.worker;
    worker.profile(&machine_name(), address, version, started_at)
}

/// The name of this machine; empty if it is unknown.
fn machine_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()
}

/// What this host needs of the others, if there can be others.
pub(super) fn peers(
    config: &Config,
    storage: &Opened,
    own: WorkerId,
    random: &mut StdRng,
) -> Arc<Peers> {
    let sharing = storage.secret.clone().map(|secret| Sharing {
        secret,
        reads: Arc::clone(&storage.reads),
        clock: storage.clock.clone(),
        dead_after: config.queue.dead_after,
        forwards_max: config.http.forwards_max,
        random: StdRng::from_rng(random),
    });
    Arc::new(Peers::new(own, sharing))
}

/// The address of the first listener.
pub(super) fn first_address(listeners: &[std::net::TcpListener]) -> anyhow::Result<SocketAddr> {
    let first = listeners
        .first()
        .context("there is at least one listener")?;
    Ok(first.local_addr()?)
}
