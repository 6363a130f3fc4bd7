//! The way out: HTTP requests to other machines, for guests, and for what the host sends of its own accord.
//!
//! Three rules stand before a request: the grants of its run, the list of its tenant, and the operator's
//! `[egress]`. Then its name is resolved and every address is held against the table of `address`, and the
//! connection is made to one of those and to nothing else. What comes back is the answer as it was sent:
//! redirects are not followed, bodies are not unpacked. Who asks says nothing of the rules: a [`Pass`] is made
//! where a run begins, and requests only name where they want to go.
//!
//! This file is the door, `connect` makes connections, `exchange` speaks HTTP on them, `account` counts.

mod account;
mod address;
mod connect;
mod error;
mod exchange;
mod post;
mod resolve;
mod secrets;
mod settings;
mod target;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body::Body;
use rustls::ClientConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use self::account::Counted;
use self::exchange::Bounds;
use self::target::Target;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::grants::http::{HostPattern, HttpGrant};
use cofferdam_domain::said;

pub use self::account::Account;
pub use self::address::{BadNetwork, Network};
pub use self::error::{Code, EgressError};
pub use self::exchange::{Driver, EgressBody};
pub use self::post::{Answer, Message};
pub use self::resolve::{Addresses, Resolve, ResolveError, SystemResolver};
pub use self::secrets::Added;
pub use self::settings::EgressConfig;

/// The operator's rules, and what connections are made with. Cheap to clone.
#[derive(Clone)]
pub struct Egress(Arc<Inner>);

struct Inner {
    config: EgressConfig,
    resolver: Arc<dyn Resolve>,
    watch: Arc<dyn Watch>,
    /// Who hears of refused tries besides, from some time after the start on.
    audit: OnceLock<Arc<dyn Watch>>,
    /// Read when it is first needed, because many hosts never do.
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
    places: Arc<Semaphore>,
    /// For the streams on which processes ask, of which some wait for a place among the connections.
    streams: Arc<Semaphore>,
}

/// Who hears of tries that a rule refused.
pub trait Watch: Send + Sync {
    /// A request did not go out.
    fn refused(&self, event: &EgressEvent<'_>);
}

/// A try that a rule refused.
#[derive(Debug)]
pub struct EgressEvent<'a> {
    /// Whose run it is, if that is known.
    pub tenant: Option<&'a Tenant>,
    /// The task, or nothing for a run that is none.
    pub run: &'a str,
    /// What ran.
    pub program: &'a str,
    /// The method.
    pub method: &'a str,
    /// Where it wanted to go: host and port, or what could not be read as one.
    pub place: &'a str,
    /// Why it did not.
    pub error: &'a EgressError,
}

/// Writes refused tries to the host's log.
#[derive(Debug, Default)]
pub struct Logged;

impl Watch for Logged {
    fn refused(&self, event: &EgressEvent<'_>) {
        tracing::warn!(
            run = event.run,
            method = event.method,
            place = said::for_log(event.place),
            code = event.error.code().as_str(),
            why = said::for_log(&event.error.to_string()),
            "a request to another machine was refused"
        );
    }
}

/// What one run may reach, and its account.
pub struct Pass {
    grants: Vec<HttpGrant>,
    secrets: Vec<Added>,
    within: Option<Vec<HostPattern>>,
    tenant: Option<Tenant>,
    run: String,
    program: String,
    account: Arc<Account>,
}

/// What a run asks for: its grants, within its tenant's list if that has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outward {
    /// What it was granted.
    pub grants: Vec<HttpGrant>,
    /// What its grants' headers are.
    pub secrets: Vec<Added>,
    /// The hosts of its tenant; all that the operator allows if there is no list.
    pub within: Option<Vec<HostPattern>>,
    /// Whose run it is, if that is known.
    pub tenant: Option<Tenant>,
}

impl Pass {
    /// The account.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }
}

/// How long whoever sends a request will wait, at most as long as the operator allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    /// For a connection.
    pub connect: Option<Duration>,
    /// For the whole answer.
    pub whole: Option<Duration>,
}

impl Egress {
    /// With these rules and their name servers, and refused tries in the log.
    pub fn new(config: EgressConfig) -> Egress {
        let resolver = SystemResolver::new(&config.name_servers);
        Egress::with(config, Arc::new(resolver), Arc::new(Logged))
    }

    /// With these rules and parts.
    pub fn with(config: EgressConfig, resolver: Arc<dyn Resolve>, watch: Arc<dyn Watch>) -> Egress {
        Egress(Arc::new(Inner {
            places: Arc::new(Semaphore::new(config.connections_max)),
            streams: Arc::new(Semaphore::new(config.connections_max * 2)),
            config,
            resolver,
            watch,
            audit: OnceLock::new(),
            tls: OnceLock::new(),
        }))
    }

    /// The operator's rules.
    pub fn config(&self) -> &EgressConfig {
        &self.0.config
    }

