//! The newest events of one task.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::queue::events::{Event, EventKind};

/// Events one task's memory holds.
const EVENTS_MAX: usize = 256;
/// Bytes of text one task's memory holds.
const BYTES_MAX: usize = 64 * 1024;

/// One task's memory.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    memory: Mutex<Memory>,
    told: Notify,
}

#[derive(Debug, Default)]
struct Memory {
    events: VecDeque<Event>,
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
        memory.newest += 1;
        memory.bytes += weight(&kind);
        let number = memory.newest;
        memory.events.push_back(Event { number, kind });
        while memory.events.len() > EVENTS_MAX || memory.bytes > BYTES_MAX {
            let Some(oldest) = memory.events.pop_front() else {
                break;
            };
            memory.bytes -= weight(&oldest.kind);
        }
        drop(memory);
        self.told.notify_waiters();
    }

    /// Says that nothing will follow.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.told.notify_waiters();
    }

    /// Takes [`Channel::close`] back: the task was made pending again.
    pub(crate) fn reopen(&self) {
        self.lock().closed = false;
    }

    /// Whether there is nothing to be told.
    pub(crate) fn is_silent(&self) -> bool {
        self.lock().events.is_empty()
    }

    /// The first event after number `seen`. A number that was never given out, as one from before
    /// a restart, counts as none.
    pub(crate) fn look(&self, seen: u64) -> Look {
        let memory = self.lock();
        let seen = if seen > memory.newest { 0 } else { seen };
        let unseen = memory.events.partition_point(|event| event.number <= seen);
        match memory.events.get(unseen) {
            Some(event) => Look::Event(event.clone()),
            None if memory.closed => Look::End,
            None => Look::Nothing,
        }
    }

    /// Ends at the next event after this call, even one before the first poll.
    pub(crate) fn more(&self) -> tokio::sync::futures::Notified<'_> {
        self.told.notified()
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn weight(kind: &EventKind) -> usize {
    match kind {
        EventKind::Status { .. } => 0,
        EventKind::Progress { note, .. } => note.len(),
        EventKind::Wrote { bytes, .. } => bytes.len(),
    }
}
