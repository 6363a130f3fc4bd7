//! One watcher's end of a channel: what it has heard, and at which pace it hears text.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::channel::{Channel, Look};
use super::hub::{Hub, Place};
use super::{Event, EventKind};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;

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
    place: Place,
}

/// The shortest time between two pieces of text, and how much each further watcher adds to it, so
/// that many watchers of one guest's output cost no more than few.
pub(super) const TEXT_PACE: Duration = Duration::from_millis(20);
const TEXT_PACE_BY_WATCHER: Duration = Duration::from_micros(50);

impl Hub {
    /// Watches a task: first the known events after number `seen`, then new ones.
    pub(crate) fn subscribe(&self, id: TaskId, seen: u64) -> Subscription {
        self.subscribe_as(id, seen, false)
    }

    /// The same for a watcher who also seeks what other hosts tell.
    pub(crate) fn seek(&self, id: TaskId, seen: u64) -> Subscription {
        self.subscribe_as(id, seen, true)
    }

    fn subscribe_as(&self, id: TaskId, seen: u64, seeks: bool) -> Subscription {
        let (channel, place) = self.enter(id, seeks);
        Subscription {
            channel,
            seen,
            asked: 0,
            last_text: None,
            place,
        }
    }
}

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

    /// Changes with each reported state. It is taken before storage is read, for
    /// [`Subscription::align`].
    pub(crate) fn mark(&self) -> u64 {
        self.channel.mark()
    }

    /// Updates the events to what storage says: the task's state and attempt, or that it is gone.
    /// True if nothing follows.
    pub(crate) fn align(&self, mark: u64, stands: Option<(TaskState, u32)>) -> bool {
        match stands {
            Some((state, attempt)) if state.is_final() => self.channel.end(mark, state, attempt),
            Some((state, attempt)) => {
                self.channel.resume(mark, state, attempt);
                false
            }
            None => {
                self.channel.forget();
                true
            }
        }
    }

    /// Notes the state that the watcher is told before any event, so that it is not told again.
    pub(crate) fn note(&self, mark: u64, state: TaskState, attempt: u32) {
        self.channel.note(mark, state, attempt);
    }

    /// The same at the beginning of a watch. If the task is final and no state was ever reported,
    /// there is no event.
    pub(crate) fn begin(&self, mark: u64, state: TaskState, attempt: u32) -> bool {
        if state.is_final() && self.channel.close_if_silent() {
            return true;
        }
        self.align(mark, Some((state, attempt)))
    }
}
