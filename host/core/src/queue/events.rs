//! Events of tasks on this host, for watchers.
//!
//! Each task that is watched or has events keeps its newest events for a short time, so that a
//! watcher who comes late, or comes back, gets what is still known and then what follows. This is
//! not a record: results, streams and attempts are read from storage.

mod channel;
mod hub;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::queue::events::channel::{Channel, Look};
pub(crate) use crate::queue::events::hub::{Hub, Speaker};
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

/// What a subscriber gets.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The next event.
    Event(Event),
    /// The subscriber should read the task's state from storage.
    Nudge,
    /// The task is believed to be final, and there are no more events.
    End,
}

/// A subscriber's end. Dropping it ends the subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    channel: Arc<Channel>,
    seen: u64,
    asked: u64,
    /// When text was last delivered, until its interval has passed.
    last_text: Option<Instant>,
    place: hub::Place,
}

/// The shortest time between two pieces of text, and how much each further watcher adds to it, so
/// that many watchers of one guest's output cost no more than few.
const TEXT_PACE: Duration = Duration::from_millis(20);
const TEXT_PACE_BY_WATCHER: Duration = Duration::from_micros(50);

impl Subscription {
    /// The first event that the subscriber has not got.
    pub(crate) async fn hear(&mut self) -> Heard {
        self.keep_pace().await;
        loop {
            // Made before the check, so that an event between the check and the wait is not missed.
            let more = self.channel.more();
            match self.channel.look(self.seen, self.asked) {
                Look::Event(event) => {
                    self.seen = event.number;
                    if matches!(event.kind, EventKind::Wrote { .. }) {
                        self.last_text = Some(Instant::now());
                    }
                    return Heard::Event(event);
                }
                Look::Ask(nudge) => {
                    self.asked = nudge;
                    return Heard::Nudge;
                }
                Look::End => return Heard::End,
                Look::Nothing => {}
            }
            more.await;
        }
    }

    /// Waits the interval after text, unless something else happens.
    async fn keep_pace(&mut self) {
        let Some(last) = self.last_text else { return };
        let company = u32::try_from(self.place.company()).unwrap_or(u32::MAX);
        let pace = TEXT_PACE + TEXT_PACE_BY_WATCHER * company;
        let left = pace.saturating_sub(last.elapsed());
        let urgent = self.channel.more_than_text();
        // Events from before are delivered without waiting.
        if !left.is_zero() && self.channel.is_seen(self.seen) {
            let _either_way_it_looks = tokio::time::timeout(left, urgent).await;
        }
        self.last_text = None;
    }

    /// The source of the events.
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }
}

#[cfg(test)]
mod tests;