    /// A place for a stream on which a process asks.
    pub(crate) async fn stream(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.0.streams).acquire_owned().await;
        place.expect("nobody closes it")
    }

    /// Tells somebody else of refused tries, too: the first who asks for it.
    pub fn tell(&self, audit: Arc<dyn Watch>) {
        let _told_already = self.0.audit.set(audit);
    }

    /// A pass for a run of `program`, which events name.
    pub fn pass(&self, outward: Outward, run: &str, program: &str) -> Arc<Pass> {
        Arc::new(Pass {
            grants: outward.grants,
            secrets: outward.secrets,
            within: outward.within,
            tenant: outward.tenant,
            run: run.to_owned(),
            program: program.to_owned(),
            account: Arc::new(Account::new(&self.0.config)),
        })
    }

    /// Sends a request with a whole URL, as far as the pass and the operator allow, and waits for the head of
    /// the answer. The driver has to be polled while the body is read.
    pub async fn send<B>(
        &self,
        pass: &Pass,
        request: Request<B>,
        waits: Waits,
    ) -> Result<(Response<EgressBody>, Driver), EgressError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let method = request.method().clone();
        let authority = request.uri().authority().map(ToString::to_string);
        let sent = self.send_unwatched(pass, request, waits).await;
        if let Err(error) = &sent
            && error.is_refusal()
        {
            let event = EgressEvent {
                tenant: pass.tenant.as_ref(),
                run: &pass.run,
                program: &pass.program,
                method: method.as_str(),
                place: authority.as_deref().unwrap_or_default(),
                error,
            };
            self.0.watch.refused(&event);
            if let Some(audit) = self.0.audit.get() {
                audit.refused(&event);
            }
        }
        sent
    }

    async fn send_unwatched<B>(
        &self,
        pass: &Pass,
        request: Request<B>,
        waits: Waits,
    ) -> Result<(Response<EgressBody>, Driver), EgressError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let config = &self.0.config;
        pass.account.begin()?;
        let (target, path) = Target::of(request.uri())?;
        self.allowed(pass, &target, request.method())?;
        let (mut parts, body) = request.into_parts();
        exchange::prepare(&mut parts.headers, &target.header())?;
        secrets::add(&pass.secrets, &target, &parts.method, &mut parts.headers)?;
        (parts.uri, parts.version) = (path, Version::HTTP_11);
        let timeout = waits.whole.unwrap_or(config.request_timeout);
        let timeout = timeout.min(config.request_timeout);
        let connect = waits.connect.unwrap_or(config.connect_timeout);
        let connect = connect.min(config.connect_timeout).min(timeout);
        let bounds = Bounds {
            account: Arc::clone(&pass.account),
            head_bytes: config.head_bytes,
            timeout,
            end_by: Instant::now() + timeout,
        };
        let places = self.places(&pass.account, &bounds).await?;
        let stream = connect::connect(config, &*self.0.resolver, &target, connect).await?;
        let counted = Counted::new(stream, Arc::clone(&pass.account), places);
        let request = Request::from_parts(parts, body);
        if !target.secure {
            return exchange::exchange(counted, request, bounds).await;
        }
        let tls = self.tls(&target)?;
        let secured = connect::secure(counted, &target, tls, connect).await?;
        exchange::exchange(secured, request, bounds).await
    }

    /// Whether the rules let it go there.
    fn allowed(&self, pass: &Pass, target: &Target, method: &Method) -> Result<(), EgressError> {
        if *method == Method::CONNECT {
            return Err(EgressError::BadMethod(method.to_string()));
        }
        let (host, port) = (&target.host, target.port);
        let matches = |patterns: &[HostPattern]| patterns.iter().any(|it| it.matches(host, port));
        let has = |grant: &HttpGrant| grant.has(host, port, method.as_str());
        if !pass.grants.iter().any(has) {
            return Err(EgressError::NotGranted {
                method: method.to_string(),
                place: target.place(),
            });
        }
        if !self.allows(target) {
            return Err(EgressError::NotAllowed(target.place()));
        }
        if let Some(within) = &pass.within
            && !matches(within)
        {
            return Err(EgressError::NotTenants(target.place()));
        }
        Ok(())
    }

    /// Whether the operator lets anything go there.
    fn allows(&self, target: &Target) -> bool {
        let allow = &self.0.config.allow;
        allow
            .iter()
            .any(|pattern| pattern.matches(&target.host, target.port))
    }

    /// A place among the connections of the run, and one among those of all.
    async fn places(
        &self,
        account: &Account,
        bounds: &Bounds,
    ) -> Result<[OwnedSemaphorePermit; 2], EgressError> {
        let waiting = async {
            let own = account.places().acquire_owned().await;
            let all = Arc::clone(&self.0.places).acquire_owned().await;
            let open = "nobody closes these";
            [own.expect(open), all.expect(open)]
        };
        let waited = tokio::time::timeout_at(bounds.end_by, waiting).await;
        waited.map_err(|_| EgressError::Timeout(bounds.timeout))
    }

    fn tls(&self, target: &Target) -> Result<Arc<ClientConfig>, EgressError> {
        let tls = self.0.tls.get_or_init(connect::machine_tls);
        tls.clone()
            .map_err(|why| EgressError::Tls(target.place(), why))
    }
}
