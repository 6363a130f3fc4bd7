//! What happens to tasks on this host, for those who watch.
//!
//! Each watched or talkative task has a short memory of its newest events, so that a watcher who
//! comes late, or comes back, gets what is still known and then what follows. The memory is no
//! record: results, streams and attempts are read from storage.

mod channel;
mod hub;

use std::sync::Arc;

use bytes::Bytes;

use crate::queue::events::channel::{Channel, Look};
pub(crate) use crate::queue::events::hub::Hub;
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

/// What happened.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Debug)]
pub struct Subscription {
    channel: Arc<Channel>,
    seen: u64,
    _place: hub::Place,
}

impl Subscription {
    /// The next event, after those the watcher has seen (`after` is the last number seen, 0 for
    /// none); `None` once the task is final and everything was told.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            // Made before the look, so that an event between the look and the wait is not missed.
            let more = self.channel.more();
            match self.channel.look(self.seen) {
                Look::Event(event) => {
                    self.seen = event.number;
                    return Some(event);
                }
                Look::End => return None,
                Look::Nothing => {}
            }
            more.await;
        }
    }

    /// Ends the watch once everything known is told: for a task that was found final in storage.
    pub(crate) fn close(&self) {
        self.channel.close();
    }
}

#[cfg(test)]
mod tests;
