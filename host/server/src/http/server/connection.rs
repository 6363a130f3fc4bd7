//! One connection: HTTP/1.1, one request after the other.
//!
//! hyper's header timeout runs from the moment a request could begin, so it ends slow headers and
//! idle keep-alive connections alike. Bodies are timed where they are read (`http/body.rs`), and a
//! peer that stops reading is given up by the kernel after `write_timeout`. What handlers leave
//! unread of a body is `unread.rs`'s.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::http::api::Api;
use crate::http::server::unread;

/// The most headers a request may have; one more is answered with 431.
const HEADERS_MAX: usize = 100;
/// The most bytes a request's head may have, and what is buffered of a body ahead of its reader.
const BUFFER_BYTES: usize = 64 * 1024;

/// What the connections of one thread share.
pub(super) struct Shared {
    /// What answers requests.
    pub(super) api: Api,
    /// How long a request's head may take, and the silence between two requests.
    pub(super) header_timeout: Duration,
    /// How long a peer may leave what was sent unread.
    pub(super) write_timeout: Duration,
    /// Asks for the end after the request under way.
    pub(super) finish: CancellationToken,
    /// Asks for the end at once.
    pub(super) close: CancellationToken,
}

/// Serves `stream` until either side ends it.
pub(super) async fn run(stream: TcpStream, shared: Arc<Shared>) {
    set_options(&stream, shared.write_timeout);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(shared.header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES);
    let of_service = Arc::clone(&shared);
    let (unread, mut rests) = mpsc::channel(1);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let shared = Arc::clone(&of_service);
        let request = unread::watch(request, &unread);
        async move { Ok::<_, Infallible>(shared.api.answer(request).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // How a connection ends is the client's affair: resets, timeouts and malformed requests have
    // been answered by hyper where an answer is possible.
    tokio::select! {
        biased;
        _ended = connection.as_mut() => return,
        () = shared.finish.cancelled() => connection.as_mut().graceful_shutdown(),
        never = unread::discard(&mut rests) => match never {},
    }
    // From here on a rest is dropped where it is found, so that it holds no end up.
    drop(rests);
    tokio::select! {
        biased;
        _ended = connection.as_mut() => {}
        () = shared.close.cancelled() => {}
    }
}

fn set_options(stream: &TcpStream, write_timeout: Duration) {
    let socket = socket2::SockRef::from(stream);
    // Either may fail on a connection that is already gone, which the first read will tell.
    let _gone = socket.set_tcp_nodelay(true);
    let _gone = socket.set_tcp_user_timeout(Some(write_timeout));
}
