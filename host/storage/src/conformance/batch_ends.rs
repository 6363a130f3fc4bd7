//! Ends of batches that somebody is told: one delivery exactly if the last task that went on is final, whoever ended
//! it and whoever else ends others at the same moment.

use futures_util::future::join_all;
use uuid::Uuid;

use super::fixture::*;
use super::{Backend, Storage};
use crate::{Delivery, Retried, ToldAgain};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::batch::{BatchId, NewBatch};
use cofferdam_domain::callback::event::{EventId, Subject};
use cofferdam_domain::callback::{Callback, DeliveryStatus, Ends, Lane};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Next;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, NewTask, TaskId};
use cofferdam_domain::whose::Whose;

const URL: &str = "https://a.example/batches";

fn of(number: u128) -> Subject {
    Subject::Batch(BatchId(Uuid::from_u128(number)))
}

async fn put(storage: &dyn Storage, number: u128, parallelism: Option<u32>, tasks: Vec<NewTask>) {
    put_for(storage, number, parallelism, callback(URL), tasks).await;
}

async fn put_for(
    storage: &dyn Storage,
    number: u128,
    parallelism: Option<u32>,
    callback: Callback,
    tasks: Vec<NewTask>,
) {
    let batch = NewBatch {
        tenant: US,
        id: BatchId(Uuid::from_u128(number)),
        parallelism,
        callback: Some(callback),
        idempotency_key: None,
        fingerprint: [1; 16],
    };
    let stored = storage.insert_batch(batch, tasks, ANY_NUMBER, at(0)).await;
    assert!(stored.unwrap().is_new);
}

async fn take(storage: &dyn Storage, now: i64) -> Vec<Delivery> {
    let lane = Lane {
        tenant: US,
        place: "a.example:443".to_owned(),
    };
    let taken = storage
        .take_deliveries(&lane, 99, at(now), at(now + 10))
        .await;
    taken.unwrap()
}

async fn end(storage: &dyn Storage, now: i64, next: Next) -> TaskId {
    let claim = claim_one(storage, ME, at(now)).await;
    finish_one(
        storage,
        match next {
            Next::Complete => completed(&claim, at(now)),
            Next::Fail | Next::Cancel | Next::RetryAt(_) | Next::GiveBack | Next::Postpone(_) => {
                failed(&claim, at(now), FailureKind::Trap, next)
            }
        },
    )
    .await;
    claim.task_id
}

async fn a_batch_ends(storage: &dyn Storage, number: u128, parallelism: Option<u32>) {
    let first = number * 10;
    let tasks = (first..first + 3).map(new_task).collect();
    put(storage, number, parallelism, tasks).await;
    end(storage, 1, Next::Complete).await;
    let fails = end(storage, 2, Next::Fail).await;
    assert_eq!(take(storage, 9).await, []);
    storage.cancel(&MINE, id(first + 2), at(3)).await.unwrap();
    let told = &take(storage, 9).await[..];
    let [told] = told else {
        panic!("one is told: {told:?}")
    };
    let number_of = |number| EventId {
        of: of(first / 10),
        number,
    };
    assert_eq!(told.event, number_of(1));
    assert_eq!((told.state, told.attempt), (TaskState::Failed, 0));
    assert_eq!((told.finished_at, told.since), (at(3), at(3)));
    assert_eq!((told.url.as_str(), &told.tenant), (URL, &US));
    let delivered = crate::Tried::Delivered { status: 204 };
    assert!(storage.settle_delivery(told.hold, delivered).await.unwrap());
    let shown = storage.callback(&MINE, of(number)).await.unwrap().unwrap();
    assert_eq!(shown.0, callback(URL));
    assert_eq!(shown.1.unwrap().status, DeliveryStatus::Delivered);
    // One that goes on again ends again; a task that is not final keeps it open.
    let retried = storage.retry(&MINE, fails, at(4)).await.unwrap();
    assert_eq!(retried, Retried::Pending);
    assert_eq!(take(storage, 99).await, []);
    assert_eq!(end(storage, 5, Next::Complete).await, fails);
    let told = take(storage, 99).await;
    assert_eq!((told.len(), told[0].event), (1, number_of(2)));
    assert_eq!(
        (told[0].state, told[0].finished_at),
        (TaskState::Cancelled, at(5))
    );
    let delivered = crate::Tried::Delivered { status: 204 };
    let settled = storage.settle_delivery(told[0].hold, delivered).await;
    assert!(settled.unwrap());
}

