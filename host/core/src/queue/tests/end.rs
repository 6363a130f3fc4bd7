//! Draining: attempts that finish, are given back, or are killed.

use std::time::Duration;

use uuid::Uuid;

use super::stage::{Bin, START, Stage, beat, database, one_slot, plain, quick_heartbeat};
use crate::queue::settings::QueueConfig;
use crate::queue::{Submission, pruner};
use cofferdam_domain::attempt::{FailureKind, WorkerId};
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::ClaimOrder;
use cofferdam_domain::whose::Whose;

/// A task that is not run again if its host dies under it.
fn never_lost() -> Submission {
    let retry = RetryPolicy {
        max_lost: 0,
        ..RetryPolicy::default()
    };
    Submission { retry, ..plain() }
}

#[tokio::test]
async fn tasks_that_an_earlier_incarnation_left_running_are_rescued_at_once() {
    let (data, storage) = database().await;
    let mut stage = Stage::over((data, storage), one_slot(), true).await;
    let delay = Duration::from_secs(5);
    let id = stage.submit(Submission { delay, ..plain() }).await;
    let dead = WorkerId(Uuid::from_u128(99));
    let later = START.plus(delay);
    stage.storage.heartbeat(beat(dead), later).await.unwrap();
    let claims = stage
        .storage
        .claim(dead, 1, ClaimOrder::Fifo, later)
        .await
        .unwrap();
    assert_eq!(claims.len(), 1);
    stage.clock.set(later);
    let forever = cofferdam_domain::time::Timestamp::from_millis(i64::MAX);
    let rescued = crate::queue::rescuer::run_once(&stage.queue.shared, forever)
        .await
        .unwrap();
    assert_eq!(rescued, 1);
    let guest = stage.guest().await;
    assert_eq!(
        (guest.id(), guest.claim.attempt, guest.claim.lost),
        (id, 2, 1)
    );
    guest.completes();
    assert_eq!(stage.finished(id).await.state, TaskState::Completed);
    let attempts = stage.reads.attempts(&Whose::All, id, 0, 99).await.unwrap();
    assert_eq!(
        attempts[0].failure.as_ref().unwrap().kind,
        FailureKind::Lost
    );
    stage.end().await;
}

#[tokio::test]
async fn shutdown_lets_attempts_finish() {
    let drain_timeout = Duration::from_secs(60);
    let mut stage = Stage::set(QueueConfig {
        drain_timeout,
        ..one_slot()
    })
    .await;
    let id = stage.submit(plain()).await;
    let guest = stage.guest().await;
    stage.shutdown.request();
    guest.completes();
    let storage = std::sync::Arc::clone(&stage.reads);
    stage.end().await;
    assert_eq!(
        storage.task(&Whose::All, id).await.unwrap().unwrap().state,
        TaskState::Completed
    );
}

#[tokio::test]
async fn an_attempt_that_does_not_finish_is_given_back_at_shutdown() {
    let mut stage = Stage::set(one_slot()).await;
    let first = stage.submit(plain()).await;
    let _stubborn = stage.guest().await;
    let second = stage.submit(never_lost()).await;
    let storage = std::sync::Arc::clone(&stage.reads);
    stage.end().await;
    let cut_off = storage.task(&Whose::All, first).await.unwrap().unwrap();
    assert_eq!((cut_off.state, cut_off.lost), (TaskState::Pending, 1));
    assert!(cut_off.attempt < cut_off.max_attempts);
    let never_begun = storage.task(&Whose::All, second).await.unwrap().unwrap();
    assert_eq!(
        (never_begun.state, never_begun.attempt),
        (TaskState::Pending, 0)
    );
    assert!(
        storage
            .attempts(&Whose::All, second, 0, 99)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_attempt_that_may_not_be_repeated_is_lost_at_shutdown() {
    let mut stage = Stage::set(one_slot()).await;
    let id = stage.submit(never_lost()).await;
    let _stubborn = stage.guest().await;
    let storage = std::sync::Arc::clone(&stage.reads);
    stage.end().await;
    let task = storage.task(&Whose::All, id).await.unwrap().unwrap();
    assert_eq!(task.state, TaskState::Failed);
    assert_eq!(task.failure.unwrap().kind, FailureKind::Lost);
}

#[tokio::test]
async fn final_tasks_are_pruned_past_their_retention() {
    let retention = Duration::from_secs(60);
    let stage = Stage::set_automatic(QueueConfig {
        retention,
        ..one_slot()
    })
    .await;
    let old = stage.submit(plain()).await;
    stage.finished(old).await;
    stage.clock.set(START.plus(Duration::from_secs(61)));
    let young = stage.submit(plain()).await;
    stage.finished(young).await;
    let bin: &Bin = &stage.bin;
    pruner::run_once(&stage.queue.shared, bin).await.unwrap();
    assert_eq!(*bin.0.lock().unwrap(), [old]);
    assert!(stage.reads.task(&Whose::All, old).await.unwrap().is_none());
    assert!(
        stage
            .reads
            .task(&Whose::All, young)
            .await
            .unwrap()
            .is_some()
    );
    stage.end().await;
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_given_back_at_a_heartbeat() {
    let mut stage = Stage::set(quick_heartbeat()).await;
    let delay = Duration::from_secs(5);
    let id = stage.submit(Submission { delay, ..plain() }).await;
    let (worker, later) = (stage.queue.worker(), START.plus(delay));
    let lost = stage
        .storage
        .claim(worker, 1, ClaimOrder::Fifo, later)
        .await;
    assert_eq!(lost.unwrap().len(), 1);
    stage.clock.set(later);
    let guest = stage.guest().await;
    assert_eq!((guest.id(), guest.claim.attempt), (id, 1));
    guest.completes();
    assert_eq!(stage.finished(id).await.state, TaskState::Completed);
    stage.end().await;
}

#[tokio::test]
async fn an_attempt_that_storage_gave_to_another_host_is_ended() {
    let mut stage = Stage::set(quick_heartbeat()).await;
    let id = stage.submit(plain()).await;
    let guest = stage.guest().await;
    let other = WorkerId(Uuid::from_u128(99));
    let forever = cofferdam_domain::time::Timestamp::from_millis(i64::MAX);
    let rescued = stage.storage.rescue(other, forever, 9, stage.clock.now());
    assert_eq!(rescued.await.unwrap().len(), 1);
    let claim = stage
        .storage
        .claim(other, 1, ClaimOrder::Fifo, stage.clock.now());
    assert_eq!(claim.await.unwrap()[0].task_id, id);
    guest.control.kill.cancelled().await;
    assert_eq!(stage.task(id).await.worker, Some(other));
    stage.end().await;
}
