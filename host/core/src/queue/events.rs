//! Events of tasks on this host, for watchers.
//!
//! Each task that is watched or has events keeps its newest events for a short time, so that a
//! watcher who comes late, or comes back, gets what is still known and then what follows. This is
//! not a record: results, streams and attempts are read from storage.

mod channel;
mod hub;
mod subscription;

use bytes::Bytes;

pub(crate) use self::hub::{Hub, Speaker};
pub(crate) use self::subscription::{Heard, Subscription};
use cofferdam_domain::attempt::Stream;
use cofferdam_domain::state::TaskState;

/// One thing that happened to a task.
#[derive(Clone, Debug)]
pub struct Event {
    /// Counts the events of one task, from 1; what `Last-Event-ID` refers to. A gap means that the
    /// watcher was too slow and missed some.
    pub number: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What a guest wrote to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which.
    pub stream: Stream,
    /// What.
    pub bytes: Bytes,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// It changed its state.
    Status {
        /// The state.
        state: TaskState,
        /// The attempt, from 1; 0 before the first.
        attempt: u32,
    },
    /// It reported progress; several reports may have become one.
    Progress {
        /// 0 to 1.
        fraction: f64,
        /// The guest's note.
        note: String,
    },
    /// It wrote to a stream.
    Wrote {
        /// Which.
        stream: Stream,
        /// What.
        bytes: Bytes,
    },
}

#[cfg(test)]
mod tests;
