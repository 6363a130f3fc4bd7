//! Ends that somebody is told: there is a delivery exactly if such an end was committed, and one host at a
//! time has it.

use std::time::Duration;

use super::fixture::*;
use super::{Backend, Storage};
use crate::callbacks::ENDS_KEPT;
use crate::{Delivery, DeliveryCounts, Retried, ToldAgain, Tried};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::callback::event::Subject;
use cofferdam_domain::callback::{Callback, DeliveryStatus, Ends, Lane, Told};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Next;
use cofferdam_domain::secret::SecretName;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::NewTask;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

const LEASE: Duration = Duration::from_secs(10);

fn told_at(number: u128, url: &str) -> NewTask {
    NewTask {
        callback: Some(callback(url)),
        ..new_task(number)
    }
}

fn told(number: u128) -> NewTask {
    told_at(number, "https://a.example/hook?x=1")
}

fn of(number: u128) -> Subject {
    Subject::Task(id(number))
}

fn lane(tenant: &Tenant, place: &str) -> Lane {
    Lane {
        tenant: tenant.clone(),
        place: place.to_owned(),
    }
}

async fn lanes(storage: &dyn Storage) -> Vec<(Lane, Timestamp)> {
    storage.delivery_lanes(None, 99).await.unwrap()
}

/// Everything that is due in the lane of [`told`].
async fn take(storage: &dyn Storage, now: i64) -> Vec<Delivery> {
    let lane = lane(&US, "a.example:443");
    let taken = storage.take_deliveries(&lane, 99, at(now), at(now).plus(LEASE));
    taken.await.unwrap()
}

async fn shown(storage: &dyn Storage, number: u128) -> Option<Told> {
    let shown = storage.callback(&MINE, of(number)).await.unwrap();
    shown.expect("it has a callback").1
}

fn missed(next: Option<Timestamp>) -> Tried {
    Tried::Missed {
        status: Some(503),
        error: "no\0body".to_owned(),
        next,
    }
}

const DELIVERED: Tried = Tried::Delivered { status: 204 };

async fn complete(storage: &dyn Storage, now: i64) {
    let claim = claim_one(storage, ME, at(now)).await;
    finish_one(storage, completed(&claim, at(now))).await;
}

/// Tasks 1 to 3 end as their workers say: completed, failed, and failed once the attempts are used up.
async fn end_by_their_workers(storage: &dyn Storage) {
    insert(storage, told(1)).await;
    let claim = claim_one(storage, ME, at(1)).await;
    assert_eq!(lanes(storage).await, []);
    finish_one(storage, completed(&claim, at(2))).await;
    assert_eq!(lanes(storage).await.len(), 1);
    insert(storage, told(2)).await;
    let claim = claim_one(storage, ME, at(1)).await;
    let failure = failed(&claim, at(2), FailureKind::Trap, Next::Fail);
    finish_one(storage, failure).await;
    let mut twice = told(3);
    twice.spec.retry.max_attempts = 2;
    insert(storage, twice).await;
    for _ in 0..2 {
        let claim = claim_one(storage, ME, at(3)).await;
        let again = failed(&claim, at(3), FailureKind::Trap, Next::RetryAt(at(3)));
        finish_one(storage, again).await;
    }
}

/// Tasks 4 to 9 are cancelled while they wait, run, are lost or are given back; 6 is lost for the last time.
async fn end_otherwise(storage: &dyn Storage) {
    insert_all(storage, vec![told(4), told(5)]).await;
    storage.cancel(&MINE, id(4), at(4)).await.unwrap();
    let claim = claim_one(storage, ME, at(4)).await;
    storage.cancel(&MINE, id(5), at(5)).await.unwrap();
    finish_one(storage, completed(&claim, at(6))).await;
    let mut poison = told(6);
    poison.spec.retry.max_lost = 0;
    insert_all(storage, vec![poison, told(7)]).await;
    claim_one(storage, OTHER, at(7)).await;
    claim_one(storage, OTHER, at(7)).await;
    storage.cancel(&MINE, id(7), at(7)).await.unwrap();
    storage.rescue(ME, at(8), 9, at(8)).await.unwrap();
    insert_all(storage, vec![told(8), told(9)]).await;
    let given = claim_one(storage, ME, at(9)).await;
    storage.cancel(&MINE, id(8), at(9)).await.unwrap();
    let back = failed(&given, at(10), FailureKind::Cancelled, Next::GiveBack);
    finish_one(storage, back).await;
    let cancelled = storage.cancel_all(&MINE, vec![id(9)], at(11)).await;
    cancelled.unwrap();
}

