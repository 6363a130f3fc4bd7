//! The other hosts of a shared database, and what only one of them has: a session, a file on its disk,
//! what a guest writes while it runs. A request for such a thing is passed on to its host over this same
//! API, and the answer is passed back piece by piece.
//!
//! A name says whose it is (`owner`): that costs no row and no look-up, it cannot go out of date, and a
//! name that somebody makes up leads to a host that does not know it. Where a host is and whether it
//! lives, the database knows. A request that is passed on carries a pass (`pass`). It is never passed on
//! again, and never repeated, because it may have taken effect before its connection broke.

mod owner;
mod pass;
mod seen;
mod tap;
mod upstream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT_ENCODING, EXPECT, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use axum::response::Response;
use rand::rngs::StdRng;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::error::ApiError;
use crate::http::peers::owner::Thing;
use crate::http::peers::pass::{BadPass, Pass, Passes};
use crate::http::peers::upstream::Failed;
use crate::http::tls::trust::Trust;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::worker::{Worker, WorkerState};
use cofferdam_storage::Reads;
use cofferdam_storage::secret::Secret;

/// The header that a pass is in.
const PASS: HeaderName = HeaderName::from_static("cofferdam-forwarded");
/// How often it is checked that the host which is to answer still lives.
const LOOK: Duration = Duration::from_secs(2);
/// One connection that hears a guest's output for so many that pass a request on.
const TAPS_PART: usize = 4;

/// What concerns only the connection that a message came by.
const OF_THE_CONNECTION: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// This host among the others.
pub struct Peers {
    own: WorkerId,
    others: Option<Arc<Others>>,
}

/// What a host that shares its storage needs of the others.
pub struct Sharing {
    /// What only the hosts of this storage know.
    pub secret: Secret,
    /// Where they are known.
    pub reads: Arc<dyn Reads>,
    /// The storage's clock.
    pub clock: Clock,
    /// How long a silent host counts as alive.
    pub dead_after: Duration,
    /// The most requests that are passed on at once.
    pub forwards_max: usize,
    /// Whom it believes to be another host, over HTTPS.
    pub trust: Trust,
    /// The source of nonces.
    pub random: StdRng,
}

struct Others {
    passes: Passes,
    reads: Arc<dyn Reads>,
    clock: Clock,
    dead_after: Duration,
    trust: Trust,
    places: Arc<Semaphore>,
    taps: Arc<Semaphore>,
}

/// Marks a request that another host passed on.
#[derive(Clone, Copy, Debug)]
struct PassedOn;

/// Whether another host asks, as a handler's argument.
pub(crate) struct FromAnotherHost(pub(crate) bool);

/// A request's thing and the other host that has it.
pub(crate) struct Elsewhere {
    thing: Thing,
    worker: WorkerId,
}

impl Peers {
    /// The host `own`; `sharing` is absent if its storage has no other.
    pub fn new(own: WorkerId, sharing: Option<Sharing>) -> Peers {
        let others = sharing.map(|sharing| Others {
            passes: Passes::new(&sharing.secret, own, sharing.clock.clone(), sharing.random),
            reads: sharing.reads,
            clock: sharing.clock,
            dead_after: sharing.dead_after,
            trust: sharing.trust,
            places: Arc::new(Semaphore::new(sharing.forwards_max)),
            taps: Arc::new(Semaphore::new(sharing.forwards_max.div_ceil(TAPS_PART))),
        });
        Peers {
            own,
            others: others.map(Arc::new),
        }
    }

    /// This host.
    pub(crate) fn own(&self) -> WorkerId {
        self.own
    }

    /// What tells this host's numbers of events from those of others; `None` if there are no others.
    pub(crate) fn mark(&self) -> Option<u32> {
        self.others.as_ref().map(|_| self.own.0.as_fields().0)
    }

    /// The caller for whom another host passed this request on; `None` if it came here first.
    pub(crate) fn passed_on<B>(
        &self,
        request: &mut Request<B>,
    ) -> Result<Option<Caller>, ApiError> {
        let mut passes = request.headers().get_all(PASS).iter();
        let Some(pass) = passes.next().cloned() else {
            return Ok(None);
        };
        let others = self.others.as_ref().ok_or(BadPass::Unknown)?;
        if passes.next().is_some() {
            return Err(BadPass::Malformed.into());
        }
        let Pass { to, caller, host } =
            others.passes.read(&pass, request.method(), request.uri())?;
        if to != self.own {
            let detail = "this request was passed on to another host than this one";
            let status = StatusCode::MISDIRECTED_REQUEST;
            return Err(ApiError::new(status, "not_this_host", detail));
        }
        let headers = request.headers_mut();
        headers.remove(PASS);
        // The host that it came to first has checked both.
        headers.remove(ORIGIN);
        headers.insert(HOST, host);
        request.extensions_mut().insert(PassedOn);
        Ok(Some(caller))
    }