pub(crate) async fn a_batch_is_told_once_its_last_task_is_final<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    a_batch_ends(storage, 1, None).await;
    a_batch_ends(storage, 2, Some(1)).await;
    // One whose tasks are all another's has ended when it comes.
    put(storage, 3, None, vec![new_task(10)]).await;
    let told = take(storage, 99).await;
    assert_eq!((told.len(), told[0].event.of), (1, of(3)));
    assert_eq!(
        (told[0].state, told[0].finished_at),
        (TaskState::Completed, at(0))
    );
    backend
}

pub(crate) async fn only_ends_of_batches_that_are_asked_for_are_told<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let only_failed = Callback {
        on: Ends::of(&[TaskState::Failed]).unwrap(),
        ..callback(URL)
    };
    put_for(storage, 1, None, only_failed.clone(), vec![new_task(10)]).await;
    let again = async |whose: &Whose, number: u128| {
        let told = storage.tell_again(whose, of(number), at(7)).await;
        told.unwrap()
    };
    assert_eq!(again(&MINE, 1).await, ToldAgain::Nothing(None));
    end(storage, 1, Next::Complete).await;
    assert_eq!(take(storage, 9).await, []);
    let shown = storage.callback(&MINE, of(1)).await.unwrap();
    assert_eq!(shown, Some((only_failed.clone(), None)));
    put_for(storage, 2, None, only_failed, vec![new_task(20)]).await;
    // A loss that ends the task for good ends the batch, too.
    let mut poison = new_task(21);
    poison.spec.retry.max_lost = 0;
    put(storage, 3, None, vec![poison]).await;
    end(storage, 2, Next::Fail).await;
    claim_one(storage, OTHER, at(2)).await;
    storage.rescue(ME, at(8), 9, at(8)).await.unwrap();
    let told = take(storage, 9).await;
    let mut told: Vec<_> = told.iter().map(|it| (it.event.of, it.state)).collect();
    told.sort_by_key(|(of, _)| *of);
    assert_eq!(told, [2, 3].map(|number| (of(number), TaskState::Failed)));
    // It is told again by hand; others' batches are none, and one without a callback has nothing to tell.
    assert!(matches!(again(&MINE, 2).await, ToldAgain::UnderWay(_)));
    let theirs = Whose::One(Tenant::parse("them").unwrap());
    assert_eq!(again(&theirs, 2).await, ToldAgain::Unknown);
    assert!(storage.callback(&theirs, of(2)).await.unwrap().is_none());
    backend
}

pub(crate) async fn of_two_last_tasks_one_ends_the_batch<B: Backend>(backend: B) -> B {
    const BATCHES: u128 = 20;
    let storage = backend.storage();
    for number in 1..=BATCHES {
        let bound = (number % 2 == 0).then_some(2);
        let tasks = [0, 1, 2].map(|more| new_task(number * 10 + more)).to_vec();
        put(storage, number, bound, tasks).await;
        storage.cancel(&MINE, id(number * 10), at(0)).await.unwrap();
    }
    let claims = storage.claim(ME, 100, ClaimOrder::Priority, at(1)).await;
    let claims = claims.unwrap();
    assert_eq!(claims.len(), 40);
    let ends = claims
        .iter()
        .map(|claim| finish_one(storage, completed(claim, at(2))));
    join_all(ends).await;
    let mut told: Vec<Subject> = take(storage, 9)
        .await
        .iter()
        .map(|it| it.event.of)
        .collect();
    told.sort();
    assert_eq!(told, (1..=BATCHES).map(of).collect::<Vec<_>>());
    backend
}

pub(crate) async fn the_end_of_a_batch_goes_with_it<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    put(storage, 1, None, vec![new_task(10), new_task(11)]).await;
    end(storage, 1, Next::Complete).await;
    end(storage, 1, Next::Complete).await;
    storage.purge(&MINE, id(10)).await.unwrap();
    let backend = backend.reopened().await;
    let storage = backend.storage();
    let told = take(storage, 2).await;
    assert_eq!(told.len(), 1);
    storage.purge(&MINE, id(11)).await.unwrap();
    let delivered = crate::Tried::Delivered { status: 204 };
    assert!(
        !storage
            .settle_delivery(told[0].hold, delivered)
            .await
            .unwrap()
    );
    assert!(storage.callback(&MINE, of(1)).await.unwrap().is_none());
    assert_eq!(storage.delivery_lanes(None, 9).await.unwrap(), []);
    backend
}
