//! Who asks: made once for each request, before a handler sees it.
//!
//! Callers are not authenticated. Whoever is not a stranger (`origin.rs`) is the one tenant of this
//! host, with every right, and is told from others by where they are.

use axum::extract::FromRequestParts;
use axum::http::Request;
use axum::http::request::Parts;

use crate::http::error::ApiError;
use crate::http::origin;
use cofferdam_domain::caller::{Caller, Origin};

/// Refuses a stranger; anybody else's handler can ask who they are by [`By`].
pub(crate) fn admit<B>(request: &mut Request<B>, from: Origin) -> Result<(), ApiError> {
    origin::check(request)?;
    request.extensions_mut().insert(Caller::without_keys(from));
    Ok(())
}

/// Who asks, as a handler takes it.
pub(crate) struct By(pub(crate) Caller);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<By, ApiError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| ApiError::internal("a request that nobody admitted"))?;
        Ok(By(caller))
    }
}
