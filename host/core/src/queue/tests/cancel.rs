//! Cancelling tasks in every state, from this host and from others.

use std::time::Duration;

use uuid::Uuid;

use super::stage::{PATIENCE, START, Stage, one_slot, plain, quick_heartbeat, until};
use crate::queue::Submission;
use crate::queue::settings::QueueConfig;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, TaskId};
use cofferdam_domain::whose::Whose;
use cofferdam_storage::Cancelled;
use cofferdam_storage::signals::Signal;

#[tokio::test]
async fn a_pending_task_is_cancelled_at_once() {
    let stage = Stage::set(one_slot()).await;
    let delay = Duration::from_secs(1000);
    let id = stage.submit(Submission { delay, ..plain() }).await;
    let caller = Caller::local();
    let waiting = stage.queue.wait(&caller, id, Duration::from_secs(20));
    let (task, cancelled) = tokio::join!(waiting, stage.queue.cancel(&caller, id));
    assert_eq!(cancelled.unwrap(), Cancelled::AtOnce);
    assert_eq!(task.unwrap().unwrap().state, TaskState::Cancelled);
    assert_eq!(
        stage.queue.cancel(&caller, id).await.unwrap(),
        Cancelled::Final(TaskState::Cancelled)
    );
    let unknown = TaskId(Uuid::from_u128(9));
    assert_eq!(
        stage.queue.cancel(&caller, unknown).await.unwrap(),
        Cancelled::Unknown
    );
    stage.end().await;
}

#[tokio::test]
async fn a_running_task_is_asked_to_end_and_ends_cancelled() {
    let mut stage = Stage::set(one_slot()).await;
    let id = stage.submit(plain()).await;
    let guest = stage.guest().await;
    let answer = stage.queue.cancel(&Caller::local(), id).await.unwrap();
    assert_eq!(answer, Cancelled::Requested(stage.queue.worker()));
    guest.control.cancel.cancelled().await;
    assert!(!guest.control.kill.is_cancelled());
    // It cleans up and even returns a result, but its caller knows that it is cancelled.
    guest.completes();
    let task = stage.finished(id).await;
    assert_eq!(task.state, TaskState::Cancelled);
    // Its output is kept.
    let result = stage.reads.result(&Whose::All, id).await.unwrap().unwrap();
    assert_eq!(&result.body[..], b"done");
    stage.end().await;
}

#[tokio::test]
async fn a_guest_that_does_not_end_is_killed_after_the_grace() {
    let grace = Duration::from_millis(100);
    let mut stage = Stage::set(QueueConfig {
        cancel_grace: grace,
        ..one_slot()
    })
    .await;
    let id = stage.submit(plain()).await;
    let guest = stage.guest().await;
    let begun = std::time::Instant::now();
    stage.queue.cancel(&Caller::local(), id).await.unwrap();
    let task = stage.finished(id).await;
    assert!(begun.elapsed() >= grace);
    assert_eq!(task.state, TaskState::Cancelled);
    assert!(guest.control.kill.is_cancelled());
    stage.end().await;
}

#[tokio::test]
async fn a_claimed_task_that_waits_for_a_slot_is_cancelled_without_running() {
    let mut stage = Stage::set(one_slot()).await;
    stage.offer(vec![plain()]).await.unwrap();
    let tasks = vec![plain(); 2];
    let guest = stage.guest().await;
    let ids = stage.offer(tasks).await.unwrap();
    let crate::queue::Submitted::New(id) = ids[0] else {
        panic!("{ids:?}")
    };
    stage.queue.cancel(&Caller::local(), id).await.unwrap();
    assert_eq!(stage.finished(id).await.state, TaskState::Cancelled);
    guest.completes();
    let guest = stage.guest().await;
    assert_ne!(guest.id(), id);
    guest.completes();
    stage.end().await;
}

#[tokio::test]
async fn a_cancel_through_another_host_is_seen_at_the_next_heartbeat() {
    let mut stage = Stage::set(quick_heartbeat()).await;
    let id = stage.submit(plain()).await;
    let guest = stage.guest().await;
    stage
        .storage
        .cancel(&Whose::All, id, stage.clock.now())
        .await
        .unwrap();
    guest.control.cancel.cancelled().await;
    guest.completes();
    assert_eq!(stage.finished(id).await.state, TaskState::Cancelled);
    stage.end().await;
}

#[tokio::test]
async fn a_cancel_through_another_host_is_seen_when_it_is_signalled() {
    let mut stage = Stage::set(QueueConfig {
        heartbeat_interval: Duration::from_secs(1000),
        ..one_slot()
    })
    .await;
    let id = stage.submit(plain()).await;
    let guest = stage.guest().await;
    stage
        .storage
        .cancel(&Whose::All, id, stage.clock.now())
        .await
        .unwrap();
    stage.signals.tell(Signal::Changed(id));
    let asked = guest.control.cancel.cancelled();
    tokio::time::timeout(PATIENCE, asked)
        .await
        .expect("in time");
    guest.completes();
    assert_eq!(stage.finished(id).await.state, TaskState::Cancelled);
    stage.end().await;
}

#[tokio::test]
async fn a_watcher_hears_of_a_cancel_before_the_task_began() {
    let stage = Stage::set(one_slot()).await;
    let delay = Duration::from_secs(1000);
    let id = stage.submit(Submission { delay, ..plain() }).await;
    let mut watch = stage.watch(id).await;
    stage.queue.cancel(&Caller::local(), id).await.unwrap();
    until(&mut watch, TaskState::Cancelled, 0).await;
    assert!(watch.next().await.is_none());
    stage.end().await;
}

/// Storage that lost touch with its host may have forgotten a claim, and then cancels its task at once.
#[tokio::test]
async fn what_was_claimed_before_storage_was_cut_off_does_not_begin_after_its_cancel() {
    let mut stage = Stage::set(quick_heartbeat()).await;
    stage.submit(plain()).await;
    let first = stage.guest().await;
    let (forgotten, known) = (stage.submit(plain()).await, stage.submit(plain()).await);
    let claims = stage
        .storage
        .claim(stage.queue.shared.worker, 2, ClaimOrder::Priority, START);
    let claims = stage.queue.shared.hands.take(claims.await.unwrap());
    stage.queue.shared.ready.push(claims);
    stage.ready(&[forgotten, known]).await;
    stage.signals.tell(Signal::Cut);
    assert!(!stage.queue.shared.ready.holds(forgotten));
    stage
        .queue
        .cancel(&Caller::local(), forgotten)
        .await
        .unwrap();
    first.completes();
    let guest = stage.guest().await;
    assert_eq!(guest.id(), known);
    guest.completes();
    assert_eq!(stage.finished(known).await.state, TaskState::Completed);
    assert_eq!(stage.finished(forgotten).await.state, TaskState::Cancelled);
    stage.end().await;
}
