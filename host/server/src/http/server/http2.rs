//! HTTP/2: many requests of one connection at once.
//!
//! The frames are those of `h2`, which hyper uses as well. It is used without hyper, because each answer is
//! paced by itself here: a peer that leaves one unread loses that one, and not what it asked for beside it.
//! Requests are futures of their connection, so whatever ends the connection ends them.
//!
//! Against floods: `h2` bounds the frames of a head and the resets that nobody has looked at yet, and what a
//! request may cost beyond that is bounded here. Each has a place as a connection has (`places.rs`), and a
//! peer that takes back what it asks for, again and again, is told to be calm.

mod receive;
mod send;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use crate::http::server::card::Phase;
use crate::http::server::places::Place;
use crate::http::server::shared::{BUFFER_BYTES, Shared};

/// What a peer may send of all bodies before they are read, and of one.
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
const REQUEST_WINDOW_BYTES: u32 = 128 * 1024;
/// What of an answer waits in the connection's buffer.
const PIECE_BYTES: usize = 16 * 1024;
/// Resets of requests that nobody has looked at yet, and of those that the peer made no sense of: beyond
/// them the connection ends.
const RESETS_PENDING_MAX: usize = 20;
const RESETS_LOCAL_MAX: usize = 256;
/// Streams that this side has reset and still knows, so that what is on its way to them is no mistake.
const RESETS_KNOWN_MAX: usize = 32;
/// How many more requests a peer may take back than are answered.
const TAKEN_BACK_MAX: u32 = 100;
/// How often a peer that waits for answers is asked whether it is there, and how many questions may stay
/// unanswered.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PINGS_MISSED_MAX: u32 = 3;
/// How long a connection without requests stays after this side has ended it.
const LINGER: Duration = Duration::from_secs(1);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// With its whole answer.
    Answered,
    /// The peer took it back, or is gone.
    TakenBack,
    /// This side cut it off.
    CutOff,
}

type Request = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// Serves `stream` until either side ends it.
pub(super) async fn serve<T>(stream: T, place: &Place, shared: &Arc<Shared>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut builder = Builder::new();
    builder
        .max_header_list_size(u32::try_from(BUFFER_BYTES).unwrap_or(u32::MAX))
        .max_concurrent_streams(shared.streams_max)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(Some(RESETS_LOCAL_MAX))
        .max_concurrent_reset_streams(RESETS_KNOWN_MAX)
        .max_send_buffer_size(PIECE_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_window_size(REQUEST_WINDOW_BYTES);
    let beginning = tokio::time::timeout(shared.header_timeout, builder.handshake(stream));
    let begun = tokio::select! {
        biased;
        begun = beginning => begun,
        () = place.card.close.cancelled() => return,
        () = shared.close.cancelled() => return,
    };
    let Ok(Ok(mut connection)) = begun else {
        return;
    };
    let pings = connection.ping_pong().map(Pings::new);
    let served = Served {
        place,
        shared,
        requests: FuturesUnordered::new(),
        quiet: Box::pin(tokio::time::sleep(shared.header_timeout)),
        taken_back: 0,
        is_ending: false,
    };
    served.run(connection, pings).await;
}

/// A connection and its requests.
struct Served<'a> {
    place: &'a Place,
    shared: &'a Arc<Shared>,
    requests: FuturesUnordered<Request>,
    /// Ends when the connection was without requests for as long as it may be.
    quiet: Pin<Box<Sleep>>,
    /// Requests that were taken back, less those that were answered.
    taken_back: u32,
    is_ending: bool,
}

