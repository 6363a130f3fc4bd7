//! The newest events of one task.
//!
//! A guest may print byte by byte, and each byte may have thousands of watchers. So text that
//! nobody has looked at yet is one event however many writes it came in, and watchers of text look
//! at a pace of their own (`Subscription`): a write costs the guest the same whoever watches.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::queue::events::{Event, EventKind};
use cofferdam_domain::attempt::Stream;

/// Events one task's memory holds.
const EVENTS_MAX: usize = 256;
/// Bytes of text one task's memory holds.
const BYTES_MAX: usize = 64 * 1024;
/// The most text in one event; more becomes several.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// One task's memory.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    memory: Mutex<Memory>,
    /// Told of everything.
    told: Notify,
    /// Told of all but text.
    urgent: Notify,
}

#[derive(Debug, Default)]
struct Memory {
    events: VecDeque<Event>,
    /// Text that nobody has looked at: the event that comes next.
    open: Option<(Stream, BytesMut)>,
    /// Of the text in `events`.
    bytes: usize,
    newest: u64,
    closed: bool,
}

/// What a watcher finds.
pub(crate) enum Look {
    /// The first event it has not seen.
    Event(Event),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will come.
    End,
}

impl Channel {
    /// Remembers an event; the oldest give way to it.
    pub(crate) fn tell(&self, kind: EventKind) {
        let mut memory = self.lock();
        memory.seal();
        memory.push(kind);
        drop(memory);
        self.wake();
    }

    /// Remembers text.
    pub(crate) fn wrote(&self, stream: Stream, mut bytes: &[u8]) {
        let mut memory = self.lock();
        while !bytes.is_empty() {
            let open = memory.open_text(stream);
            let room = CHUNK_BYTES_MAX - open.len();
            let (fits, rest) = bytes.split_at(room.min(bytes.len()));
            open.extend_from_slice(fits);
            bytes = rest;
        }
        drop(memory);
        self.told.notify_waiters();
    }

    /// Says that nothing will follow.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    fn wake(&self) {
        self.told.notify_waiters();
        self.urgent.notify_waiters();
    }

    /// Takes [`Channel::close`] back: the task was made pending again.
    pub(crate) fn reopen(&self) {
        self.lock().closed = false;
    }

    /// Whether there is nothing to be told.
    pub(crate) fn is_silent(&self) -> bool {
        let memory = self.lock();
        memory.events.is_empty() && memory.open.is_none()
    }

    /// Whether nothing but text can have come after number `seen`, and the channel is open.
    pub(crate) fn is_seen(&self, seen: u64) -> bool {
        let memory = self.lock();
        seen == memory.newest && !memory.closed
    }

    /// The first event after number `seen`. A number that was never given out, as one from before
    /// a restart, counts as none.
    pub(crate) fn look(&self, seen: u64) -> Look {
        let mut memory = self.lock();
        let seen = if seen > memory.newest { 0 } else { seen };
        if seen == memory.newest {
            memory.seal();
        }
        let unseen = memory.events.partition_point(|event| event.number <= seen);
        match memory.events.get(unseen) {
            Some(event) => Look::Event(event.clone()),
            None if memory.closed => Look::End,
            None => Look::Nothing,
        }
    }

    /// Ends at the next event after this call, even one before the first poll.
    pub(crate) fn more(&self) -> Notified<'_> {
        self.told.notified()
    }

    /// The same for all events but text.
    pub(crate) fn more_than_text(&self) -> Notified<'_> {
        self.urgent.notified()
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn push(&mut self, kind: EventKind) {
        self.newest += 1;
        self.bytes += weight(&kind);
        let number = self.newest;
        self.events.push_back(Event { number, kind });
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= weight(&oldest.kind);
        }
    }

    /// Makes an event of the open text.
    fn seal(&mut self) {
        if let Some((stream, text)) = self.open.take() {
            let bytes = text.freeze();
            self.push(EventKind::Wrote { stream, bytes });
        }
    }

    /// The open text of `stream`, which has room for more.
    fn open_text(&mut self, stream: Stream) -> &mut BytesMut {
        let has_room =
            |(open, text): &(Stream, BytesMut)| *open == stream && text.len() < CHUNK_BYTES_MAX;
        if !self.open.as_ref().is_some_and(has_room) {
            self.seal();
        }
        let (_, text) = self.open.get_or_insert_with(|| (stream, BytesMut::new()));
        text
    }
}

fn weight(kind: &EventKind) -> usize {
    match kind {
        EventKind::Status { .. } => 0,
        EventKind::Progress { note, .. } => note.len(),
        EventKind::Wrote { bytes, .. } => bytes.len(),
    }
}
