//! What the callers of a route need, checked where the route is entered, and the entries that it has in the
//! audit trail.
//!
//! The table of routes takes no handler without it (`routes.rs`), so that none can be forgotten. A guard
//! is a handler around a handler: it costs no allocation unless there is an entry to be made (`noted.rs`).

use std::sync::Arc;

use axum::body::Body;
use axum::handler::Handler;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, Ready, ready};

use crate::http::error::ApiError;
use crate::http::noted::{self, Noting, Operation};
use cofferdam::access::Refusal;
use cofferdam_domain::caller::{Caller, Scope};

/// What a route asks of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: everybody is answered, and told nothing of any tenant.
    Nothing,
    /// Any key.
    Key,
    /// A key with this scope.
    Scope(Scope),
}

impl Needs {
    /// The word of the API document; none if a route asks for nothing.
    pub(crate) fn as_str(self) -> Option<&'static str> {
        match self {
            Needs::Nothing => None,
            Needs::Key => Some("any"),
            Needs::Scope(scope) => Some(scope.as_str()),
        }
    }

    fn check<B>(self, request: &Request<B>) -> Result<(), ApiError> {
        if self == Needs::Nothing {
            return Ok(());
        }
        let extensions = request.extensions();
        let Some(caller) = extensions.get::<Caller>() else {
            return Err(match extensions.get::<Refusal>() {
                Some(refusal) => (*refusal).into(),
                None => ApiError::internal("nobody asked who calls"),
            });
        };
        match self {
            Needs::Nothing | Needs::Key => Ok(()),
            Needs::Scope(scope) => Ok(caller.may(scope)?),
        }
    }
}

/// A handler that is entered only by callers who have what it needs.
#[derive(Clone)]
pub(crate) struct Guarded<H> {
    pub(crate) needs: Needs,
    pub(crate) operation: Operation,
    pub(crate) handler: H,
}

impl<H: Handler<T, S>, T: 'static, S: Noting> Handler<T, S> for Guarded<H> {
    type Future = Either<Ready<Response>, Either<H::Future, BoxFuture<'static, Response>>>;

    fn call(self, request: Request<Body>, state: S) -> Self::Future {
        let Operation { action, kind } = self.operation;
        if let Err(refused) = self.needs.check(&request) {
            if let Some(trail) = state.trail() {
                noted::refused(trail, &request, action, &refused);
            }
            return Either::Left(ready(refused.into_response()));
        }
        Either::Right(match state.audit().filter(|audit| audit.notes(kind)) {
            None => Either::Left(self.handler.call(request, state)),
            Some(_) => Either::Right(self.noted(request, state).boxed()),
        })
    }
}

impl<H> Guarded<H> {
    async fn noted<T: 'static, S: Noting>(self, request: Request<Body>, state: S) -> Response
    where
        H: Handler<T, S>,
    {
        let Operation { action, kind } = self.operation;
        let trail = state
            .trail()
            .map(|(audit, operator)| (Arc::clone(audit), operator));
        let noted = trail
            .and_then(|(audit, operator)| Some((audit, noted::act(&request, operator, action)?)));
        let work = async move { self.handler.call(request, state).await };
        match noted {
            Some((audit, act)) => noted::noted(audit, act, kind, work).await,
            // It is for everybody, whoever they are.
            None => work.await,
        }
    }
}
