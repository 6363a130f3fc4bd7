//! What the endpoint puts beside an HTTP request, for the call that comes of it.

use rmcp::RoleServer;
use rmcp::service::RequestContext;

/// What the endpoint put beside the HTTP request that a call came in.
pub(super) fn beside<T: Clone + Send + Sync + 'static>(
    context: &RequestContext<RoleServer>,
) -> Option<T> {
    let parts = context.extensions.get::<http::request::Parts>()?;
    parts.extensions.get::<T>().cloned()
}
