//! Wraps the router: finds out who calls, turns a panic into an answer, counts every answer, and
//! compresses large ones if the caller wishes.
//!
//! This is one function instead of a stack of middleware, because each layer of a stack boxes every
//! request again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tower::Service;

use crate::http::compress::{self, Coding};
use crate::http::error::ApiError;
use crate::http::peers::{Elsewhere, Peers};
use crate::http::room::Room;
use crate::http::{AppState, caller, noted, origin, rates, routes};
use cofferdam::access::{Door, Standing};
use cofferdam::audit::Audit;
use cofferdam::telemetry::metrics::{Metrics, RouteCounters};
use cofferdam_domain::caller::{Caller, Origin};

/// The largest answer to a request of this process itself.
const ASKED_BYTES_MAX: usize = 1 << 30;

/// A body as it comes.
pub type Pieces = BoxStream<'static, anyhow::Result<Bytes>>;

/// The API as one function from request to response. Make one for each thread: its parts are
/// counted references, and a count that two threads share is slow.
pub struct Api {
    router: Router,
    metrics: Arc<Metrics>,
    room: Room,
    peers: Arc<Peers>,
    door: Door,
    /// Who hears of those who are not let in.
    audit: Option<Arc<Audit>>,
    /// Whether it only answers operators of this machine, who need no key.
    is_for_operations: bool,
    counters: Vec<(&'static str, RouteCounters)>,
    unmatched: RouteCounters,
}

impl Api {
    /// The whole API over `state`.
    pub fn new(state: AppState) -> Api {
        let (metrics, room) = (Arc::clone(&state.metrics), state.room.clone());
        let (peers, door) = (Arc::clone(&state.peers), state.access.door());
        let audit = Some(Arc::clone(&state.audit));
        let router = routes::router(state);
        let api = Api::over(router, routes::patterns(), metrics, room, peers, door);
        Api { audit, ..api }
    }

    /// The same for a listener that only operators of this machine reach, and that answers only
    /// operations.
    pub fn for_operations(self) -> Api {
        Api {
            is_for_operations: true,
            ..self
        }
    }

    /// Any router; a request that matches none of `patterns` is counted as `unmatched`.
    pub(crate) fn over(
        router: Router,
        patterns: Vec<&'static str>,
        metrics: Arc<Metrics>,
        room: Room,
        peers: Arc<Peers>,
        door: Door,
    ) -> Api {
        let counters = patterns
            .into_iter()
            .map(|pattern| (pattern, metrics.route(pattern)))
            .collect();
        Api {
            router,
            counters,
            unmatched: metrics.route("unmatched"),
            metrics,
            room,
            peers,
            door,
            audit: None,
            is_for_operations: false,
        }
    }

    /// Answers one request from that place.
    pub async fn answer(&self, from: Origin, mut request: Request<Body>) -> Response {
        let counters = self.counters_of(request.uri().path());
        let coding = match request.method() {
            &Method::HEAD => None,
            _ => Coding::accepted(request.headers()),
        };
        let admitted = self.admit(&mut request, from).await;
        let standing = admitted.as_ref().ok().copied().flatten();
        let mut response = match admitted {
            Ok(_) => match self.elsewhere(&request) {
                None => self.route(request).await,
                Some(elsewhere) => {
                    let passed_on = self.peers.pass_on(elsewhere, request).await;
                    passed_on.unwrap_or_else(ApiError::into_response)
                }
            },
            Err(refused) => {
                if let Some(audit) = &self.audit {
                    noted::not_let_in(audit, &request, from, &refused);
                }
                refused.into_response()
            }
        };
        if let Some(standing) = standing {
            rates::tell(&mut response, standing);
        }
        let response = self.room.admit(response).await;
        counters.count(response.status().as_u16());
        match coding {
            None => response,
            Some(coding) => compress::response(response, coding),
        }
    }

    async fn admit(
        &self,
        request: &mut Request<Body>,
        from: Origin,
    ) -> Result<Option<Standing>, ApiError> {
        if self.is_for_operations {
            origin::check(request)?;
            request.extensions_mut().insert(Caller::without_keys(from));
            return Ok(None);
        }
        caller::admit(request, from, &self.peers, &self.door).await
    }

    /// The other host that has what a caller asks for. Nobody else is passed on.
    fn elsewhere(&self, request: &Request<Body>) -> Option<Elsewhere> {
        request.extensions().get::<Caller>()?;
        self.peers.elsewhere(request)
    }

    /// Answers one request of this process itself: the status and the body.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        let response = self.own(method, path, headers, body).await?;
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), ASKED_BYTES_MAX).await?;
        Ok((status, body.into()))
    }

    /// The same, with the body as it comes.
    pub async fn stream(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<(u16, Pieces)> {
        let response = self.own(method, path, headers, body).await?;
        let status = response.status().as_u16();
        let pieces = response.into_body().into_data_stream();
        Ok((status, pieces.map_err(anyhow::Error::from).boxed()))
    }

    async fn own(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<Response> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body))?;
        Ok(self.answer(Origin::Here, request).await)
    }

    async fn route(&self, request: Request<Body>) -> Response {
        let answered = AssertUnwindSafe(self.router.clone().call(request))
            .catch_unwind()
            .await;
        match answered {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => {
                self.metrics.handler_panicked();
                ApiError::internal(format_args!("panic: {}", panic_text(&*panic))).into_response()
            }
        }
    }

    fn counters_of(&self, path: &str) -> &RouteCounters {
        let found = self
            .counters
            .iter()
            .find(|(pattern, _)| routes::matches(pattern, path));
        found.map_or(&self.unmatched, |(_, counters)| counters)
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