    /// The other host that has what a request asks for.
    pub(crate) fn elsewhere(&self, request: &Request<Body>) -> Option<Elsewhere> {
        let (thing, worker) = owner::of(request)?;
        let is_elsewhere = worker != self.own && request.extensions().get::<PassedOn>().is_none();
        is_elsewhere.then_some(Elsewhere { thing, worker })
    }

    /// Passes a request on to the host that has what it asks for.
    pub(crate) async fn pass_on(
        &self,
        Elsewhere { thing, worker }: Elsewhere,
        request: Request<Body>,
    ) -> Result<Response, ApiError> {
        let others = self.others.as_ref().ok_or_else(|| thing.lost())?;
        let place = Arc::clone(&others.places).try_acquire_owned();
        let place = place.map_err(|_taken| ApiError::forwards_busy())?;
        others.ask(thing, worker, request, place).await
    }
}

impl Others {
    /// Another host's answer. Its body holds the place.
    async fn ask(
        &self,
        thing: Thing,
        worker: WorkerId,
        request: Request<Body>,
        place: OwnedSemaphorePermit,
    ) -> Result<Response, ApiError> {
        let address = match self.living(worker).await? {
            None => return Err(thing.lost()),
            Some(Worker { profile, .. }) => profile.address,
        };
        let address = address.ok_or_else(|| thing.unreachable("it tells others no address"))?;
        let request = self.outgoing(worker, request)?;
        let answered = tokio::select! {
            answered = upstream::send(&address, &self.trust, request) => answered,
            () = self.silence_of(worker) => return Err(thing.lost()),
        };
        let why = match answered {
            Ok(answer) if answer.status() == StatusCode::MISDIRECTED_REQUEST => Failed::AnotherHost,
            Ok(mut answer) => {
                remove_connections_own(answer.headers_mut());
                return Ok(answer.map(|body| Body::new(body.holding(place))));
            }
            Err(failed) => failed,
        };
        // It may have ended just now.
        match self.living(worker).await? {
            None => Err(thing.lost()),
            Some(_) => Err(thing.unreachable(&format!("at {}: {why}", address.as_str()))),
        }
    }

    /// A host, unless it has ended or is taken for dead.
    async fn living(&self, worker: WorkerId) -> Result<Option<Worker>, ApiError> {
        let found = self.reads.worker(worker).await?;
        let dead_before = self.clock.now().minus(self.dead_after);
        Ok(found.filter(|found| found.state(dead_before) != WorkerState::Terminated))
    }

    /// Ends once a host has ended or is taken for dead.
    async fn silence_of(&self, worker: WorkerId) {
        loop {
            tokio::time::sleep(LOOK).await;
            // A database that does not answer says nothing of the host.
            if let Ok(None) = self.living(worker).await {
                return;
            }
        }
    }

    /// A request as `worker` gets it. What it may accept compressed, it gets compressed here.
    fn outgoing(
        &self,
        worker: WorkerId,
        mut request: Request<Body>,
    ) -> Result<Request<Body>, ApiError> {
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| ApiError::internal("a request without a caller"))?;
        let host = request.headers().get(HOST).cloned();
        let pass = Pass {
            to: worker,
            caller,
            host: host.unwrap_or_else(|| HeaderValue::from_static("localhost")),
        };
        let pass = self.passes.write(&pass, request.method(), request.uri());
        let headers = request.headers_mut();
        remove_connections_own(headers);
        for header in [ACCEPT_ENCODING, EXPECT, ORIGIN] {
            headers.remove(header);
        }
        headers.insert(PASS, pass);
        Ok(request)
    }
}

fn remove_connections_own(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("Peers");
        told.field("own", &self.own).finish_non_exhaustive()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for FromAnotherHost {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Ok(FromAnotherHost(
            parts.extensions.get::<PassedOn>().is_some(),
        ))
    }
}