/// Task 10 has no callback, and 11 goes on: a stale end, and a claim that is given back, end nothing.
async fn end_nothing(storage: &dyn Storage) {
    insert_all(storage, vec![new_task(10), told(11)]).await;
    complete(storage, 12).await;
    let claim = claim_one(storage, ME, at(12)).await;
    let mut stale = completed(&claim, at(12));
    stale.attempt += 1;
    finish_one(storage, stale).await;
    let back = failed(&claim, at(12), FailureKind::Trap, Next::GiveBack);
    finish_one(storage, back).await;
}

pub(crate) async fn every_way_to_end_makes_one_delivery<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    end_by_their_workers(storage).await;
    end_otherwise(storage).await;
    end_nothing(storage).await;
    let mut found = take(storage, 99).await;
    found.sort_by_key(|delivery| delivery.event.of);
    let found: Vec<_> = found
        .into_iter()
        .map(|it| {
            let (number, tries) = (it.event.number, it.tries);
            assert_eq!((number, tries, it.since), (1, 0, it.finished_at));
            (it.event.of, it.state, it.attempt, it.finished_at)
        })
        .collect();
    let (completed, failed, cancelled) = (
        TaskState::Completed,
        TaskState::Failed,
        TaskState::Cancelled,
    );
    let expected = [
        (of(1), completed, 1, at(2)),
        (of(2), failed, 1, at(2)),
        (of(3), failed, 2, at(3)),
        (of(4), cancelled, 0, at(4)),
        (of(5), cancelled, 1, at(6)),
        (of(6), failed, 1, at(8)),
        (of(7), cancelled, 1, at(8)),
        (of(8), cancelled, 1, at(10)),
        (of(9), cancelled, 0, at(11)),
    ];
    assert_eq!(found, expected);
    assert!(!task(storage, 10).await.has_callback && task(storage, 11).await.has_callback);
    assert!(storage.callback(&MINE, of(10)).await.unwrap().is_none());
    backend
}

pub(crate) async fn only_ends_that_are_asked_for_are_told<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let on = Ends::of(&[TaskState::Failed]).unwrap();
    let secret = Some(SecretName::parse("hook").unwrap());
    let callback = Callback {
        on,
        secret: secret.clone(),
        ..callback("https://a.example/hook?x=1")
    };
    let only_failed = |number| NewTask {
        callback: Some(callback.clone()),
        ..new_task(number)
    };
    insert_all(
        storage,
        vec![only_failed(1), only_failed(2), only_failed(3)],
    )
    .await;
    complete(storage, 1).await;
    let claim = claim_one(storage, ME, at(1)).await;
    let failure = failed(&claim, at(1), FailureKind::Trap, Next::Fail);
    finish_one(storage, failure).await;
    storage.cancel(&MINE, id(3), at(1)).await.unwrap();
    let taken = take(storage, 1).await;
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].event.of, &taken[0].secret), (of(2), &secret));
    assert_eq!(taken[0].url, callback.url);
    let shown = storage.callback(&MINE, of(1)).await.unwrap();
    assert_eq!(shown, Some((callback, None)));
    let again = storage.tell_again(&MINE, of(1), at(2)).await.unwrap();
    assert_eq!(again, ToldAgain::Nothing(Some(TaskState::Completed)));
    backend
}

