//! Watches one task: by this host's events, and by storage where there is no event.
//!
//! Events may be lost or come late: they are sent after the commit, and those of a task that another
//! host runs come from there (`elsewhere`). So a watcher reads storage at every heartbeat, when it is
//! nudged, and before it believes that the task is final.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::events::{Event, Heard, Subscription};
use crate::queue::shared::Shared;
use crate::queue::{Queue, QueueError};
use cofferdam_domain::caller::Caller;
use cofferdam_domain::task::{Task, TaskId};
use cofferdam_domain::whose::Whose;

/// A watcher of one task. Dropping it ends the watch.
pub struct Watch {
    shared: Arc<Shared>,
    whose: Whose,
    id: TaskId,
    subscription: Subscription,
    reach: Reach,
    looks_at: Instant,
    /// Storage confirmed that no event follows.
    is_over: bool,
}

/// Which hosts a watcher hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    AllHosts,
    /// This one alone: it is another host that watches.
    ThisHost,
}

impl Queue {
    /// The task's state and the events from then on, after event number `seen` (0 for none); `None`
    /// if the caller has no such task. The watch of a final task delivers what is still known and ends.
    pub async fn watch(
        &self,
        caller: &Caller,
        id: TaskId,
        seen: u64,
        reach: Reach,
    ) -> Result<Option<(Task, Watch)>, QueueError> {
        let whose = Whose::of(caller);
        let subscription = match reach {
            Reach::AllHosts => self.shared.events.seek(id, seen),
            Reach::ThisHost => self.shared.events.subscribe(id, seen),
        };
        let mark = subscription.mark();
        let Some(task) = self.shared.reads.task(&whose, id).await? else {
            return Ok(None);
        };
        if let Some(others) = &self.shared.others {
            if task.state.is_final() && reach == Reach::AllHosts {
                others.hear_last_words(&task).await;
            }
            // Who resumes is not told the present state first.
            if seen == 0 && others.tells_later(&task) {
                subscription.note(mark, task.state, task.attempt);
            }
        }
        let is_over = subscription.begin(mark, task.state, task.attempt);
        let watch = Watch {
            shared: Arc::clone(&self.shared),
            whose,
            id,
            subscription,
            reach,
            looks_at: Instant::now() + self.shared.config.heartbeat_interval,
            is_over,
        };
        Ok(Some((task, watch)))
    }

    /// The task once it is final, or its state after `patience`; `None` if the caller has no such task.
    pub async fn wait(
        &self,
        caller: &Caller,
        id: TaskId,
        patience: Duration,
    ) -> Result<Option<Task>, QueueError> {
        let (shared, whose) = (&self.shared, Whose::of(caller));
        let waiting = shared.waiters.enter(id);
        let until = Instant::now() + patience;
        loop {
            // Made before the check, so that an end between the check and the wait is not missed.
            let woken = waiting.woken();
            let task = shared.reads.task(&whose, id).await?;
            let is_open = task.as_ref().is_some_and(|task| !task.state.is_final());
            if !is_open || Instant::now() >= until {
                return Ok(task);
            }
            let next_look = Instant::now() + shared.config.heartbeat_interval;
            // Without a wake it checks anyway.
            let _woken_or_due = tokio::time::timeout_at(until.min(next_look), woken).await;
        }
    }
}

impl Watch {
    /// The next event; `None` once the task is final, or gone, and there are no more events.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let heard = tokio::select! {
                biased;
                heard = self.subscription.hear() => heard,
                () = tokio::time::sleep_until(self.looks_at) => Heard::Nudge,
            };
            match heard {
                Heard::Event(event) => return Some(event),
                Heard::End if self.is_over => return None,
                // Changes found in storage are delivered before the end.
                Heard::Nudge | Heard::End => self.look().await,
            }
        }
    }

    /// Reads the task's state from storage.
    async fn look(&mut self) {
        self.looks_at = Instant::now() + self.shared.config.heartbeat_interval;
        let mark = self.subscription.mark();
        self.is_over = match self.shared.reads.task(&self.whose, self.id).await {
            Ok(task) => {
                let ended = task.as_ref().filter(|task| task.state.is_final());
                if let (Some(task), Some(others), Reach::AllHosts) =
                    (ended, &self.shared.others, self.reach)
                {
                    others.hear_last_words(task).await;
                }
                let stands = task.map(|task| (task.state, task.attempt));
                self.subscription.align(mark, stands)
            }
            Err(error) => {
                // A stream whose end is known ends; any other checks again later.
                tracing::warn!(task.id = %self.id, %error, "a watched task could not be read");
                true
            }
        };
    }
}
