//! Recording ends in a storage that refuses some of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use uuid::Uuid;

use super::stage::{START, Stage, completed as one_completed, one_slot, plain};
use crate::queue::Submission;
use crate::queue::completer::{Ends, Recorder};
use crate::queue::ends::Ended;
use cofferdam_domain::attempt::{FailureKind, Outcome, WorkerId};
use cofferdam_domain::claim::AttemptEnd;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, TaskId};
use cofferdam_storage::{Heir, Recorded, StorageError, Tasks};

/// A storage that refuses every call that includes one of these tasks with a result.
struct Picky {
    storage: Arc<dyn Tasks>,
    refused: BTreeSet<u128>,
    error: StorageError,
    calls: AtomicUsize,
}

#[async_trait]
impl Ends for Picky {
    async fn record(
        &self,
        ends: Vec<AttemptEnd>,
        heir: Option<Heir>,
    ) -> Result<Recorded, StorageError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let refused = |end: &AttemptEnd| {
            self.refused.contains(&end.task_id.0.as_u128())
                && matches!(end.outcome, Outcome::Completed(_))
        };
        if ends.iter().any(refused) {
            return Err(self.error.clone());
        }
        self.storage.record(ends, heir).await
    }
}

impl Picky {
    fn new(stage: &Stage, refused: &[TaskId], error: StorageError) -> Picky {
        Picky {
            storage: Arc::clone(&stage.storage),
            refused: refused.iter().map(|id| id.0.as_u128()).collect(),
            error,
            calls: AtomicUsize::new(0),
        }
    }
}

/// A number of completed attempts of tasks that another host than the stage's ran.
async fn completed(stage: &Stage, number: u32) -> Vec<Ended> {
    let delay = Duration::from_secs(3600);
    for _ in 0..number {
        stage.submit(Submission { delay, ..plain() }).await;
    }
    let worker = WorkerId(Uuid::from_u128(99));
    let later = START.plus(delay);
    let claims = stage
        .storage
        .claim(worker, number, ClaimOrder::Fifo, later)
        .await
        .unwrap();
    let taken = stage.queue.shared.hands.take(claims);
    let ended = taken.into_iter().map(|taken| one_completed(taken, later));
    ended.collect()
}

#[tokio::test]
async fn a_refused_batch_is_cut_until_the_refused_ends_are_found() {
    let stage = Stage::set(one_slot()).await;
    let mut batch = completed(&stage, 64).await;
    let ids: Vec<TaskId> = batch.iter().map(|ended| ended.end.task_id).collect();
    let error = StorageError::TooLarge("as the test wants".to_owned());
    let picky = Picky::new(&stage, &[ids[5], ids[63]], error);
    Recorder::new(&stage.queue.shared, &picky)
        .record(&mut batch)
        .await;
    for (number, id) in ids.iter().enumerate() {
        let task = stage.task(*id).await;
        if [5, 63].contains(&number) {
            assert_eq!(task.state, TaskState::Failed);
            assert_eq!(task.failure.unwrap().kind, FailureKind::HostError);
        } else {
            assert_eq!(task.state, TaskState::Completed);
        }
    }
    // There are two descents of six halvings each, and the small forms.
    let calls = picky.calls.load(Ordering::Relaxed);
    assert!(calls <= 27, "{calls} calls");
    assert!(stage.queue.recording_is_stuck().is_none());
    stage.end().await;
}

#[tokio::test]
async fn a_storage_that_takes_nothing_is_given_up_at_shutdown() {
    let stage = Stage::set(one_slot()).await;
    let mut batch = completed(&stage, 8).await;
    let ids: Vec<TaskId> = batch.iter().map(|ended| ended.end.task_id).collect();
    let error = StorageError::Unavailable("as the test wants".to_owned());
    let picky = Picky::new(&stage, &ids, error);
    stage.shutdown.request();
    let begun = Instant::now();
    let mut recorder = Recorder::new(&stage.queue.shared, &picky);
    for _ in 0..10 {
        recorder.record(&mut batch).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{begun:?}");
    drop(recorder);
    stage.end().await;
}
