//! Batches: stored whole, bounded, counted, cancelled.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use super::fixture::*;
use super::{Backend, Storage};
use crate::{Batch, Cancelled, InsertedBatch, Retried, StorageError, TaskFilter};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::batch::{BatchId, NewBatch};
use cofferdam_domain::claim::{Claim, Next};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, Dedup, NewTask, TaskId};

fn batch(number: u128, parallelism: Option<u32>) -> NewBatch {
    NewBatch {
        tenant: US,
        id: BatchId(Uuid::from_u128(number)),
        parallelism,
        callback: None,
        idempotency_key: None,
        fingerprint: [1; 16],
    }
}

fn tasks(numbers: std::ops::RangeInclusive<u128>) -> Vec<NewTask> {
    numbers.map(new_task).collect()
}

async fn put(storage: &dyn Storage, batch: NewBatch, tasks: Vec<NewTask>) -> InsertedBatch {
    let inserted = storage.insert_batch(batch, tasks, ANY_NUMBER, at(0)).await;
    inserted.unwrap()
}

async fn find(storage: &dyn Storage, number: u128) -> Batch {
    let found = storage.batch(&MINE, BatchId(Uuid::from_u128(number))).await;
    found.unwrap().unwrap()
}

async fn claim(storage: &dyn Storage, now: i64) -> Vec<Claim> {
    let claims = storage.claim(ME, 100, ClaimOrder::Priority, at(now)).await;
    claims.unwrap()
}

fn ids(claims: &[Claim]) -> Vec<TaskId> {
    claims.iter().map(|claim| claim.task_id).collect()
}

pub(crate) async fn a_batch_is_stored_whole_or_not_at_all<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let stored = put(storage, batch(90, None), tasks(1..=3)).await;
    assert_eq!((stored.is_new, stored.new_tasks), (true, 3));
    assert_eq!(stored.tasks, [1, 2, 3].map(id));
    let known = find(storage, 90).await;
    assert_eq!((known.tasks, known.counts.pending), (3, 3));
    assert_eq!((known.parallelism, known.created_at), (None, at(0)));
    // One that conflicts, or for which there is no room, takes the others with it.
    let mut other = new_task(3);
    other.fingerprint = [9; 16];
    let refused =
        storage.insert_batch(batch(91, None), vec![new_task(4), other], ANY_NUMBER, at(1));
    assert!(matches!(refused.await, Err(StorageError::Conflict(of)) if of == id(3)));
    let refused = storage.insert_batch(batch(91, Some(1)), tasks(4..=6), 5.into(), at(1));
    assert!(matches!(
        refused.await,
        Err(StorageError::QueueFull {
            pending: 3,
            limit: 5
        })
    ));
    assert!(
        storage
            .batch(&MINE, BatchId(Uuid::from_u128(91)))
            .await
            .unwrap()
            .is_none()
    );
    assert!(storage.task(&MINE, id(4)).await.unwrap().is_none());
    assert_eq!(storage.counts(&MINE).await.unwrap().pending, 3);
    backend
}

pub(crate) async fn a_key_stands_for_its_first_batch<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let keyed = |number| NewBatch {
        idempotency_key: Some("k".to_owned()),
        ..batch(number, Some(1))
    };
    put(storage, keyed(90), tasks(1..=2)).await;
    let again = put(storage, keyed(91), tasks(3..=4)).await;
    assert_eq!(
        (again.is_new, again.id),
        (false, BatchId(Uuid::from_u128(90)))
    );
    assert_eq!(again.tasks, [1, 2].map(id));
    let mut other = keyed(92);
    other.fingerprint = [2; 16];
    let refused = storage
        .insert_batch(other, tasks(5..=5), ANY_NUMBER, at(1))
        .await;
    let first = BatchId(Uuid::from_u128(90));
    assert!(matches!(refused, Err(StorageError::BatchConflict(of)) if of == first));
    assert!(storage.task(&MINE, id(3)).await.unwrap().is_none());
    backend
}

pub(crate) async fn earlier_tasks_take_their_places_in_a_batch<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut held = new_task(1);
    held.dedup = Some(Dedup {
        key: "d".to_owned(),
        window: Duration::from_secs(60),
    });
    insert(storage, held.clone()).await;
    let mut other = new_task(2);
    other.dedup = held.dedup.clone();
    let stored = put(
        storage,
        batch(90, Some(1)),
        vec![held, other, new_task(3), new_task(4)],
    )
    .await;
    assert_eq!(stored.tasks, [1, 1, 3, 4].map(id));
    assert_eq!(stored.new_tasks, 2);
    assert_eq!(find(storage, 90).await.counts.all(), 2);
    // The bound holds for its own tasks.
    assert_eq!(ids(&claim(storage, 0).await), [1, 3].map(id));
    backend
}

pub(crate) async fn no_more_are_under_way_than_the_bound<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut soon = new_task(6);
    soon.run_at = at(-1);
    let mut all = tasks(1..=5);
    all.push(soon);
    put(storage, batch(90, Some(2)), all).await;
    insert(storage, new_task(7)).await;
    // Who is due first has a place first; other tasks are not held up.
    let first = claim(storage, 1).await;
    assert_eq!(ids(&first), [6, 1, 7].map(id));
    assert_eq!(
        first
            .iter()
            .map(|claim| claim.holds_place)
            .collect::<Vec<_>>(),
        [true, true, false]
    );
    assert_eq!(ids(&claim(storage, 1).await), []);
    assert_eq!(
        storage.next_run_at(ME).await.unwrap().unwrap().as_millis(),
        i64::MAX
    );
    // One that is given back keeps its place; one that failed for good does not.
    finish_one(
        storage,
        failed(&first[1], at(2), FailureKind::Cancelled, Next::GiveBack),
    )
    .await;
    assert_eq!(ids(&claim(storage, 3).await), [id(1)]);
    finish_one(
        storage,
        failed(&first[0], at(4), FailureKind::Trap, Next::Fail),
    )
    .await;
    assert_eq!(ids(&claim(storage, 5).await), [id(2)]);
    backend
}

