//! What follows a failed attempt.

use std::time::Duration;

use super::stage::{START, Stage, one_slot, plain, until};
use crate::queue::Submission;
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::label::Label;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::whose::Whose;
use cofferdam_storage::Retried;

fn three_attempts() -> Submission {
    let retry = RetryPolicy {
        max_attempts: 3,
        jitter: false,
        ..RetryPolicy::default()
    };
    Submission { retry, ..plain() }
}

#[tokio::test]
async fn a_transient_failure_is_tried_again_after_growing_waits() {
    let mut stage = Stage::set(one_slot()).await;
    let id = stage.submit(three_attempts()).await;
    let mut watch = stage.watch(id).await;
    let mut now = Duration::ZERO;
    for (attempt, wait) in [(1, Duration::from_secs(1)), (2, Duration::from_secs(2))] {
        let guest = stage.guest().await;
        assert_eq!(guest.claim.attempt, attempt);
        guest.fails(FailureKind::GuestError, true);
        until(&mut watch, TaskState::Pending, attempt).await;
        now += wait;
        let task = stage.task(id).await;
        assert_eq!(
            (task.run_at, task.label(START)),
            (START.plus(now), Label::Retrying)
        );
        stage.advance_to(now);
    }
    stage.guest().await.fails(FailureKind::GuestError, true);
    let task = stage.finished(id).await;
    assert_eq!((task.state, task.attempt), (TaskState::Failed, 3));
    assert_eq!(
        stage
            .reads
            .attempts(&Whose::All, id, 0, 99)
            .await
            .unwrap()
            .len(),
        3
    );

    assert_eq!(
        stage.queue.retry(&Caller::local(), id).await.unwrap(),
        Retried::Pending
    );
    let guest = stage.guest().await;
    assert_eq!((guest.claim.attempt, guest.claim.max_attempts), (4, 6));
    guest.completes();
    assert_eq!(stage.finished(id).await.state, TaskState::Completed);
    stage.end().await;
}

#[tokio::test]
async fn a_failure_that_the_guest_calls_permanent_is_not_tried_again() {
    let mut stage = Stage::set(one_slot()).await;
    for (kind, transient) in [
        (FailureKind::GuestError, false),
        (FailureKind::InvalidInput, false),
        (FailureKind::MemoryExceeded, false),
    ] {
        let id = stage.submit(three_attempts()).await;
        stage.guest().await.fails(kind, transient);
        let task = stage.finished(id).await;
        assert_eq!((task.state, task.attempt), (TaskState::Failed, 1));
        assert_eq!(task.failure.unwrap().kind, kind);
    }
    stage.end().await;
}

#[tokio::test]
async fn a_panic_of_the_host_costs_one_attempt_and_no_lane() {
    let mut stage = Stage::set(one_slot()).await;
    for _ in 0..4 {
        let id = stage
            .submit(Submission {
                args: vec!["panic".to_owned()],
                ..plain()
            })
            .await;
        let task = stage.finished(id).await;
        assert_eq!(task.failure.unwrap().kind, FailureKind::HostError);
    }
    let id = stage.submit(plain()).await;
    stage.guest().await.completes();
    assert_eq!(stage.finished(id).await.state, TaskState::Completed);
    stage.end().await;
}
