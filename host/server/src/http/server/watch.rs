//! Watches the open connections of one thread: closes those whose peer leaves an answer unread, and
//! those whose peer is gone.
//!
//! A peer may close its sending side and wait for the answer (`nc -N`), so the end of its data
//! means nothing, and hyper goes on. But a peer that closed everything looks the same until
//! something is sent to it: only then does its kernel report that it is gone. So a peer that closed
//! its side is probed with an interim answer or a comment between two events, both of which every
//! client skips. Work for a peer that is gone ends, because its answer is dropped.
//!
//! One check of all connections every [`INTERVAL`] costs less than a timer for each request.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::http::server::card::{Card, Phase};

/// How often the connections are checked.
pub(super) const INTERVAL: Duration = Duration::from_millis(250);
/// How long a request runs before its peer is probed: most are answered sooner.
const ASK_AFTER: Duration = Duration::from_millis(500);
/// Checks between two probes of one peer.
const LOOKS_BETWEEN: u8 = 4;
/// The interim answer that every client of HTTP/1.1 skips.
const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The least that a peer must take of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// In each interval of this length …
    pub(super) window: Duration,
    /// … at least this many bytes.
    pub(super) bytes: u64,
}

/// Checks one connection.
pub(super) fn look(stream: &TcpStream, card: &Arc<Card>, pace: Pace) {
    if is_too_slow(card, pace) {
        card.close.cancel();
        return;
    }
    // Its protocol reads all the time, and so notices the end by itself.
    if card.is_sealed() {
        return;
    }
    let is_old = card.now().saturating_sub(card.since()) >= ASK_AFTER;
    match card.phase() {
        Phase::Working if is_old => ask(stream, card),
        Phase::Answering if is_old && card.tells_events() => ask(stream, card),
        Phase::Silent | Phase::Receiving | Phase::Working | Phase::Answering => {}
    }
}

/// Whether the peer took less than it must. A new window starts when one is over.
pub(super) fn is_too_slow(card: &Card, pace: Pace) -> bool {
    let Some(since) = card.blocked_since() else {
        return false;
    };
    if card.now().saturating_sub(since) < pace.window {
        return false;
    }
    let taken = card.moved_bytes();
    card.begin_window();
    taken < pace.bytes
}

/// Finds out whether the peer is still there.
fn ask(stream: &TcpStream, card: &Card) {
    let socket = SockRef::from(stream);
    if let Ok(Some(_)) | Err(_) = socket.take_error() {
        card.close.cancel();
        return;
    }
    let mut byte = [MaybeUninit::uninit()];
    match socket.peek(&mut byte) {
        // It closed its side, or the whole connection.
        Ok(0) => {}
        Ok(_) => return,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
        Err(_) => {
            card.close.cancel();
            return;
        }
    }
    let asked = card.asked.load(Ordering::Relaxed);
    card.asked
        .store((asked + 1) % LOOKS_BETWEEN, Ordering::Relaxed);
    if asked != 0 {
        return;
    }
    if card.phase() == Phase::Answering {
        card.nudge();
    } else if card.may_ask() {
        // A probe that does not fit into the kernel's buffer is skipped.
        let _refused = stream.try_write(INTERIM);
    }
}
