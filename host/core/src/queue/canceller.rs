//! Stops running attempts whose tasks were cancelled, here or through another host.
//!
//! A guest is first asked to end, and killed after the grace period. Storage has the truth and is
//! read at every heartbeat, and when another host says that it changed a task that runs here; a
//! cancel through this host is passed on at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::queue::executor::{Ended, never_began};
use crate::queue::running::Attempting;
use crate::queue::shared::Shared;
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::claim::Next;
use cofferdam_domain::task::TaskId;

/// Cancels on the way to the canceller; the next heartbeat finds those beyond.
pub(crate) const QUEUED_MAX: usize = 1024;
/// The wait before a task that storage says runs here is looked up again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How often it is looked up.
const LOOKS_MAX: u32 = 20;

/// Handles cancels until everything is settled.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    mut cancels: mpsc::Receiver<TaskId>,
    ends: mpsc::WeakSender<Ended>,
) {
    let mut canceller = Canceller {
        shared,
        ends,
        asked: VecDeque::new(),
        sought: VecDeque::new(),
    };
    let beat = canceller.shared.config.heartbeat_interval;
    let mut next_beat = Instant::now() + beat;
    loop {
        let wake = canceller
            .next_due()
            .map_or(next_beat, |due| due.min(next_beat));
        tokio::select! {
            Some(id) = cancels.recv() => canceller.cancel(id, LOOKS_MAX).await,
            () = canceller.shared.changed_elsewhere.notified() => next_beat = Instant::now(),
            () = tokio::time::sleep_until(wake) => {}
            () = canceller.shared.settled.cancelled() => return,
        }
        canceller.work_off(Instant::now()).await;
        if Instant::now() >= next_beat {
            canceller.ask_storage().await;
            next_beat = Instant::now() + beat;
        }
    }
}

struct Canceller {
    shared: Arc<Shared>,
    ends: mpsc::WeakSender<Ended>,
    /// Attempts that were asked to end, and when they are killed; soonest first, because the grace
    /// period is the same for all.
    asked: VecDeque<(Instant, Arc<Attempting>)>,
    /// Tasks that storage says run here but that were not found: the claim or the end is in
    /// transit.
    sought: VecDeque<(Instant, TaskId, u32)>,
}

impl Canceller {
    async fn cancel(&mut self, id: TaskId, looks: u32) {
        if let Some(attempting) = self.shared.running.cancel(id) {
            let asked_already = self
                .asked
                .iter()
                .any(|(_, asked)| Arc::ptr_eq(asked, &attempting));
            if !asked_already {
                self.asked
                    .push_back((Instant::now() + self.shared.config.cancel_grace, attempting));
            }
        } else if let Some(taken) = self.shared.ready.remove(id) {
            let now = self.shared.clock.now();
            let ended = never_began(taken, Next::Cancel, FailureKind::Cancelled, now);
            if let Some(ends) = self.ends.upgrade()
                && ends.send(ended).await.is_err()
            {
                tracing::error!(task.id = %id, "a cancel cannot be recorded: the completer is gone");
            }
        } else if looks > 1 {
            self.sought
                .push_back((Instant::now() + LOOK_AGAIN, id, looks - 1));
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let kill = self.asked.front().map(|(at, _)| *at);
        let look = self.sought.front().map(|(at, _, _)| *at);
        kill.into_iter().chain(look).min()
    }

    async fn work_off(&mut self, now: Instant) {
        while let Some((_, attempting)) = self.asked.pop_front_if(|(at, _)| *at <= now) {
            attempting.kill.cancel();
        }
        while let Some((_, id, looks)) = self.sought.pop_front_if(|(at, _, _)| *at <= now) {
            self.cancel(id, looks).await;
        }
    }

    async fn ask_storage(&mut self) {
        match self
            .shared
            .storage
            .cancel_requests(self.shared.worker)
            .await
        {
            Ok(ids) => {
                for id in ids {
                    self.cancel(id, 1).await;
                }
            }
            Err(error) => tracing::warn!(%error, "cancel requests could not be read"),
        }
    }
}
