//! Compares, at every heartbeat, the attempts that storage says run here with those that do.
//!
//! A claim whose answer was lost does not run and is given back. An attempt that storage no longer
//! assigns to this host, because it was taken for dead, is ended. Both happen only after two
//! comparisons in a row agree: a claim or an end may be in transit.

use std::collections::HashMap;
use std::sync::Arc;

use crate::queue::shared::Shared;
use cofferdam_domain::attempt::{Failure, FailureKind, Fence, LeftOut, Outcome, Streams, Usage};
use cofferdam_domain::claim::{AttemptEnd, Next};
use cofferdam_domain::task::TaskId;
use cofferdam_storage::{HeldTask, StorageError};

/// Claims given back in one call.
const BATCH: usize = 256;

/// The result of the last comparison.
#[derive(Default)]
pub(crate) struct Reconciler {
    /// Storage says that they run here, but they are not held.
    lost: HashMap<Fence, HeldTask>,
    /// They are held, but storage says otherwise.
    disowned: HashMap<Fence, TaskId>,
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
        let after = shared.hands.all();
        let told: HashMap<Fence, HeldTask> =
            held.into_iter().map(|task| (task.fence, task)).collect();
        let (mut lost, mut disowned) = (HashMap::new(), HashMap::new());
        for (fence, task) in &told {
            if !before.contains_key(fence) && !after.contains_key(fence) {
                lost.insert(*fence, *task);
            }
        }
        for (fence, id) in &before {
            if !told.contains_key(fence) && after.contains_key(fence) {
                disowned.insert(*fence, *id);
            }
        }
        for (fence, id) in disowned
            .iter()
            .filter(|(fence, _)| self.disowned.contains_key(fence))
        {
            tracing::warn!(task.id = %id, "an attempt that is no longer this host's is ended");
            shared.running.disown(*id, *fence);
        }
        let twice = lost
            .values()
            .filter(|task| self.lost.contains_key(&task.fence));
        let twice: Vec<HeldTask> = twice.copied().collect();
        (self.lost, self.disowned) = (lost, disowned);
        for some in twice.chunks(BATCH) {
            give_back(shared, some).await?;
        }
        Ok(())
    }
}

async fn give_back(shared: &Shared, tasks: &[HeldTask]) -> Result<(), StorageError> {
    tracing::warn!(
        tasks = tasks.len(),
        "claims whose answer was lost are given back"
    );
    let finished_at = shared.clock.now();
    let ends = tasks.iter().map(|task| AttemptEnd {
        task_id: task.task_id,
        attempt: task.attempt,
        fence: task.fence,
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
