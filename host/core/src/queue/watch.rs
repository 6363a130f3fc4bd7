//! Watching one task: what this host tells of it, and what storage says where nothing was told.
//!
//! What is told may be lost or come late: it is told after the commit, and another host tells it
//! elsewhere. So a watcher looks at storage at every heartbeat, when it is nudged, and before it
//! believes that the task is final.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::events::{Event, Heard, Subscription};
use crate::queue::shared::Shared;
use crate::queue::{Queue, QueueError};
use cofferdam_domain::task::{Task, TaskId};

/// A watcher of one task. Dropping it ends the watch.
pub struct Watch {
    shared: Arc<Shared>,
    id: TaskId,
    subscription: Subscription,
    looks_at: Instant,
    /// Storage said so: nothing follows what was told.
    is_over: bool,
}

impl Queue {
    /// The task as it stands and what happens from then on, after event number `seen` (0 for none);
    /// `None` if there is no such task. The watch of a final task tells what is still known and
    /// ends.
    pub async fn watch(&self, id: TaskId, seen: u64) -> Result<Option<(Task, Watch)>, QueueError> {
        let subscription = self.shared.events.subscribe(id, seen);
        let mark = subscription.channel().mark();
        let Some(task) = self.shared.reads.task(id).await? else {
            return Ok(None);
        };
        let mut watch = Watch {
            shared: Arc::clone(&self.shared),
            id,
            subscription,
            looks_at: Instant::now() + self.shared.config.heartbeat_interval,
            is_over: task.state.is_final(),
        };
        match watch.is_over {
            true => watch.subscription.channel().close(),
            false => watch.settle(mark, Some(&task)),
        }
        Ok(Some((task, watch)))
    }

    /// The task once it is final, or as it stands after `patience`; `None` if there is none.
    pub async fn wait(&self, id: TaskId, patience: Duration) -> Result<Option<Task>, QueueError> {
        let shared = &self.shared;
        let waiting = shared.waiters.enter(id);
        let until = Instant::now() + patience;
        loop {
            // Made before the look, so that an end between the look and the wait is not missed.
            let woken = waiting.woken();
            let task = shared.reads.task(id).await?;
            let is_open = task.as_ref().is_some_and(|task| !task.state.is_final());
            if !is_open || Instant::now() >= until {
                return Ok(task);
            }
            let next_look = Instant::now() + shared.config.heartbeat_interval;
            // Whoever is not woken looks all the same.
            let _woken_or_due = tokio::time::timeout_at(until.min(next_look), woken).await;
        }
    }
}

impl Watch {
    /// The next event; `None` once the task is final, or gone, and everything was told.
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
                // What the look brings to light is told before the end is.
                Heard::Nudge | Heard::End => self.look().await,
            }
        }
    }

    /// Asks storage how the task stands.
    async fn look(&mut self) {
        self.looks_at = Instant::now() + self.shared.config.heartbeat_interval;
        let mark = self.subscription.channel().mark();
        match self.shared.reads.task(self.id).await {
            Ok(task) => self.settle(mark, task.as_ref()),
            Err(error) => {
                // A stream that was told its end ends; any other looks again later.
                tracing::warn!(task.id = %self.id, %error, "a watched task could not be read");
                self.is_over = true;
            }
        }
    }

    /// Brings what was told in line with what storage said.
    fn settle(&mut self, mark: u64, task: Option<&Task>) {
        let channel = self.subscription.channel();
        self.is_over = task.is_none_or(|task| task.state.is_final());
        match task {
            Some(task) if !self.is_over => channel.resume(mark, task.state, task.attempt),
            Some(task) => {
                channel.state(task.state, task.attempt);
                channel.close();
            }
            None => channel.close(),
        }
    }
}
