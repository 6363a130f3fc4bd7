//! Compares, at every heartbeat, the attempts that storage says run here with those that do.
//!
//! A claim whose answer was lost does not run and is given back. An attempt that storage no longer
//! assigns to this host, because it was taken for dead, is ended. Both happen only after two
//! comparisons in a row agree: an end may be in transit. A claim may be as well, until every call
//! that had begun when it was first seen is answered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::queue::completer::concerns_one;
use crate::queue::shared::Shared;
use cofferdam_domain::attempt::{Failure, FailureKind, Fence, LeftOut, Outcome, Streams, Usage};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::{AttemptEnd, Next};
use cofferdam_domain::task::TaskId;
use cofferdam_storage::{HeldTask, StorageError};

/// Claims given back in one call.
const BATCH: usize = 256;

/// The result of the last comparison.
#[derive(Default)]
pub(crate) struct Reconciler {
    /// Storage says that they run here, but they are not held.
    lost: HashMap<Fence, Seen>,
    /// They are held, but storage says otherwise.
    disowned: HashMap<Fence, TaskId>,
}

/// A claim that nobody has in hand.
#[derive(Clone, Copy)]
struct Seen {
    task: HeldTask,
    /// How many calls that claim had begun by then.
    calls: u64,
}

/// Compares until everything is settled.
pub(crate) async fn serve(shared: Arc<Shared>) {
    let mut reconciler = Reconciler::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(shared.config.heartbeat_interval) => {}
            () = shared.settled.cancelled() => return,
        }
        if let Err(error) = reconciler.compare(&shared).await {
            tracing::warn!(%error, "the running attempts could not be compared with storage");
        }
    }
}

impl Reconciler {
    async fn compare(&mut self, shared: &Shared) -> Result<(), StorageError> {
        let before = shared.hands.all();
        let held = shared.storage.held(shared.worker).await?;
        // In this order: what an answered call brought is in hand.
        let calls = shared.hands.calls();
        let is_answered = |seen: &Seen| shared.hands.are_answered(seen.calls);
        let answered: HashSet<Fence> = self
            .lost
            .iter()
            .filter(|(_, seen)| is_answered(seen))
            .map(|(fence, _)| *fence)
            .collect();
        let after = shared.hands.all();
        let told: HashSet<Fence> = held.iter().map(|task| task.fence).collect();
        let in_hand = |fence: &Fence| before.contains_key(fence) || after.contains_key(fence);
        let lost = held.into_iter().filter(|task| !in_hand(&task.fence));
        let first_seen = |task: HeldTask| match self.lost.get(&task.fence) {
            Some(seen) => *seen,
            None => Seen { task, calls },
        };
        self.lost = lost.map(|task| (task.fence, first_seen(task))).collect();
        self.end_disowned(shared, |fence| !told.contains(fence), &before, &after);
        if self.lost.is_empty() {
            shared.recording.agreed();
        }
        let again = self
            .lost
            .values()
            .filter(|seen| answered.contains(&seen.task.fence));
        let again: Vec<HeldTask> = again.map(|seen| seen.task).collect();
        for some in again.chunks(BATCH) {
            give_back(shared, some).await?;
        }
        Ok(())
    }

    /// Ends the attempts that are in hand all the time and that storage did not tell of, this time
    /// and the last.
    fn end_disowned(
        &mut self,
        shared: &Shared,
        is_untold: impl Fn(&Fence) -> bool,
        before: &HashMap<Fence, TaskId>,
        after: &HashMap<Fence, TaskId>,
    ) {
        let in_hand = before.iter().filter(|(fence, _)| after.contains_key(fence));
        let disowned = in_hand.filter(|(fence, _)| is_untold(fence));
        let disowned: HashMap<Fence, TaskId> = disowned.map(|(fence, id)| (*fence, *id)).collect();
        let twice = disowned
            .iter()
            .filter(|(fence, _)| self.disowned.contains_key(fence));
        for (fence, id) in twice {
            tracing::warn!(task.id = %id, "an attempt that is no longer this host's is ended");
            // It may not have begun.
            drop(shared.ready.remove(|claim| claim.fence == *fence));
            shared.running.disown(*id, *fence);
        }
        self.disowned = disowned;
    }
}

/// Gives claims back; one by one if storage refuses some of them.
async fn give_back(shared: &Shared, tasks: &[HeldTask]) -> Result<(), StorageError> {
    tracing::warn!(
        tasks = tasks.len(),
        "claims whose answer was lost are given back"
    );
    match record_given_back(shared, tasks).await {
        Err(error) if concerns_one(&error) && tasks.len() > 1 => {
            for task in tasks {
                if let Err(error) = record_given_back(shared, std::slice::from_ref(task)).await {
                    tracing::error!(task.id = %task.task_id, %error, "not given back");
                }
            }
            Ok(())
        }
        recorded => recorded,
    }
}

async fn record_given_back(shared: &Shared, tasks: &[HeldTask]) -> Result<(), StorageError> {
    let finished_at = shared.clock.now();
    let ends = tasks.iter().map(|task| AttemptEnd {
        task_id: task.task_id,
        // Nothing of it is recorded, whosever it is.
        tenant: Tenant::DEFAULT,
        attempt: task.attempt,
        fence: task.fence,
        workflow: None,
        finished_at,
        outcome: Outcome::Failed(Failure::new(FailureKind::Lost, "the attempt did not begin")),
        usage: Usage::default(),
        streams: Streams::default(),
        artifacts: Vec::new(),
        left_out: LeftOut::default(),
        next: Next::GiveBack,
    });
    shared.storage.finish(ends.collect()).await?;
    for task in tasks {
        shared.tell_changed(task.task_id);
    }
    shared.tell_work();
    Ok(())
}
