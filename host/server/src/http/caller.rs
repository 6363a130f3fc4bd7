//! The caller of a request: made once, before a handler sees the request.
//!
//! Callers are not authenticated. Every caller that is not a stranger (`origin.rs`) is the one
//! tenant of this host, with every right; callers differ only by their place. The caller of a request
//! that another host passed on is the one whom that host admitted.

use axum::extract::FromRequestParts;
use axum::http::Request;
use axum::http::request::Parts;

use crate::http::error::ApiError;
use crate::http::origin;
use crate::http::peers::Peers;
use cofferdam_domain::caller::{Caller, Origin};

/// Refuses a stranger; the handlers of other callers get the caller with [`By`].
pub(crate) fn admit<B>(
    request: &mut Request<B>,
    from: Origin,
    peers: &Peers,
) -> Result<(), ApiError> {
    let caller = match peers.passed_on(request)? {
        Some(caller) => caller,
        None => {
            origin::check(request)?;
            Caller::without_keys(from)
        }
    };
    request.extensions_mut().insert(caller);
    Ok(())
}

/// The caller, as a handler's argument.
pub(crate) struct By(pub(crate) Caller);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<By, ApiError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| ApiError::internal("a request without a caller"))?;
        Ok(By(caller))
    }
}
