//! The order in which tasks are claimed, and how many at once.

use super::stage::{START, Stage, one_slot, plain, until};
use crate::queue::Submission;
use crate::queue::settings::QueueConfig;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, Priority};
use cofferdam_domain::whose::Whose;
use std::time::Duration;

async fn order(strategy: ClaimOrder) -> Vec<Priority> {
    let mut stage = Stage::set(QueueConfig {
        strategy,
        ..one_slot()
    })
    .await;
    let priorities = [
        Priority::Low,
        Priority::Normal,
        Priority::Critical,
        Priority::High,
    ];
    let tasks = priorities.map(|priority| Submission {
        priority,
        ..plain()
    });
    stage.offer(tasks.to_vec()).await.unwrap();
    let mut begun = Vec::new();
    for _ in priorities {
        let guest = stage.guest().await;
        begun.push(guest.claim.spec.priority);
        guest.completes();
    }
    stage.end().await;
    begun
}

#[tokio::test]
async fn tasks_are_run_in_the_order_of_the_strategy() {
    use Priority::{Critical, High, Low, Normal};
    assert_eq!(
        order(ClaimOrder::Priority).await,
        [Critical, High, Normal, Low]
    );
    assert_eq!(order(ClaimOrder::Fifo).await, [Low, Normal, Critical, High]);
    assert_eq!(order(ClaimOrder::Lifo).await, [High, Critical, Normal, Low]);
}

#[tokio::test]
async fn a_low_task_that_has_waited_for_long_is_begun_before_all_others_are() {
    let mut stage = Stage::set(one_slot()).await;
    let of = |priority| Submission {
        priority,
        ..plain()
    };
    let mut tasks = vec![of(Priority::Low)];
    tasks.resize(30, of(Priority::High));
    stage.offer(tasks).await.unwrap();
    // What the dispatcher had claimed before that is begun first.
    stage.advance_to(Duration::from_secs(61));
    let mut begun = Vec::new();
    for _ in 0..20 {
        let guest = stage.guest().await;
        begun.push(guest.claim.spec.priority);
        guest.completes();
    }
    assert!(begun.contains(&Priority::Low), "{begun:?}");
    stage.end().await;
}

#[tokio::test]
async fn a_delayed_task_is_run_when_its_time_has_come() {
    let mut stage = Stage::set(one_slot()).await;
    let delay = Duration::from_secs(10);
    let delayed = stage.submit(Submission { delay, ..plain() }).await;
    let prompt = stage.submit(plain()).await;
    let guest = stage.guest().await;
    assert_eq!(guest.id(), prompt);
    guest.completes();
    stage.finished(prompt).await;
    stage.advance_to(Duration::from_secs(9));
    let other = stage.submit(plain()).await;
    let guest = stage.guest().await;
    assert_eq!(guest.id(), other);
    guest.completes();
    stage.finished(other).await;
    assert!(stage.is_quiet());
    stage.advance_to(delay);
    let guest = stage.guest().await;
    assert_eq!(guest.id(), delayed);
    assert_eq!(guest.claim.claimed_at, guest.claim.run_at);
    guest.completes();
    assert_eq!(stage.finished(delayed).await.state, TaskState::Completed);
    stage.end().await;
}

#[tokio::test]
async fn slots_bound_what_runs_at_once() {
    let mut stage = Stage::set(QueueConfig {
        slots: 3,
        ..one_slot()
    })
    .await;
    stage.offer(vec![plain(); 5]).await.unwrap();
    let mut guests = Vec::new();
    for _ in 0..3 {
        guests.push(stage.guest().await);
    }
    assert_eq!(stage.queue.stats().active, 3);
    assert!(stage.is_quiet());
    while let Some(guest) = guests.pop() {
        let id = guest.id();
        guest.completes();
        stage.finished(id).await;
        if stage.queue.stats().completed < 3 {
            guests.push(stage.guest().await);
        }
    }
    assert_eq!(stage.queue.stats().completed, 5);
    stage.end().await;
}

#[tokio::test]
async fn a_backlog_is_worked_off_completely() {
    let stage = Stage::set_automatic(QueueConfig {
        slots: 4,
        ..one_slot()
    })
    .await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        for submitted in stage.offer(vec![plain(); 1000]).await.unwrap() {
            match submitted {
                crate::queue::Submitted::New(id) => ids.push(id),
                crate::queue::Submitted::Existing(id) => panic!("{id}"),
            }
        }
    }
    for id in ids {
        let task = stage.finished(id).await;
        assert_eq!((task.state, task.attempt), (TaskState::Completed, 1));
    }
    let counts = stage.reads.counts(&Whose::All).await.unwrap();
    assert_eq!(
        (counts.completed, counts.pending, counts.running),
        (4000, 0, 0)
    );
    stage.end().await;
}

#[tokio::test]
async fn urgent_tasks_go_before_those_claimed_ahead() {
    let mut stage = Stage::set(one_slot()).await;
    let low = Submission {
        priority: Priority::Low,
        ..plain()
    };
    stage.offer(vec![low; 4]).await.unwrap();
    let first = stage.guest().await;
    let urgent = |priority| Submission {
        priority,
        ..plain()
    };
    let high = stage.submit(urgent(Priority::High)).await;
    let critical = stage.submit(urgent(Priority::Critical)).await;
    stage.ready(&[critical, high]).await;
    first.completes();
    for wanted in [critical, high] {
        let guest = stage.guest().await;
        assert_eq!(guest.id(), wanted);
        guest.completes();
    }
    for _ in 0..3 {
        let guest = stage.guest().await;
        assert_eq!(guest.claim.spec.priority, Priority::Low);
        guest.completes();
    }
    stage.end().await;
}

#[tokio::test]
async fn work_that_the_host_cannot_do_yet_is_put_off_and_not_counted() {
    let mut stage = Stage::set(one_slot()).await;
    let id = stage.submit(plain()).await;
    let mut watch = stage.watch(id).await;
    for _ in 0..3 {
        let guest = stage.guest().await;
        assert_eq!(
            (guest.claim.attempt, guest.claim.max_attempts),
            (1, 1),
            "only the last one is an attempt"
        );
        guest.expect_not_begun();
        until(&mut watch, TaskState::Pending, 0).await;
        // The slot is free for tasks that can run.
        let other = stage.submit(plain()).await;
        let guest = stage.guest().await;
        assert_eq!(guest.id(), other);
        guest.completes();
        stage.finished(other).await;
        let run_at = stage.task(id).await.run_at;
        assert!(run_at > stage.clock.now());
        stage.advance_to(run_at.since(START));
    }
    stage.guest().await.completes();
    let task = stage.finished(id).await;
    assert_eq!((task.state, task.attempt), (TaskState::Completed, 1));
    assert_eq!(
        stage
            .reads
            .attempts(&Whose::All, id, 0, 99)
            .await
            .unwrap()
            .len(),
        1
    );
    stage.end().await;
}
