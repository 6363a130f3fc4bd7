//! Room in memory for bodies: those of arriving requests, and those of answers that have not been
//! read yet.
//!
//! Each body has its own limit. Their sum is bounded by their share of the host's memory budget, for
//! all callers together. Room belongs to the bytes: it is given back when the last copy of them is
//! dropped. A body that fits into a connection's buffer is not counted, because the number of
//! connections bounds those.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::Notify;

use crate::http::error::ApiError;
use crate::mcp::readers::{Part, Readers};
use cofferdam_domain::memory::{self, Budget, Purpose};

/// The largest body that is not counted.
pub(crate) const UNCOUNTED_BYTES: u64 = 64 * 1024;

/// The room, shared by all threads.
#[derive(Clone, Debug)]
pub struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Budget,
    patience: Duration,
    freed: Arc<Notify>,
}

/// A part of the room, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    room: Room,
    part: memory::Held,
}

/// Marks an answer whose body already has its room.
#[derive(Clone, Copy, Debug)]
struct Counted;

impl Room {
    /// Room in `memory`; a caller that finds none waits for up to `patience`.
    pub fn new(memory: Budget, patience: Duration) -> Room {
        let freed = Arc::new(Notify::new());
        let told = Arc::clone(&freed);
        memory.when_freed(move || told.notify_waiters());
        Room(Arc::new(Inner {
            memory,
            patience,
            freed,
        }))
    }

    /// The bytes in use.
    #[cfg(test)]
    pub(crate) fn used_bytes(&self) -> u64 {
        self.0.memory.taken_bytes(Purpose::Bodies)
    }

    /// Empty room, which can grow.
    pub(crate) fn none(&self) -> Held {
        Held {
            room: self.clone(),
            part: self.0.memory.nothing(Purpose::Bodies),
        }
    }

    /// Room for a body of this length, which may have to wait for others.
    pub(crate) async fn take(&self, bytes: u64) -> Result<Held, ApiError> {
        let mut held = self.none();
        held.grow_to(bytes).await?;
        Ok(held)
    }

    /// An answer with a body of known length, once there is room for it.
    pub(crate) async fn admit(&self, response: Response) -> Response {
        let size = response.body().size_hint().exact().unwrap_or(0);
        if size <= UNCOUNTED_BYTES || response.extensions().get::<Counted>().is_some() {
            return response;
        }
        match self.take(size).await {
            Ok(held) => {
                // The whole body is usually one frame: the first frame takes the room.
                let mut held = Some(held);
                response.map(|body| {
                    Body::new(body.map_frame(move |frame| {
                        frame.map_data(|data| match held.take() {
                            Some(held) => held.keep(data),
                            None => data,
                        })
                    }))
                })
            }
            Err(busy) => busy.into_response(),
        }
    }
}

impl Held {
    /// Grows to the room for `bytes`. One body alone always fits.
    pub(crate) async fn grow_to(&mut self, bytes: u64) -> Result<(), ApiError> {
        if self.try_grow_to(bytes) {
            return Ok(());
        }
        let room = self.room.clone();
        let waiting = async {
            loop {
                let mut freed = pin!(room.0.freed.notified());
                freed.as_mut().enable();
                if self.try_grow_to(bytes) {
                    return;
                }
                // Then it checks again: a smaller body may have taken the room first.
                freed.await;
            }
        };
        let waited = tokio::time::timeout(room.0.patience, waiting).await;
        waited.map_err(|_elapsed| ApiError::memory_busy())
    }

    /// Grows without waiting; false if there is no room.
    pub(crate) fn try_grow_to(&mut self, bytes: u64) -> bool {
        let wanted = match bytes {
            uncounted if uncounted <= UNCOUNTED_BYTES => 0,
            bytes => bytes.min(self.room.0.memory.most_bytes(Purpose::Bodies)),
        };
        self.part.add(wanted.saturating_sub(self.part.bytes()))
    }

    /// `bytes` that give the room back with their last copy.
    pub(crate) fn keep(self, bytes: Bytes) -> Bytes {
        if self.part.bytes() == 0 {
            return bytes;
        }
        Bytes::from_owner(Kept { bytes, _room: self })
    }

    /// An answer whose body is `bytes`.
    pub(crate) fn answer(self, respond: impl FnOnce(Body) -> Response, bytes: Bytes) -> Response {
        let mut response = respond(Body::from(self.keep(bytes)));
        response.extensions_mut().insert(Counted);
        response
    }
}

#[async_trait]
impl Readers for Room {
    async fn take(&self, bytes: u64) -> Option<Part> {
        let held = Room::take(self, bytes).await.ok()?;
        Some(Box::new(held))
    }
}

struct Kept {
    bytes: Bytes,
    _room: Held,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
impl Room {
    /// Room of which nobody else takes.
    pub(crate) fn of_its_own(bytes: u64, patience: Duration) -> Room {
        use cofferdam_domain::memory::{Share, Shares};
        let shares = Shares {
            guests: Share::NONE,
            compiles: Share::NONE,
            bodies: Share::reserving(0),
        };
        Room::new(Budget::new(bytes, shares), patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn room() -> Room {
        Room::of_its_own(10 * MIB, Duration::from_millis(20))
    }

    #[tokio::test]
    async fn the_sum_is_bounded_and_the_last_copy_gives_it_back() {
        let room = room();
        let held = room.take(6 * MIB).await.unwrap();
        assert_eq!(room.take(6 * MIB).await.unwrap_err().code(), "memory_busy");
        let whole = held.keep(Bytes::from_static(b"abc"));
        let part = whole.slice(1..);
        drop(whole);
        assert_eq!(room.used_bytes(), 6 * MIB);
        drop(part);
        assert_eq!(room.used_bytes(), 0);
    }

    #[tokio::test]
    async fn small_bodies_and_one_alone_always_fit() {
        let room = room();
        let _all = room.take(100 * MIB).await.unwrap();
        assert_eq!(room.used_bytes(), 10 * MIB);
        assert!(room.take(UNCOUNTED_BYTES).await.is_ok());
    }

    #[tokio::test]
    async fn a_waiter_is_served_once_another_has_gone() {
        let room = Room::of_its_own(MIB, Duration::from_secs(60));
        let first = room.take(MIB).await.unwrap();
        let (second, ()) = tokio::join!(room.take(MIB), async { drop(first) });
        assert_eq!(second.unwrap().part.bytes(), MIB);
    }

    #[tokio::test]
    async fn an_answer_nobody_takes_holds_its_room() {
        let room = room();
        let body = Bytes::from(vec![0; 2 << 20]);
        let response = room.admit(Response::new(Body::from(body))).await;
        assert_eq!(room.used_bytes(), 2 * MIB);
        let mut frames = response.into_body();
        let frame = frames.frame().await.unwrap().unwrap();
        drop(frames);
        assert_eq!(room.used_bytes(), 2 * MIB);
        drop(frame);
        assert_eq!(room.used_bytes(), 0);
    }
}
