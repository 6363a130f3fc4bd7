//! Names to addresses, behind a trait, so that tests decide what a name is.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::OnceLock;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// Answers that are kept, so that a guest does not make the host ask for every request.
const CACHE_NAMES: u64 = 1024;

/// Why a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// There is no such name, or it has none.
    Unknown,
    /// Nobody knows, at the moment.
    Failed,
}

/// The addresses of a name, of both kinds.
pub type Addresses = Result<Vec<IpAddr>, ResolveError>;

/// Finds the addresses of names.
pub trait Resolve: Send + Sync {
    /// All addresses of a name, which is in lower case and has no dot at its end.
    fn resolve<'a>(&'a self, name: &'a str)
    -> Pin<Box<dyn Future<Output = Addresses> + Send + 'a>>;
}

/// The name servers that the operator lists, or the machine's own; and the machine's hosts file.
#[derive(Default)]
pub struct SystemResolver {
    servers: Vec<SocketAddr>,
    made: OnceLock<Option<TokioResolver>>,
}

impl SystemResolver {
    /// One that asks these servers, or those that the machine asks if there are none.
    pub fn new(servers: &[SocketAddr]) -> SystemResolver {
        SystemResolver {
            servers: servers.to_vec(),
            made: OnceLock::new(),
        }
    }

    fn resolver(&self) -> Option<&TokioResolver> {
        let made = self.made.get_or_init(|| {
            let builder = match &self.servers[..] {
                [] => TokioResolver::builder_tokio(),
                servers => {
                    let servers = servers.iter().map(|at| server(*at)).collect();
                    let config = ResolverConfig::from_name_servers(servers);
                    let runtime = TokioRuntimeProvider::default();
                    Ok(TokioResolver::builder_with_config(config, runtime))
                }
            };
            let made = builder.and_then(|mut builder| {
                let options = builder.options_mut();
                // All of them are looked at, so all of them are asked for.
                options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
                options.cache_size = CACHE_NAMES;
                builder.build()
            });
            made.inspect_err(|error| {
                tracing::error!(%error, "the machine's name servers are not known; no name can be resolved");
            })
            .ok()
        });
        made.as_ref()
    }
}

/// How a name server is asked: in a datagram, and over a connection if the answer is too long for one.
fn server(at: SocketAddr) -> NameServerConfig {
    let mut ways = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    ways.iter_mut().for_each(|way| way.port = at.port());
    NameServerConfig::new(at.ip(), true, ways)
}

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Addresses> + Send + 'a>> {
        Box::pin(async move {
            let resolver = self.resolver().ok_or(ResolveError::Failed)?;
            // With the dot at its end it is the whole name, and nothing is added to it.
            match resolver.lookup_ip(format!("{name}.")).await {
                Ok(found) => Ok(found.iter().collect()),
                Err(error) => Err(unresolved(&error)),
            }
        })
    }
}

fn unresolved(error: &NetError) -> ResolveError {
    match error.is_no_records_found() || error.is_nx_domain() {
        true => ResolveError::Unknown,
        false => {
            tracing::debug!(%error, "a name cannot be resolved");
            ResolveError::Failed
        }
    }
}
