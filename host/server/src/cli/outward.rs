//! `--http`: the hosts that a guest may send requests to, as commands take them.

use cofferdam_domain::grants::http::{HostPattern, HttpGrant};
use cofferdam_sandbox::egress::{EgressConfig, Network};

/// Reads a host, with its port if it is not one of the usual.
pub(super) fn http_grant(text: &str) -> Result<HttpGrant, String> {
    HttpGrant::new(text, &[]).map_err(|error| error.to_string())
}

/// The same as a request to the API names them.
pub(super) fn hosts(grants: &[HttpGrant]) -> Vec<String> {
    let hosts = grants.iter().map(|grant| grant.hosts().to_string());
    hosts.collect()
}

/// Whoever runs something here is its operator: what is granted is allowed besides what the configuration allows,
/// addresses of this machine and its neighbours where they are named as such.
pub(super) fn allow(config: &mut EgressConfig, grants: &[HttpGrant]) {
    let hosts = grants.iter().map(HttpGrant::hosts);
    let addresses = hosts.clone().filter_map(HostPattern::address);
    config.allow.extend(hosts.cloned());
    config.allow_private.extend(addresses.map(Network::from));
}