pub(crate) async fn a_delivery_is_taken_by_one_until_its_time_is_over<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, told(1)).await;
    complete(storage, 5).await;
    assert_eq!(take(storage, 4).await, []);
    let first = take(storage, 5).await;
    assert_eq!(first.len(), 1);
    assert_eq!(take(storage, 14).await, []);
    // Whoever had it is dead, or late.
    let second = take(storage, 15).await;
    assert_eq!(second[0].event, first[0].event);
    let settle = async |of: &[Delivery], tried| storage.settle_delivery(of[0].hold, tried).await;
    assert!(!settle(&first, DELIVERED).await.unwrap());
    assert!(settle(&second, DELIVERED).await.unwrap());
    assert!(!settle(&second, missed(None)).await.unwrap());
    let shown = shown(storage, 1).await.unwrap();
    assert_eq!((shown.status, shown.tries), (DeliveryStatus::Delivered, 1));
    assert_eq!(take(storage, 999).await, []);
    // It survives the host.
    insert(storage, told(2)).await;
    complete(storage, 1000).await;
    let backend = backend.reopened().await;
    assert_eq!(take(backend.storage(), 1000).await.len(), 1);
    backend
}

pub(crate) async fn lanes_are_found_one_by_one<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let them = Tenant::parse("them").unwrap();
    let urls = [
        "http://b.example/1",
        "http://a.example/2",
        "http://a.example:81/",
        "http://a.example/1",
    ];
    for (number, url) in (1..).zip(urls) {
        insert(storage, told_at(number, url)).await;
        complete(storage, i64::try_from(number).unwrap()).await;
    }
    let theirs = NewTask {
        tenant: them.clone(),
        ..told_at(9, "http://a.example/")
    };
    insert(storage, theirs).await;
    let whose = Whose::One(them.clone());
    storage.cancel(&whose, id(9), at(9)).await.unwrap();
    let all = [
        (lane(&US, "a.example:80"), at(2)),
        (lane(&US, "a.example:81"), at(3)),
        (lane(&US, "b.example:80"), at(1)),
        (lane(&them, "a.example:80"), at(9)),
    ];
    assert_eq!(lanes(storage).await, all);
    let some = storage.delivery_lanes(None, 2).await.unwrap();
    assert_eq!(some, all[..2]);
    let rest = storage.delivery_lanes(Some(&all[1].0), 99).await.unwrap();
    assert_eq!(rest, all[2..]);
    let first = storage.take_deliveries(&all[0].0, 1, at(9), at(20)).await;
    assert_eq!(first.unwrap()[0].event.of, of(2));
    assert_eq!(lanes(storage).await[0], (lane(&US, "a.example:80"), at(4)));
    backend
}

pub(crate) async fn what_became_of_a_try_is_shown<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, told(1)).await;
    assert_eq!(shown(storage, 1).await, None);
    complete(storage, 1).await;
    let pending = Told {
        status: DeliveryStatus::Pending,
        tries: 0,
        last_status: None,
        last_error: None,
        next_at: Some(at(1)),
    };
    assert_eq!(shown(storage, 1).await, Some(pending.clone()));
    let settle = async |now: i64, tried: Tried| {
        let taken = take(storage, now).await;
        assert!(storage.settle_delivery(taken[0].hold, tried).await.unwrap());
    };
    settle(1, Tried::Held(at(5))).await;
    let held = Told {
        next_at: Some(at(5)),
        ..pending
    };
    assert_eq!(shown(storage, 1).await, Some(held.clone()));
    settle(5, missed(Some(at(7)))).await;
    let once = shown(storage, 1).await.unwrap();
    assert_eq!((once.tries, once.last_status), (1, Some(503)));
    assert!(once.last_error.as_ref().unwrap().starts_with("no"));
    assert_eq!(once.next_at, Some(at(7)));
    // What holds one back forgets nothing of the try before.
    settle(7, Tried::Held(at(8))).await;
    let held = Told {
        next_at: Some(at(8)),
        ..once
    };
    assert_eq!(shown(storage, 1).await, Some(held));
    let counts = |pending, failed| DeliveryCounts { pending, failed };
    assert_eq!(storage.delivery_counts(&MINE).await.unwrap(), counts(1, 0));
    settle(8, missed(None)).await;
    let failed = shown(storage, 1).await.unwrap();
    let status = (failed.status, failed.tries, failed.next_at);
    assert_eq!(status, (DeliveryStatus::Failed, 2, None));
    assert_eq!(storage.delivery_counts(&MINE).await.unwrap(), counts(0, 1));
    assert_eq!(lanes(storage).await, []);
    backend
}

