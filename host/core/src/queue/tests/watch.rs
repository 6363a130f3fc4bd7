//! Waiting for tasks and watching them.

use std::time::Duration;

use super::stage::{Stage, one_slot, plain, quick_heartbeat, until};
use crate::queue::Submission;
use crate::queue::events::EventKind;
use crate::queue::settings::QueueConfig;
use crate::queue::watch::Reach;
use cofferdam_domain::attempt::{FailureKind, Stream};
use cofferdam_domain::caller::Caller;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::whose::Whose;
use cofferdam_storage::signals::Signal;

#[tokio::test]
async fn waiting_ends_with_the_task_or_with_the_patience() {
    let mut stage = Stage::set(one_slot()).await;
    let id = stage.submit(plain()).await;
    let guest = stage.guest().await;
    let early = stage
        .queue
        .wait(&Caller::local(), id, Duration::from_millis(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(early.state, TaskState::Running);
    let (task, ()) = tokio::join!(stage.finished(id), async { guest.completes() });
    assert_eq!(task.state, TaskState::Completed);
    assert!(
        stage
            .queue
            .wait(
                &Caller::local(),
                cofferdam_domain::task::TaskId(uuid::Uuid::nil()),
                Duration::ZERO
            )
            .await
            .unwrap()
            .is_none()
    );
    stage.end().await;
}

#[tokio::test]
async fn a_guests_output_is_reported_before_its_end_and_can_be_resumed() {
    let mut stage = Stage::set(one_slot()).await;
    let id = stage.submit(plain()).await;
    let mut watch = stage.watch(id).await;
    let guest = stage.guest().await;
    until(&mut watch, TaskState::Running, 1).await;
    let observer = guest.control.observer.clone().unwrap();
    observer.wrote(Stream::Stdout, b"hello");
    for step in 1..=1000 {
        observer.progress(f64::from(step) / 1000.0, "on the way");
    }
    guest.completes();
    stage.finished(id).await;
    let mut told = Vec::new();
    while let Some(event) = watch.next().await {
        told.push(event);
    }
    let wrote = EventKind::Wrote {
        stream: Stream::Stdout,
        bytes: "hello".into(),
    };
    assert_eq!(told[0].kind, wrote);
    let done = EventKind::Progress {
        fraction: 1.0,
        note: "on the way".to_owned(),
    };
    assert_eq!(
        told[told.len() - 2].kind,
        done,
        "the last report is delivered before the end"
    );
    assert!(told.len() < 20, "reports are delivered at a bounded pace");
    let end = EventKind::Status {
        state: TaskState::Completed,
        attempt: 1,
    };
    assert_eq!(told[told.len() - 1].kind, end);

    let seen = told[told.len() - 2].number;
    let (task, mut resumed) = {
        let watched = stage
            .queue
            .watch(&Caller::local(), id, seen, Reach::AllHosts)
            .await;
        watched.unwrap().unwrap()
    };
    assert_eq!(task.state, TaskState::Completed);
    assert_eq!(resumed.next().await.unwrap().kind, end);
    assert!(resumed.next().await.is_none());
    stage.end().await;
}

#[tokio::test]
async fn progress_of_a_running_attempt_can_be_read_from_storage() {
    let mut stage = Stage::set(one_slot()).await;
    let id = stage.submit(plain()).await;
    let guest = stage.guest().await;
    guest
        .control
        .observer
        .clone()
        .unwrap()
        .progress(0.25, "a quarter");
    let recorded = async {
        while stage.task(id).await.progress_note != "a quarter" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), recorded)
        .await
        .expect("it is recorded");
    guest.completes();
    stage.finished(id).await;
    stage.end().await;
}

#[tokio::test]
async fn a_watcher_and_a_waiter_read_storage_if_nobody_notifies_them() {
    let stage = Stage::set(quick_heartbeat()).await;
    let delay = Duration::from_secs(1000);
    let id = stage.submit(Submission { delay, ..plain() }).await;
    let mut watch = stage.watch(id).await;
    // This is how another host does it.
    stage
        .storage
        .cancel(&Whose::All, id, stage.clock.now())
        .await
        .unwrap();
    until(&mut watch, TaskState::Cancelled, 0).await;
    assert!(watch.next().await.is_none());
    assert_eq!(stage.finished(id).await.state, TaskState::Cancelled);
    stage.end().await;
}

#[tokio::test]
async fn what_another_host_signals_is_heard_at_once() {
    let mut stage = Stage::set(QueueConfig {
        heartbeat_interval: Duration::from_secs(1000),
        ..one_slot()
    })
    .await;
    let id = stage.submit(plain()).await;
    stage.guest().await.fails(FailureKind::Trap, false);
    stage.finished(id).await;
    // This is how another host does it.
    stage
        .storage
        .retry(&Whose::All, id, stage.clock.now())
        .await
        .unwrap();
    let mut watch = stage.watch(id).await;
    stage.signals.tell(Signal::Work);
    let guest = stage.guest().await;
    guest.fails(FailureKind::Trap, false);
    stage.finished(id).await;
    until(&mut watch, TaskState::Failed, 2).await;

    let delay = Duration::from_secs(1000);
    let id = stage.submit(Submission { delay, ..plain() }).await;
    let mut watch = stage.watch(id).await;
    let other_host = async {
        stage
            .storage
            .cancel(&Whose::All, id, stage.clock.now())
            .await
            .unwrap();
        stage.signals.tell(Signal::Changed(id));
    };
    let (task, ()) = tokio::join!(stage.finished(id), other_host);
    assert_eq!(task.state, TaskState::Cancelled);
    until(&mut watch, TaskState::Cancelled, 0).await;
    stage.end().await;
}

#[tokio::test]
async fn a_signal_to_look_at_everything_is_heeded_by_all() {
    let mut stage = Stage::set(QueueConfig {
        heartbeat_interval: Duration::from_secs(1000),
        ..one_slot()
    })
    .await;
    let runs = stage.submit(plain()).await;
    let guest = stage.guest().await;
    let delay = Duration::from_secs(1000);
    let waits = stage.submit(Submission { delay, ..plain() }).await;
    let mut watch = stage.watch(waits).await;
    // This is how another host does it.
    let other_host = async {
        for id in [runs, waits] {
            stage
                .storage
                .cancel(&Whose::All, id, stage.clock.now())
                .await
                .unwrap();
        }
        stage.signals.tell(Signal::Everything);
        let asked = guest.control.cancel.cancelled();
        tokio::time::timeout(Duration::from_secs(20), asked)
            .await
            .expect("in time");
        guest.completes();
    };
    let (task, ()) = tokio::join!(stage.finished(waits), other_host);
    assert_eq!(task.state, TaskState::Cancelled);
    until(&mut watch, TaskState::Cancelled, 0).await;
    assert_eq!(stage.finished(runs).await.state, TaskState::Cancelled);
    stage.end().await;
}

#[tokio::test]
async fn a_watch_goes_on_after_a_retry_by_hand() {
    let mut stage = Stage::set(one_slot()).await;
    let id = stage.submit(plain()).await;
    let mut watch = stage.watch(id).await;
    stage.guest().await.fails(FailureKind::Trap, false);
    until(&mut watch, TaskState::Failed, 1).await;
    stage.queue.retry(&Caller::local(), id).await.unwrap();
    let guest = stage.guest().await;
    until(&mut watch, TaskState::Running, 2).await;
    let mut late = stage.watch(id).await;
    guest.completes();
    for watch in [&mut watch, &mut late] {
        until(watch, TaskState::Completed, 2).await;
        assert!(watch.next().await.is_none());
    }
    stage.end().await;
}