pub(crate) async fn an_end_gives_the_place_away<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut all: Vec<NewTask> = (1..=6).map(|number| with_attempts(number, 2)).collect();
    all[0].run_at = at(-1);
    put(storage, batch(90, Some(2)), all).await;
    let first = claim(storage, 1).await;
    assert_eq!(ids(&first), [1, 2].map(id));
    // An attempt that is repeated keeps its place.
    let again = failed(&first[0], at(2), FailureKind::Trap, Next::RetryAt(at(50)));
    finish_one(storage, again).await;
    assert_eq!(ids(&claim(storage, 3).await), []);
    finish_one(storage, completed(&first[1], at(3))).await;
    let next = claim(storage, 3).await;
    assert_eq!(ids(&next), [3].map(id));
    // A cancel of one that waits for a place frees none; of one that has one, it does.
    assert_eq!(
        storage.cancel(&MINE, id(4), at(4)).await.unwrap(),
        Cancelled::AtOnce
    );
    assert_eq!(ids(&claim(storage, 4).await), []);
    assert_eq!(
        storage.cancel(&MINE, id(1), at(4)).await.unwrap(),
        Cancelled::AtOnce
    );
    assert_eq!(ids(&claim(storage, 4).await), [5].map(id));
    assert_eq!(task(storage, 6).await.run_at, at(0));
    // A task that is tried by hand waits for a place; a loss that ends its task frees one.
    assert_eq!(
        storage.retry(&MINE, id(1), at(5)).await.unwrap(),
        Retried::Pending
    );
    assert_eq!(ids(&claim(storage, 5).await), []);
    storage.cancel(&MINE, id(3), at(5)).await.unwrap();
    let rescued = storage.rescue(OTHER, at(100), 100, at(6)).await.unwrap();
    assert_eq!(rescued.len(), 2);
    let known: HashSet<TaskId> = ids(&claim(storage, 7).await).into_iter().collect();
    assert_eq!(known, HashSet::from([5, 6].map(id)));
    let counts = find(storage, 90).await.counts;
    assert_eq!((counts.running, counts.pending), (2, 1));
    assert_eq!((counts.completed, counts.cancelled), (1, 2));
    backend
}

pub(crate) async fn a_batch_is_cancelled_task_by_task<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    put(storage, batch(90, Some(1)), tasks(1..=4)).await;
    insert(storage, new_task(5)).await;
    let running = claim_one(storage, ME, at(1)).await;
    assert_eq!(running.task_id, id(1));
    let open = storage
        .open_tasks(&MINE, BatchId(Uuid::from_u128(90)))
        .await
        .unwrap();
    assert_eq!(open.len(), 4);
    assert_eq!(open[3], id(1), "the one that has a place comes last");
    let mut asked = open.clone();
    asked.push(id(99));
    let told = storage.cancel_all(&MINE, asked, at(2)).await.unwrap();
    let mut expected = vec![Cancelled::AtOnce; 3];
    expected.extend([Cancelled::Requested(ME), Cancelled::Unknown]);
    assert_eq!(told, expected);
    assert_eq!(storage.cancel_requests(ME).await.unwrap(), [id(1)]);
    assert_eq!(ids(&claim(storage, 3).await), [id(5)]);
    // Every one that is retried waits for its place.
    let told = storage
        .retry_all(&MINE, vec![id(2), id(1), id(99), id(3)], at(4))
        .await
        .unwrap();
    let running = Retried::NotFailed(TaskState::Running);
    assert_eq!(
        told,
        [
            Retried::Pending,
            running,
            Retried::Unknown,
            Retried::Pending
        ]
    );
    let told = storage.retry_all(&MINE, vec![id(3)], at(4)).await.unwrap();
    assert_eq!(told, [Retried::NotFailed(TaskState::Pending)]);
    assert_eq!(ids(&claim(storage, 5).await), []);
    backend
}

pub(crate) async fn a_batch_goes_with_its_last_task<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    put(storage, batch(90, None), tasks(1..=2)).await;
    put(storage, batch(91, None), tasks(1..=1)).await;
    for claim in claim(storage, 1).await {
        finish_one(storage, completed(&claim, at(i64::from(claim.attempt) + 1))).await;
    }
    storage.purge(&MINE, id(1)).await.unwrap();
    let known = find(storage, 90).await;
    assert_eq!((known.tasks, known.counts.all()), (2, 1));
    storage.prune(at(50), u64::MAX, 100, at(60)).await.unwrap();
    for number in [90, 91] {
        let gone = storage
            .batch(&MINE, BatchId(Uuid::from_u128(number)))
            .await
            .unwrap();
        assert!(gone.is_none(), "{number}");
    }
    backend
}

pub(crate) async fn ids_are_found_as_tasks_are<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, tasks(1..=7)).await;
    storage
        .cancel_all(&MINE, vec![id(2), id(6)], at(1))
        .await
        .unwrap();
    let mut filter = TaskFilter {
        states: vec![TaskState::Pending],
        ..TaskFilter::default()
    };
    let mut found = Vec::new();
    loop {
        let page = storage.task_ids(&US, &filter, 2).await.unwrap();
        found.extend(page.ids);
        match page.next {
            None => break,
            next => filter.after = next,
        }
    }
    assert_eq!(found, [7, 5, 4, 3, 1].map(id));
    backend
}
