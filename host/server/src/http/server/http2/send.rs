//! An answer on its way, as fast as the peer takes it.
//!
//! The card of a request says that it is blocked for as long as its peer gives it no room. So the rule for
//! peers that leave an answer unread is that of HTTP/1.1 (`watch.rs`), for each answer by itself.

use std::future::poll_fn;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::response::Response;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::sync::oneshot;

use super::{Ended, PIECE_BYTES};
use crate::http::server::card::Card;
use crate::http::server::watch::{self, Pace};
use cofferdam_domain::clock::Clock;

/// Sends a whole answer.
pub(super) async fn send(
    response: Response,
    is_head: bool,
    mut respond: SendResponse<Bytes>,
    card: &Arc<Card>,
    pace: Pace,
) -> Ended {
    let (mut parts, body) = response.into_parts();
    let is_empty = is_head || body.is_end_stream();
    complete(&mut parts.headers, parts.status, &body);
    parts.version = Version::HTTP_2;
    let head = Response::from_parts(parts, ());
    let Ok(stream) = respond.send_response(head, is_empty) else {
        return Ended::TakenBack;
    };
    if is_empty {
        return Ended::Answered;
    }
    let mut sending = Sending { stream, card, pace };
    match sending.body(body).await {
        Ok(()) => Ended::Answered,
        Err(ended) => ended,
    }
}

/// What HTTP/1.1 says of its connection is left out, and what hyper adds there is added.
fn complete(headers: &mut HeaderMap, status: StatusCode, body: &Body) {
    for header in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(header);
    }
    let has_length = status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
    if let Some(bytes) = body.size_hint().exact().filter(|_| has_length) {
        headers
            .entry(CONTENT_LENGTH)
            .or_insert_with(|| bytes.into());
    }
    if !headers.contains_key(DATE)
        && let Some(now) = date()
    {
        headers.insert(DATE, now);
    }
}

fn date() -> Option<HeaderValue> {
    let now = Timestamp::from_millisecond(Clock::system().now().as_millis()).ok()?;
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&now);
    HeaderValue::from_str(&text.ok()?).ok()
}

/// One answer.
struct Sending<'a> {
    stream: SendStream<Bytes>,
    card: &'a Arc<Card>,
    pace: Pace,
}

impl Sending<'_> {
    async fn body(&mut self, mut body: Body) -> Result<(), Ended> {
        loop {
            let frame = tokio::select! {
                biased;
                _reason = poll_fn(|context| self.stream.poll_reset(context)) => return Err(Ended::TakenBack),
                () = self.card.close.cancelled() => return Err(self.cut_off(Reason::CANCEL)),
                frame = body.frame() => frame,
            };
            let data = match frame {
                None => return self.end(Bytes::new()).await,
                Some(Err(_)) => return Err(self.cut_off(Reason::INTERNAL_ERROR)),
                // None of our answers has trailers.
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            let is_last = body.is_end_stream();
            let rest = self.all_but_a_piece(data).await?;
            match is_last {
                true => return self.end(rest).await,
                false => self.piece(rest)?,
            }
        }
    }

    /// Sends data until the rest of it is small enough, and there is room for that.
    async fn all_but_a_piece(&mut self, mut data: Bytes) -> Result<Bytes, Ended> {
        loop {
            let wanted = data.len().min(PIECE_BYTES);
            if wanted == 0 {
                return Ok(data);
            }
            let room = self.room(wanted).await?.min(data.len());
            if room == data.len() {
                return Ok(data);
            }
            self.piece(data.split_to(room))?;
        }
    }

    fn piece(&mut self, data: Bytes) -> Result<(), Ended> {
        self.card.moved(data.len());
        let sent = self.stream.send_data(data, false);
        sent.map_err(|_gone| Ended::TakenBack)
    }

    /// Sends the last piece, and waits until it has left: until then the request keeps its place.
    async fn end(&mut self, data: Bytes) -> Result<(), Ended> {
        let (held, left) = oneshot::channel();
        let has_data = !data.is_empty();
        let last = match has_data {
            true => Bytes::from_owner(Last { data, _held: held }),
            false => Bytes::new(),
        };
        let sent = self.stream.send_data(last, true);
        sent.map_err(|_gone| Ended::TakenBack)?;
        if !has_data {
            return Ok(());
        }
        let mut left = left;
        self.card.blocked();
        loop {
            let window = self.window();
            tokio::select! {
                biased;
                _dropped = &mut left => {
                    self.card.unblocked();
                    return Ok(());
                }
                () = self.card.close.cancelled() => return Err(self.cut_off(Reason::CANCEL)),
                () = window => {
                    if watch::is_too_slow(self.card, self.pace) {
                        return Err(self.cut_off(Reason::CANCEL));
                    }
                }
            }
        }
    }

    /// How much the peer takes now: at least a byte.
    async fn room(&mut self, wanted: usize) -> Result<usize, Ended> {
        self.stream.reserve_capacity(wanted);
        let room = self.stream.capacity();
        if room > 0 {
            if room >= wanted {
                self.card.unblocked();
            }
            return Ok(room);
        }
        self.card.blocked();
        loop {
            if watch::is_too_slow(self.card, self.pace) {
                return Err(self.cut_off(Reason::CANCEL));
            }
            let window = self.window();
            tokio::select! {
                biased;
                () = self.card.close.cancelled() => return Err(self.cut_off(Reason::CANCEL)),
                room = poll_fn(|context| self.stream.poll_capacity(context)) => match room {
                    Some(Ok(0)) => {}
                    Some(Ok(room)) => return Ok(room),
                    Some(Err(_)) | None => return Err(Ended::TakenBack),
                },
                () = window => {}
            }
        }
    }

    /// Waits until the present interval, in which the peer must take something, is over.
    fn window(&self) -> tokio::time::Sleep {
        let since = self.card.blocked_since().unwrap_or_default();
        let over = self.card.now().saturating_sub(since);
        tokio::time::sleep(self.pace.window.saturating_sub(over))
    }

    fn cut_off(&mut self, reason: Reason) -> Ended {
        self.stream.send_reset(reason);
        Ended::CutOff
    }
}

/// The last piece of an answer. Dropping it drops the other end of what waits for it.
struct Last {
    data: Bytes,
    _held: oneshot::Sender<()>,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}
