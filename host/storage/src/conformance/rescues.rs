//! Tasks whose host is gone.

use super::Backend;
use super::fixture::*;
use crate::Rescued;
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::ClaimOrder;

pub(crate) async fn the_dead_are_told_from_the_living<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let never_heard = cofferdam_domain::attempt::WorkerId(id(0xdead).0);
    insert_all(storage, (1..=3).map(new_task).collect()).await;
    storage.heartbeat(beat(OTHER), at(0)).await.unwrap();
    claim_one(storage, ME, at(1)).await;
    claim_one(storage, OTHER, at(1)).await;
    claim_one(storage, never_heard, at(1)).await;
    let rescued = |number| Rescued {
        task_id: id(number),
        state: TaskState::Pending,
    };
    let first = storage.rescue(ME, at(0), 10, at(2)).await.unwrap();
    assert_eq!(first, [rescued(3)]);
    // Exactly at the bound the worker still counts as alive, and so it does after another
    // heartbeat.
    storage.heartbeat(beat(OTHER), at(5)).await.unwrap();
    storage.heartbeat(beat(OTHER), at(4)).await.unwrap();
    assert_eq!(storage.rescue(ME, at(5), 10, at(6)).await.unwrap(), []);
    assert_eq!(
        storage.rescue(ME, at(6), 10, at(7)).await.unwrap(),
        [rescued(2)]
    );
    assert_eq!(storage.rescue(ME, at(6), 10, at(7)).await.unwrap(), []);
    let task = task(storage, 2).await;
    assert_eq!((task.attempt, task.max_attempts, task.lost), (1, 2, 1));
    assert_eq!(
        task.failure.map(|failure| failure.kind),
        Some(FailureKind::Lost)
    );
    let attempts = storage.attempts(&MINE, id(2), 0, 99).await.unwrap();
    assert_eq!(
        (attempts[0].worker, attempts[0].finished_at),
        (OTHER, at(7))
    );
    assert_eq!(state(storage, 1).await, TaskState::Running);
    backend
}

pub(crate) async fn nothing_starves_behind_the_living<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, (1..=10_003).map(new_task).collect()).await;
    storage.heartbeat(beat(OTHER), at(100)).await.unwrap();
    storage
        .claim(OTHER, 10_000, ClaimOrder::Priority, at(1))
        .await
        .unwrap();
    let dead = cofferdam_domain::attempt::WorkerId(id(0xdead).0);
    storage
        .claim(dead, 3, ClaimOrder::Priority, at(1))
        .await
        .unwrap();
    let rescued = storage.rescue(ME, at(50), 2, at(2)).await.unwrap();
    assert_eq!(rescued.len(), 2);
    assert_eq!(storage.rescue(ME, at(50), 2, at(2)).await.unwrap().len(), 1);
    // When every worker is dead, every task comes back, batch by batch.
    let mut back = 0;
    while let count @ 1.. = storage
        .rescue(ME, at(200), 4096, at(3))
        .await
        .unwrap()
        .len()
    {
        back += count;
    }
    assert_eq!(back, 10_000);
    assert_eq!(storage.counts(&MINE).await.unwrap().pending, 10_003);
    backend
}

pub(crate) async fn a_task_that_loses_every_host_fails<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut poison = new_task(1);
    poison.spec.retry.max_lost = 2;
    let mut once = new_task(2);
    once.spec.retry.max_lost = 0;
    insert_all(storage, vec![poison, once]).await;
    for round in 1..=3 {
        storage
            .claim(OTHER, 9, ClaimOrder::Priority, at(round))
            .await
            .unwrap();
        storage.rescue(ME, at(round), 10, at(round)).await.unwrap();
        let expected = if round < 3 {
            TaskState::Pending
        } else {
            TaskState::Failed
        };
        assert_eq!(state(storage, 1).await, expected);
        assert_eq!(state(storage, 2).await, TaskState::Failed);
    }
    let task = task(storage, 1).await;
    let failure = task.failure.unwrap();
    assert_eq!(
        (failure.kind, task.attempt, task.lost),
        (FailureKind::Lost, 3, 3)
    );
    assert!(failure.message.contains("3 times"), "{}", failure.message);
    assert_eq!(
        storage.attempts(&MINE, id(1), 0, 99).await.unwrap().len(),
        3
    );
    backend
}

pub(crate) async fn a_cancelled_task_is_not_run_again<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    claim_one(storage, OTHER, at(1)).await;
    storage.cancel(&MINE, id(1), at(2)).await.unwrap();
    let rescued = storage.rescue(ME, at(3), 10, at(3)).await.unwrap();
    assert_eq!(
        rescued,
        [Rescued {
            task_id: id(1),
            state: TaskState::Cancelled
        }]
    );
    backend
}
