//! One connection: its socket, HTTPS if the listener speaks it, and the protocol that both sides agree on.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::http::server::handshake::{self, Agreed};
use crate::http::server::places::Place;
use crate::http::server::shared::Shared;
use crate::http::server::wire::Wire;
use crate::http::server::{http1, http2};

/// Serves `stream` until either side ends it.
pub(super) async fn run(stream: Arc<TcpStream>, place: Place, shared: Arc<Shared>) {
    set_options(&stream, shared.write_timeout);
    let wire = Wire {
        stream,
        card: Arc::clone(&place.card),
    };
    // What HTTPS needs is kept apart, so that a connection without it is as small as before.
    match &shared.tls {
        None => http1::serve(wire, &place, &shared).await,
        Some(tls) => Box::pin(encrypted(wire, place, tls, &shared)).await,
    }
}

async fn encrypted(wire: Wire, place: Place, tls: &handshake::Tls, shared: &Arc<Shared>) {
    place.card.seal();
    let agreed = tokio::select! {
        biased;
        agreed = handshake::agree(tls, wire) => agreed,
        () = place.card.close.cancelled() => return,
        () = shared.finish.cancelled() => return,
    };
    match agreed {
        Some(Agreed::Http1(stream)) => http1::serve(stream, &place, shared).await,
        Some(Agreed::Http2(stream)) => http2::serve(stream, &place, shared).await,
        None => {}
    }
}

fn set_options(stream: &TcpStream, write_timeout: Duration) {
    let socket = socket2::SockRef::from(stream);
    // Either may fail on a connection that is already gone; the first read will show that.
    let _gone = socket.set_tcp_nodelay(true);
    let _gone = socket.set_tcp_user_timeout(Some(write_timeout));
}
