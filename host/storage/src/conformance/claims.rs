//! The order of claims.

use super::Backend;
use super::fixture::*;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, Priority};

pub(crate) async fn priority_order<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut older = with_priority(5, Priority::High);
    older.run_at = at(-1);
    insert_all(
        storage,
        vec![
            with_priority(1, Priority::Low),
            with_priority(2, Priority::Normal),
            with_priority(3, Priority::High),
            with_priority(4, Priority::Critical),
            older,
            with_priority(6, Priority::Normal),
        ],
    )
    .await;
    assert_eq!(claim_ids(storage, 0, ClaimOrder::Priority).await, []);
    assert_eq!(
        claim_ids(storage, 2, ClaimOrder::Priority).await,
        [4, 5].map(id)
    );
    assert_eq!(
        claim_ids(storage, 9, ClaimOrder::Priority).await,
        [3, 2, 6, 1].map(id)
    );
    backend
}

pub(crate) async fn fifo_and_lifo_ignore_priority<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let priorities = [
        Priority::Low,
        Priority::Critical,
        Priority::Normal,
        Priority::High,
    ];
    let tasks = (1..=8)
        .zip(priorities.into_iter().cycle())
        .map(|(number, priority)| {
            let mut task = with_priority(number, priority);
            task.run_at = at(i64::try_from(number).unwrap());
            task
        });
    insert_all(storage, tasks.collect()).await;
    assert_eq!(
        claim_ids(storage, 3, ClaimOrder::Fifo).await,
        [1, 2, 3].map(id)
    );
    assert_eq!(
        claim_ids(storage, 3, ClaimOrder::Lifo).await,
        [8, 7, 6].map(id)
    );
    assert_eq!(
        claim_ids(storage, 3, ClaimOrder::Fifo).await,
        [4, 5].map(id)
    );
    backend
}

pub(crate) async fn a_claim_counts_an_attempt<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let submitted = with_attempts(1, 2);
    insert(storage, submitted.clone()).await;
    let claim = claim_one(storage, ME, at(3)).await;
    assert_eq!((claim.task_id, claim.attempt, claim.lost), (id(1), 1, 0));
    assert_eq!((claim.created_at, claim.claimed_at), (at(0), at(3)));
    assert_eq!(*claim.spec, submitted.spec);
    let task = task(storage, 1).await;
    assert_eq!((task.state, task.attempt), (TaskState::Running, 1));
    assert_eq!((task.worker, task.started_at), (Some(ME), Some(at(3))));
    let counts = storage.counts(&MINE).await.unwrap();
    assert_eq!((counts.pending, counts.running), (0, 1));
    backend
}

pub(crate) async fn a_task_with_a_future_run_at_waits<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut later = with_priority(1, Priority::Critical);
    later.run_at = at(10);
    insert_all(storage, vec![later, new_task(2)]).await;
    let early = storage.claim(ME, 9, ClaimOrder::Lifo, at(9)).await.unwrap();
    assert_eq!(
        early.iter().map(|claim| claim.task_id).collect::<Vec<_>>(),
        [id(2)]
    );
    assert_eq!(claim_one(storage, ME, at(10)).await.task_id, id(1));
    backend
}

pub(crate) async fn next_run_at_is_the_earliest<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    assert_eq!(storage.next_run_at(ME).await.unwrap(), None);
    let mut soon = with_priority(1, Priority::Low);
    soon.run_at = at(10);
    let mut later = with_priority(2, Priority::Critical);
    later.run_at = at(20);
    insert_all(storage, vec![later, soon]).await;
    assert_eq!(storage.next_run_at(ME).await.unwrap(), Some(at(10)));
    claim_one(storage, ME, at(10)).await;
    assert_eq!(storage.next_run_at(ME).await.unwrap(), Some(at(20)));
    backend
}
