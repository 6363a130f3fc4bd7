//! Names to addresses, behind a trait, so that tests decide what a name is.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::OnceLock;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;

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

/// The machine's own name servers and its hosts file.
#[derive(Default)]
pub struct SystemResolver(OnceLock<Option<TokioResolver>>);

impl SystemResolver {
    fn resolver(&self) -> Option<&TokioResolver> {
        let made = self.0.get_or_init(|| {
            let builder = TokioResolver::builder_tokio();
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
