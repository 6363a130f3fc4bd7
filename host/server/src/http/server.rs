//! The listeners and the accept loop.
//!
//! One loop runs on each API thread, over its own listener on the same address: the kernel spreads
//! connections, and none ever hops between threads. `exposure` says which addresses may be listened on,
//! `places` decides who gets a connection, `connection` serves it, and `watch` bounds its cost.
//!
//! This code knows no handler; it only calls `answer` in `http/api.rs`.

mod answer;
mod card;
mod connection;
pub mod exposure;
pub mod handshake;
mod http1;
mod http2;
pub mod places;
mod shared;
mod unread;
mod watch;
mod wire;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::api::Api;
use crate::http::server::card::Card;
use crate::http::server::handshake::Tls;
use crate::http::server::places::{Place, Places};
use crate::http::server::shared::Shared;
use crate::http::server::watch::Pace;
use crate::http::settings::HttpConfig;
use cofferdam::shutdown::Shutdown;

/// Connections that the kernel holds for one listener until they are accepted.
const BACKLOG: i32 = 1024;
/// The first wait after an accept that failed for lack of resources; it doubles.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest such wait.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How often a place is searched while busy connections take all of them.
const PLACE_INTERVAL: Duration = Duration::from_millis(50);
/// How many times, before the newcomer is closed.
const PLACE_LOOKS_MAX: u32 = 40;
/// How long connections that are closed at the end of a drain get to notice.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Why the host cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The operating system refused.
    #[error("cannot listen on {address}: {cause}")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
}

/// Opens `count` listeners on one address. The first decides port 0, for all of them. Whether anybody may
/// be answered there, `exposure` says.
pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<std::net::TcpListener>, BindError> {
    let refused = |cause| BindError::Refused { address, cause };
    // Listeners that share a port would also share it with another process of the same user. A
    // socket that does not share finds out whether another process has it.
    let probe = open(address, false).map_err(refused)?;
    drop(probe);
    let mut listeners = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count.max(1) {
        let listener = open(address, true).map_err(refused)?;
        listener.listen(BACKLOG).map_err(refused)?;
        let listener = std::net::TcpListener::from(listener);
        address = listener.local_addr().map_err(refused)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Accepts and serves connections on the current runtime until shutdown is requested; then
/// accepts no more, lets open requests finish for up to `drain_timeout`, and closes the rest.
pub async fn serve(
    listener: std::net::TcpListener,
    api: Api,
    config: &HttpConfig,
    places: Places,
    tls: Option<Tls>,
    shutdown: Shutdown,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let pace = Pace {
        window: config.body_idle_timeout,
        bytes: bytes_in(config.bytes_per_second_min, config.body_idle_timeout),
    };
    let shared = Arc::new(Shared {
        api,
        tls,
        header_timeout: config.header_timeout,
        write_timeout: config.body_idle_timeout,
        pace,
        streams_max: config.requests_per_connection_max,
        // It belongs to this thread alone, so that a wake-up never waits for another thread's lock.
        finish: CancellationToken::new(),
        close: CancellationToken::new(),
    });
    let connections = TaskTracker::new();
    let open = Open::default();
    let accepting = async {
        while let Some((stream, place)) = accept(&listener, &places, &shutdown).await {
            let stream = Arc::new(stream);
            open.enter(&stream, &place.card);
            let shared = Arc::clone(&shared);
            connections.spawn(connection::run(stream, place, shared));
        }
        drop(listener);
        shared.finish.cancel();
        connections.close();
        if tokio::time::timeout(config.drain_timeout, connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                open = connections.len(),
                "closing connections that did not finish in time"
            );
            shared.close.cancel();
            let _what_is_left_ends_with_the_thread =
                tokio::time::timeout(CLOSE_PATIENCE, connections.wait()).await;
        }
    };
    tokio::select! {
        () = accepting => Ok(()),
        never = open.look_after(pace) => match never {},
    }
}

/// The open connections of one thread.
#[derive(Default)]
struct Open(RefCell<Vec<(Weak<TcpStream>, Arc<Card>)>>);

impl Open {
    fn enter(&self, stream: &Arc<TcpStream>, card: &Arc<Card>) {
        let entry = (Arc::downgrade(stream), Arc::clone(card));
        self.0.borrow_mut().push(entry);
    }

    /// Checks each of them at intervals, and forgets those that have ended.
    async fn look_after(&self, pace: Pace) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(watch::INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.0.borrow_mut().retain(|(stream, card)| {
                let stream = stream.upgrade();
                if let Some(stream) = &stream {
                    watch::look(stream, card, pace);
                }
                stream.is_some()
            });
        }
    }
}

fn bytes_in(per_second: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    per_second.saturating_mul(millis) / 1000
}

/// The next connection and its place; `None` once shutdown is requested.
async fn accept(
    listener: &TcpListener,
    places: &Places,
    shutdown: &Shutdown,
) -> Option<(TcpStream, Place)> {
    let mut backoff = BACKOFF_MIN;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.requested() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match place(places, peer, shutdown).await {
                Some(place) => return Some((stream, place)),
                None if shutdown.is_requested() => return None,
                // It has waited for long enough; closing it tells the client soonest.
                None => {}
            },
            Err(error) if is_of_the_connection(&error) => {}
            // Without descriptors or memory the connection waits in the kernel.
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for now");
                tokio::select! {
                    () = shutdown.requested() => return None,
                    () = tokio::time::sleep(backoff) => {}
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

/// A place for a newcomer, which may have to wait for the next free one.
async fn place(places: &Places, peer: SocketAddr, shutdown: &Shutdown) -> Option<Place> {
    for _ in 0..PLACE_LOOKS_MAX {
        if let Some(place) = places.admit(peer.ip()) {
            return Some(place);
        }
        tokio::select! {
            () = shutdown.requested() => return None,
            () = tokio::time::sleep(PLACE_INTERVAL) => {}
        }
    }
    None
}

/// Whether only the connection about to be accepted is broken.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests;
