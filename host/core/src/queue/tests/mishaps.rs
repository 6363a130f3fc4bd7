//! What storage may do to the queue, one mishap at a time: each was found by `chaos` or stands beside
//! what it found.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::faulty::{Call, Fault, Faulty, Plan};
use super::stage::{PATIENCE, START, Stage, becomes, database, one_slot, plain, until};
use crate::queue::Submission;
use crate::queue::events::EventKind;
use crate::queue::settings::QueueConfig;
use cofferdam_domain::attempt::{FailureKind, WorkerId};
use cofferdam_domain::caller::Caller;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, Priority, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::{Cancelled, Purged, Reads, Retried, Tasks};

/// Nothing waits for a beat that comes so seldom.
const NEVER: Duration = Duration::from_secs(3600);
const BEAT: Duration = Duration::from_millis(20);

/// A stage whose storage fails as it is told.
async fn stage(config: QueueConfig) -> (Stage, Arc<Plan>) {
    let (data, mut opened) = database().await;
    let plan = Plan::of(Vec::new());
    let faulty = Arc::new(Faulty::over(&plan, &opened.tasks, &opened.reads));
    opened.tasks = Arc::<Faulty>::clone(&faulty) as Arc<dyn Tasks>;
    opened.reads = faulty as Arc<dyn Reads>;
    (Stage::over((data, opened), config, true).await, plan)
}

fn beating(heartbeat_interval: Duration) -> QueueConfig {
    QueueConfig {
        heartbeat_interval,
        ..one_slot()
    }
}

#[tokio::test]
async fn a_cancelled_guest_is_killed_in_its_time_while_storage_does_not_answer() {
    let (mut stage, plan) = stage(beating(BEAT)).await;
    let grace = stage.queue.shared.config.cancel_grace;
    stage.submit(plain()).await;
    let guest = stage.guest().await;
    plan.next(Call::CancelRequests, Fault::Delayed(60_000));
    let asked = plan.made(Call::CancelRequests);
    becomes(async || plan.made(Call::CancelRequests) > asked).await;
    let begun = Instant::now();
    stage
        .queue
        .cancel(&Caller::local(), guest.id())
        .await
        .unwrap();
    let killed = guest.control.kill.cancelled();
    tokio::time::timeout(PATIENCE, killed).await.unwrap();
    assert!(begun.elapsed() < grace + Duration::from_secs(5));
    guest.completes();
    stage.end().await;
}

/// It is no claim whose answer was lost, however many comparisons find it in nobody's hands.
#[tokio::test]
async fn a_claim_that_is_answered_late_is_not_given_back_meanwhile() {
    let (mut stage, plan) = stage(beating(BEAT)).await;
    plan.next(Call::Claim, Fault::AnsweredLate(400));
    let id = stage.submit(plain()).await;
    let guest = stage.guest().await;
    assert_eq!((guest.id(), guest.claim.attempt), (id, 1));
    let held = stage.storage.held(stage.queue.worker()).await.unwrap();
    assert_eq!(held[0].fence, guest.claim.fence);
    // Whoever is told that it is cancelled and never began could have been told so meanwhile.
    let cancelled = stage.queue.cancel(&Caller::local(), id).await.unwrap();
    assert_eq!(cancelled, Cancelled::Requested(stage.queue.worker()));
    guest.completes();
    stage.finished(id).await;
    assert!(stage.is_quiet(), "it began once");
    stage.end().await;
}

#[tokio::test]
async fn both_attempts_of_a_host_that_claims_again_what_it_lost_can_be_ended() {
    let config = QueueConfig {
        slots: 2,
        ..beating(BEAT)
    };
    let (mut stage, _) = stage(config).await;
    let id = stage.submit(plain()).await;
    let first = stage.guest().await;
    // Another host takes this one for dead; it is not, and claims the task again.
    let other = WorkerId(Uuid::from_u128(99));
    let forever = Timestamp::from_millis(i64::MAX);
    let now = stage.clock.now();
    stage.storage.rescue(other, forever, 9, now).await.unwrap();
    stage.advance_to(Duration::from_millis(1));
    let second = stage.guest().await;
    assert_eq!((second.id(), second.claim.attempt), (id, 2));
    let ended = first.control.kill.cancelled();
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert!(!second.control.cancel.is_cancelled());
    second.completes();
    assert_eq!(stage.finished(id).await.state, TaskState::Completed);
    stage.end().await;
}

