//! What happens to tasks on this host, for those who watch.

use bytes::Bytes;

use crate::domain::attempt::Stream;
use crate::domain::state::TaskState;

/// One thing that happened to a task.
#[derive(Clone, Debug)]
pub struct Event {
    /// Counts the events of one task, from 1; what `Last-Event-ID` refers to.
    pub number: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum EventKind {
    /// It went on to another state.
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

/// A watcher's end. Dropping it ends the watch.
pub struct Subscription {}

impl Subscription {
    /// The next event, after those the watcher has seen (`after` is the last number seen, 0 for
    /// none); `None` once the task is final and everything was told.
    pub async fn next(&mut self) -> Option<Event> {
        todo!()
    }
}
