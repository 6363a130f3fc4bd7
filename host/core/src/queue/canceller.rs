//! Stops running attempts whose tasks were cancelled, here or through another host.
//!
//! A guest is first asked to end, and killed after the grace period. Storage has the truth and is
//! read at every heartbeat, and when another host says that it changed a task that runs here; a
//! cancel through this host is passed on at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::queue::ends::Ended;
use crate::queue::executor::never_began;
use crate::queue::running::Attempting;
use crate::queue::shared::Shared;
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::claim::Next;
use cofferdam_domain::task::TaskId;
use cofferdam_storage::StorageError;

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
        shared: Arc::clone(&shared),
        ends,
        asked: VecDeque::new(),
        sought: VecDeque::new(),
    };
    let beat = shared.config.heartbeat_interval;
    let mut next_beat = Instant::now() + beat;
    // A question at a time, and nobody waits for its answer: a kill is due whatever storage does.
    let mut question = Fuse::terminated();
    let mut again = false;
    loop {
        let wake = canceller
            .next_due()
            .map_or(next_beat, |due| due.min(next_beat));
        tokio::select! {
            Some(id) = cancels.recv() => canceller.cancel(id, LOOKS_MAX),
            answer = &mut question => {
                canceller.heed(answer);
                if std::mem::take(&mut again) {
                    next_beat = Instant::now();
                }
            }
            () = shared.changed_elsewhere.notified() => next_beat = Instant::now(),
            () = tokio::time::sleep_until(wake) => {}
            () = shared.settled.cancelled() => return,
        }
        canceller.work_off(Instant::now());
        if Instant::now() >= next_beat {
            if question.is_terminated() {
                question = shared.storage.cancel_requests(shared.worker).fuse();
            } else {
                // Its answer may be from before what was signalled.
                again = true;
            }
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
    fn cancel(&mut self, id: TaskId, looks: u32) {
        let attempts = self.shared.running.cancel(id);
        let runs = !attempts.is_empty();
        for attempting in attempts {
            let mut asked = self.asked.iter();
            if !asked.any(|(_, asked)| Arc::ptr_eq(asked, &attempting)) {
                let kill_at = Instant::now() + self.shared.config.cancel_grace;
                self.asked.push_back((kill_at, attempting));
            }
        }
        if !self.give_up_ready(id) && !runs && looks > 1 {
            self.sought
                .push_back((Instant::now() + LOOK_AGAIN, id, looks - 1));
        }
    }

    /// Ends a claim that waits for its slot; true if it did. If too many ends are on the way, the claim
    /// stays and is found again.
    fn give_up_ready(&self, id: TaskId) -> bool {
        let Some(ends) = self.ends.upgrade() else {
            return false;
        };
        let Ok(place) = ends.try_reserve() else {
            return false;
        };
        let Some(taken) = self.shared.ready.remove(|claim| claim.task_id == id) else {
            return false;
        };
        let now = self.shared.clock.now();
        place.send(never_began(
            taken,
            Next::Cancel,
            FailureKind::Cancelled,
            now,
        ));
        true
    }

    fn next_due(&self) -> Option<Instant> {
        let kill = self.asked.front().map(|(at, _)| *at);
        let look = self.sought.front().map(|(at, _, _)| *at);
        kill.into_iter().chain(look).min()
    }

    fn work_off(&mut self, now: Instant) {
        while let Some((_, attempting)) = self.asked.pop_front_if(|(at, _)| *at <= now) {
            attempting.kill.cancel();
        }
        while let Some((_, id, looks)) = self.sought.pop_front_if(|(at, _, _)| *at <= now) {
            self.cancel(id, looks);
        }
    }

    /// What storage says was asked of this host's attempts.
    fn heed(&mut self, answer: Result<Vec<TaskId>, StorageError>) {
        match answer {
            Ok(ids) => {
                for id in ids {
                    self.cancel(id, 1);
                }
            }
            Err(error) => tracing::warn!(%error, "cancel requests could not be read"),
        }
    }
}