/// It was told to run, its end could not be recorded in any form, and it is cancelled as a task that
/// has not begun.
#[tokio::test]
async fn a_watcher_hears_the_end_of_a_task_that_storage_set_back() {
    let (mut stage, plan) = stage(beating(BEAT)).await;
    let delay = Duration::from_secs(5);
    let id = stage.submit(Submission { delay, ..plain() }).await;
    let mut watch = stage.watch(id).await;
    stage.advance_to(delay);
    let guest = stage.guest().await;
    until(&mut watch, TaskState::Running, 1).await;
    plan.next(Call::Finish, Fault::Refused(3));
    // So that it is not claimed again at once.
    stage.clock.set(START);
    guest.completes();
    becomes(async || stage.task(id).await.state == TaskState::Pending).await;
    assert_eq!(
        stage.queue.cancel(&Caller::local(), id).await.unwrap(),
        Cancelled::AtOnce
    );
    until(&mut watch, TaskState::Cancelled, 0).await;
    assert!(watch.next().await.is_none());
    stage.end().await;
}

#[tokio::test]
async fn a_host_that_had_to_give_up_an_end_is_ready_again_once_that_is_settled() {
    let (mut stage, plan) = stage(beating(BEAT)).await;
    let id = stage.submit(plain()).await;
    let guest = stage.guest().await;
    plan.next(Call::Finish, Fault::Refused(3));
    stage.queue.cancel(&Caller::local(), id).await.unwrap();
    guest.completes();
    assert_eq!(stage.finished(id).await.state, TaskState::Cancelled);
    becomes(async || stage.queue.recording_is_stuck().is_none()).await;
    // Nothing more comes, and it stays so.
    let beats = plan.made(Call::Held) + 3;
    becomes(async || plan.made(Call::Held) > beats).await;
    assert!(stage.queue.recording_is_stuck().is_none());
    stage.end().await;
}

