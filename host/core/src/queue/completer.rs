//! Records how attempts ended, in batches that share a commit, and tells whoever waits.
//!
//! A batch is what came in while the one before was committed: a lone end is recorded at once, and
//! a flood in as few commits as the limit allows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::queue::executor::Ended;
use crate::queue::shared::Shared;
use cofferdam_domain::claim::AttemptEnd;
use cofferdam_domain::state::TaskState;
use cofferdam_storage::{Finished, StorageError};

/// Ends on the way to storage; one more makes its attempt wait.
pub(crate) const QUEUED_MAX: usize = 1024;
/// Ends recorded in one call.
const BATCH_MAX: usize = 512;
/// The first and the longest wait before a batch that storage refused is offered again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often a batch is offered while the host shuts down. What is given up then is rescued by the
/// next start.
const OFFERS_AT_SHUTDOWN: u32 = 5;

/// Records until every executor is gone, then says that all is settled.
pub(crate) async fn serve(shared: Arc<Shared>, mut ends: mpsc::Receiver<Ended>) {
    let settled = shared.settled.clone().drop_guard();
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while ends.recv_many(&mut batch, BATCH_MAX).await > 0 {
        record(&shared, &batch).await;
        batch.clear();
    }
    drop(settled);
}

async fn record(shared: &Shared, batch: &[Ended]) {
    let mut wait = RETRY_WAIT.0;
    let mut offers_at_shutdown = 0;
    loop {
        let ends: Vec<AttemptEnd> = batch.iter().map(|ended| ended.end.clone()).collect();
        match shared.storage.finish(ends).await {
            Ok(finished) => {
                for (ended, finished) in batch.iter().zip(finished) {
                    publish(shared, ended, finished);
                }
                return;
            }
            Err(error) => log_refusal(&error, batch.len()),
        }
        if shared.shutdown.is_requested() {
            offers_at_shutdown += 1;
            if offers_at_shutdown >= OFFERS_AT_SHUTDOWN {
                tracing::error!(
                    ends = batch.len(),
                    "given up; the next start runs these tasks again"
                );
                return;
            }
        }
        // The fence makes a second offer harmless where the first one did happen.
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_WAIT.1);
    }
}

fn log_refusal(error: &StorageError, ends: usize) {
    tracing::error!(%error, ends, "attempts could not be recorded; they are offered again");
}

fn publish(shared: &Shared, ended: &Ended, finished: Finished) {
    let end = &ended.end;
    let untold = shared.progress.take(end.task_id, end.fence);
    match finished {
        Finished::Stale => {
            tracing::warn!(task.id = %end.task_id, attempt = end.attempt, "this end came too late");
        }
        Finished::Recorded(state) => {
            if ended.ran {
                count_attempt(shared, ended);
            }
            if let Some(report) = untold {
                shared
                    .events
                    .progress(end.task_id, report.fraction, &report.note);
            }
            shared.events.status(end.task_id, state, end.attempt);
            if state.is_final() {
                count_task(shared, ended, state);
            } else {
                shared.work.notify_one();
            }
        }
    }
    shared.waiters.wake(end.task_id);
}

fn count_attempt(shared: &Shared, ended: &Ended) {
    let (end, failure) = (&ended.end, ended.end.outcome.failure_kind());
    shared
        .figures
        .ended(failure.is_none(), ended.wait, end.usage.duration);
    let module = ended.spec.module.as_str();
    shared
        .metrics
        .attempt_finished(module, failure, ended.wait, end.usage.duration);
}

fn count_task(shared: &Shared, ended: &Ended, state: TaskState) {
    let (end, module) = (&ended.end, ended.spec.module.as_str());
    let end_to_end = end.finished_at.since(ended.created_at);
    shared
        .metrics
        .task_finished(module, state, end.outcome.failure_kind(), end_to_end);
}