pub(crate) async fn an_end_is_told_again_by_hand<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, told(1)).await;
    let again = async |now: i64| storage.tell_again(&MINE, of(1), at(now)).await.unwrap();
    assert_eq!(again(0).await, ToldAgain::Nothing(Some(TaskState::Pending)));
    complete(storage, 1).await;
    let taken = take(storage, 1).await;
    assert!(matches!(again(2).await, ToldAgain::UnderWay(told) if told.tries == 0));
    let settled = storage.settle_delivery(taken[0].hold, missed(None)).await;
    assert!(settled.unwrap());
    let ToldAgain::Due(told) = again(100).await else {
        panic!("it is due")
    };
    assert_eq!((told.tries, told.next_at), (1, Some(at(100))));
    let taken = take(storage, 100).await;
    assert_eq!((taken[0].since, taken[0].tries), (at(100), 1));
    assert_eq!((taken[0].event.number, taken[0].finished_at), (1, at(1)));
    storage
        .settle_delivery(taken[0].hold, DELIVERED)
        .await
        .unwrap();
    assert!(matches!(again(200).await, ToldAgain::Due(_)));
    assert_eq!(take(storage, 200).await.len(), 1);
    let unknown = storage.tell_again(&MINE, of(2), at(1)).await.unwrap();
    assert_eq!(unknown, ToldAgain::Unknown);
    backend
}

pub(crate) async fn a_task_that_ends_again_is_told_again<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, told(1)).await;
    for round in 1..=3 {
        storage.cancel(&MINE, id(1), at(round)).await.unwrap();
        let retried = storage.retry(&MINE, id(1), at(round)).await.unwrap();
        assert_eq!(retried, Retried::Pending);
    }
    let taken = take(storage, 9).await;
    let numbers: Vec<u32> = taken.iter().map(|it| it.event.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    for round in 4..=i64::from(ENDS_KEPT) + 10 {
        storage.cancel(&MINE, id(1), at(round)).await.unwrap();
        storage.retry(&MINE, id(1), at(round)).await.unwrap();
    }
    // An end that is too old is not settled any more.
    let settled = storage.settle_delivery(taken[0].hold, DELIVERED).await;
    assert!(!settled.unwrap());
    let kept = take(storage, 99).await;
    let numbers: Vec<u32> = kept.iter().map(|it| it.event.number).collect();
    let expected: Vec<u32> = (11..=ENDS_KEPT + 10).collect();
    assert_eq!(numbers, expected);
    backend
}

pub(crate) async fn callbacks_go_with_their_task<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, vec![told(1), told(2)]).await;
    complete(storage, 1).await;
    complete(storage, 5).await;
    let taken = take(storage, 5).await;
    storage.purge(&MINE, id(2)).await.unwrap();
    let pruned = storage.prune(at(3), u64::MAX, 10, at(6)).await.unwrap();
    assert_eq!(pruned.tasks, [id(1)]);
    for delivery in taken {
        let settled = storage.settle_delivery(delivery.hold, DELIVERED).await;
        assert!(!settled.unwrap());
    }
    assert_eq!(lanes(storage).await, []);
    assert!(storage.callback(&MINE, of(1)).await.unwrap().is_none());
    backend
}

pub(crate) async fn callbacks_are_their_tenants<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, told(1)).await;
    complete(storage, 1).await;
    let theirs = Whose::One(Tenant::parse("them").unwrap());
    assert!(storage.callback(&theirs, of(1)).await.unwrap().is_none());
    let again = storage.tell_again(&theirs, of(1), at(2)).await.unwrap();
    assert_eq!(again, ToldAgain::Unknown);
    let counts = storage.delivery_counts(&theirs).await.unwrap();
    assert_eq!(counts, DeliveryCounts::default());
    let all = storage.delivery_counts(&Whose::All).await.unwrap();
    assert_eq!(all.pending, 1);
    backend
}