#[tokio::test]
async fn a_host_is_not_ready_while_no_end_can_be_recorded_and_recovers_by_itself() {
    let (mut stage, plan) = stage(beating(BEAT)).await;
    for fault in [Fault::Fails, Fault::Full(1_000_000)] {
        let id = stage.submit(plain()).await;
        let guest = stage.guest().await;
        for after in 0..100 {
            plan.later(Call::Finish, after, fault);
        }
        guest.completes();
        becomes(async || stage.queue.recording_is_stuck().is_some()).await;
        plan.stop();
        assert_eq!(stage.finished(id).await.state, TaskState::Completed);
        becomes(async || stage.queue.recording_is_stuck().is_none()).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_long_output_that_takes_its_time_holds_up_no_other_end() {
    let (mut stage, plan) = stage(beating(BEAT)).await;
    let long = stage.submit(plain()).await;
    plan.next(Call::Finish, Fault::Waits);
    stage.guest().await.returns(Bytes::from(vec![0; 1 << 20]));
    becomes(async || plan.made(Call::Finish) > 0).await;
    let short = stage.submit(plain()).await;
    stage.guest().await.completes();
    assert_eq!(stage.finished(short).await.state, TaskState::Completed);
    let beats = plan.made(Call::Held) + 3;
    becomes(async || plan.made(Call::Held) > beats).await;
    assert!(stage.queue.recording_is_stuck().is_none());
    assert_eq!(stage.task(long).await.state, TaskState::Running);
    plan.stop();
    assert_eq!(stage.finished(long).await.state, TaskState::Completed);
    stage.end().await;
}

#[tokio::test]
async fn an_end_whose_answer_was_lost_is_told_at_once() {
    let (mut stage, plan) = stage(beating(NEVER)).await;
    let id = stage.submit(plain()).await;
    let mut watch = stage.watch(id).await;
    let guest = stage.guest().await;
    plan.next(Call::Finish, Fault::Unanswered);
    guest.completes();
    until(&mut watch, TaskState::Completed, 1).await;
    assert!(watch.next().await.is_none());
    assert_eq!(stage.finished(id).await.state, TaskState::Completed);
    stage.end().await;
}

#[tokio::test]
async fn what_is_more_urgent_goes_first_although_a_claim_failed() {
    let config = QueueConfig {
        poll_interval: Duration::from_millis(10),
        ..one_slot()
    };
    let (mut stage, plan) = stage(config).await;
    let low = Submission {
        priority: Priority::Low,
        ..plain()
    };
    stage
        .queue
        .submit(&Caller::local(), vec![low; 4])
        .await
        .unwrap();
    let first = stage.guest().await;
    plan.next(Call::Claim, Fault::Fails);
    let urgent = Submission {
        priority: Priority::Critical,
        ..plain()
    };
    let urgent = stage.submit(urgent).await;
    stage.ready(&[urgent]).await;
    first.completes();
    let guest = stage.guest().await;
    assert_eq!(guest.id(), urgent);
    guest.completes();
    for _ in 0..3 {
        stage.guest().await.completes();
    }
    stage.end().await;
}

/// Two claims were lost, and one of them cannot be given back.
#[tokio::test]
async fn a_claim_that_cannot_be_given_back_keeps_no_other() {
    let (mut stage, plan) = stage(beating(BEAT)).await;
    let delay = Duration::from_secs(5);
    let mut ids = Vec::new();
    for number in 1..=2 {
        let task_id = Some(TaskId(Uuid::from_u128(number)));
        let task = Submission {
            task_id,
            delay,
            ..plain()
        };
        ids.push(stage.submit(task).await);
    }
    let later = START.plus(delay);
    let worker = stage.queue.worker();
    plan.next(Call::Finish, Fault::Refused(1_000_000));
    let lost = stage.storage.claim(worker, 2, ClaimOrder::Fifo, later);
    assert_eq!(lost.await.unwrap().len(), 2);
    stage.clock.set(later);
    let guest = stage.guest().await;
    assert_eq!(guest.id(), ids[1]);
    plan.stop();
    guest.completes();
    let guest = stage.guest().await;
    assert_eq!(guest.id(), ids[0]);
    guest.completes();
    stage.finished(ids[0]).await;
    stage.end().await;
}

#[tokio::test]
async fn a_task_under_an_id_that_was_purged_has_events_of_its_own() {
    let (mut stage, _) = stage(beating(NEVER)).await;
    let named = || Submission {
        task_id: Some(TaskId(Uuid::from_u128(5))),
        ..plain()
    };
    let id = stage.submit(named()).await;
    let mut old = stage.watch(id).await;
    let guest = stage.guest().await;
    guest.fails(FailureKind::Trap, false);
    until(&mut old, TaskState::Failed, 1).await;
    let purged = stage.queue.purge(&Caller::local(), id).await.unwrap();
    assert!(matches!(purged, Purged::Removed(_)));
    assert!(old.next().await.is_none());
    assert_eq!(
        stage.queue.retry(&Caller::local(), id).await.unwrap(),
        Retried::Unknown
    );

    assert_eq!(stage.submit(named()).await, id);
    let guest = stage.guest().await;
    let mut new = stage.watch(id).await;
    guest.completes();
    let mut told = Vec::new();
    while let Some(event) = new.next().await {
        if let EventKind::Status { state, attempt } = event.kind {
            told.push((state, attempt));
        }
    }
    assert_eq!(told.last(), Some(&(TaskState::Completed, 1)));
    assert!(!told.contains(&(TaskState::Failed, 1)), "{told:?}");
    stage.end().await;
}

/// What waited too long for the slot is on its way back to storage when the slot becomes free.
#[tokio::test]
async fn a_claim_on_its_way_back_is_not_overtaken_by_what_is_less_urgent() {
    let (mut stage, plan) = stage(one_slot()).await;
    let of = |priority| Submission {
        priority,
        ..plain()
    };
    stage.submit(of(Priority::Low)).await;
    let first = stage.guest().await;
    let normal = stage.submit(of(Priority::Normal)).await;
    let critical = stage.submit(of(Priority::Critical)).await;
    let claims = stage
        .storage
        .claim(stage.queue.shared.worker, 1, ClaimOrder::Priority, START);
    let claims = stage.queue.shared.hands.take(claims.await.unwrap());
    stage.queue.shared.ready.push(claims);
    stage.ready(&[critical]).await;
    plan.next(Call::Finish, Fault::Delayed(300));
    becomes(async || {
        stage.queue.shared.work.notify_one();
        !stage.queue.shared.ready.holds(critical)
    })
    .await;
    first.completes();
    for wanted in [critical, normal] {
        let guest = stage.guest().await;
        assert_eq!(guest.id(), wanted);
        guest.completes();
    }
    stage.end().await;
}
