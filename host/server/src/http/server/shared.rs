//! What the connections of one thread share.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::http::api::Api;
use crate::http::server::handshake::Tls;
use crate::http::server::watch::Pace;

/// The most headers a request may have; one more is answered with 431.
pub(super) const HEADERS_MAX: usize = 100;
/// The most bytes of a request's head, and of a body that are buffered ahead of its reader.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// The state that the connections of one thread share.
pub(super) struct Shared {
    /// The function that answers requests.
    pub(super) api: Api,
    /// HTTPS, if it is what the listener speaks.
    pub(super) tls: Option<Tls>,
    /// How long a request's head may take, and the silence between two requests.
    pub(super) header_timeout: Duration,
    /// How long a peer may leave sent data unread.
    pub(super) write_timeout: Duration,
    /// The least that it must take of an answer meanwhile.
    pub(super) pace: Pace,
    /// The most requests that one connection has at once.
    pub(super) streams_max: u32,
    /// Asks for the end after the present request.
    pub(super) finish: CancellationToken,
    /// Asks for the end at once.
    pub(super) close: CancellationToken,
}