impl Served<'_> {
    async fn run<T>(mut self, mut connection: Connection<T, Bytes>, mut pings: Option<Pings>)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (card, shared) = (Arc::clone(&self.place.card), self.shared);
        let first = Instant::now() + PING_INTERVAL;
        let mut ticks = tokio::time::interval_at(first, PING_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = card.close.cancelled() => return,
                () = shared.close.cancelled() => return,
                () = shared.finish.cancelled(), if !self.is_ending => self.finish(&mut connection),
                Some(ended) = self.requests.next() => self.after(ended, &mut connection),
                accepted = connection.accept() => match accepted {
                    Some(Ok((request, respond))) => self.begin(request, respond, &mut connection),
                    Some(Err(_)) | None => return,
                },
                () = self.quiet.as_mut(), if self.requests.is_empty() => match self.is_ending {
                    true => return,
                    false => self.finish(&mut connection),
                },
                _ = ticks.tick(), if !self.requests.is_empty() => {
                    if pings.as_mut().is_some_and(|pings| !pings.ask()) {
                        return;
                    }
                }
            }
        }
    }

    /// Serves a request beside the others.
    fn begin<T>(
        &mut self,
        request: http::Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        connection: &mut Connection<T, Bytes>,
    ) where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        if self.requests.is_empty() {
            self.place.card.enter(Phase::Working);
        }
        match self.place.of_request() {
            Some(place) => {
                let request = answered(Arc::clone(self.shared), place, request, respond);
                self.requests.push(Box::pin(request));
            }
            // Nothing was done for it, and the peer is told so.
            None => respond.send_reset(Reason::REFUSED_STREAM),
        }
        if self.requests.is_empty() {
            self.rest();
        }
        // As with HTTP/1.1, a reserved place serves one request.
        if self.place.card.is_reserved() && !self.is_ending {
            self.finish(connection);
        }
    }

    /// A request has ended.
    fn after<T>(&mut self, ended: Ended, connection: &mut Connection<T, Bytes>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        match ended {
            Ended::Answered => self.taken_back = self.taken_back.saturating_sub(1),
            Ended::TakenBack => self.taken_back += 1,
            Ended::CutOff => {}
        }
        if self.taken_back > TAKEN_BACK_MAX && !self.is_ending {
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            self.is_ending = true;
            self.requests.clear();
        }
        if self.requests.is_empty() {
            self.rest();
        }
    }

    /// Takes no more requests.
    fn finish<T>(&mut self, connection: &mut Connection<T, Bytes>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        connection.graceful_shutdown();
        self.is_ending = true;
        if self.requests.is_empty() {
            self.rest();
        }
    }

    /// There is no request any more.
    fn rest(&mut self) {
        self.place.card.enter(Phase::Silent);
        let patience = match self.is_ending {
            true => LINGER,
            false => self.shared.header_timeout,
        };
        self.quiet.as_mut().reset(Instant::now() + patience);
    }
}

/// Answers one request.
async fn answered(
    shared: Arc<Shared>,
    place: Place,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Ended {
    let card = &place.card;
    card.seal();
    card.begin(false, !request.body().is_end_stream());
    let is_head = request.method() == http::Method::HEAD;
    let answering = receive::answer(&shared.api, request, &mut respond, card);
    let response = tokio::select! {
        biased;
        _reason = poll_fn(|context| respond.poll_reset(context)) => return Ended::TakenBack,
        () = card.close.cancelled() => {
            respond.send_reset(Reason::CANCEL);
            return Ended::CutOff;
        }
        response = answering => response,
    };
    send::send(response, is_head, respond, card, shared.pace).await
}

/// Asks the peer whether it is there.
struct Pings {
    pings: PingPong,
    is_asked: bool,
    missed: u32,
}

impl Pings {
    fn new(pings: PingPong) -> Pings {
        Pings {
            pings,
            is_asked: false,
            missed: 0,
        }
    }

    /// Asks once more; false if it did not answer for too long.
    fn ask(&mut self) -> bool {
        let answered = poll_fn(|context| self.pings.poll_pong(context)).now_or_never();
        if self.is_asked && answered.is_none() {
            self.missed += 1;
            return self.missed < PINGS_MISSED_MAX;
        }
        self.missed = 0;
        // A connection that ends needs no question.
        self.is_asked = self.pings.send_ping(Ping::opaque()).is_ok();
        true
    }
}
