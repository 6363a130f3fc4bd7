//! Ends of workflows that somebody is told: one delivery exactly in the transaction that makes a workflow final, whatever
//! that is, and another one for each further run.

use super::fixture::*;
use crate::conformance::fixture::*;
use crate::conformance::{Backend, Storage};
use crate::{Delivery, RetriedWorkflow, Retry, ToldAgain, Tried};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::callback::event::{EventId, Subject};
use cofferdam_domain::callback::{Callback, DeliveryStatus, Ends, Lane};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Next;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::RetryMode;

const URL: &str = "https://a.example/workflows";

fn of(number: u128) -> Subject {
    Subject::Workflow(wid(number))
}

async fn put(storage: &dyn Storage, number: u128, on: &[TaskState]) {
    let mut workflow = flow(number);
    workflow.callback = Some(Callback {
        on: Ends::of(on).unwrap(),
        ..callback(URL)
    });
    insert_flow(storage, workflow, chain(number, &["a", "b"])).await;
}

async fn take(storage: &dyn Storage, now: i64) -> Vec<Delivery> {
    let lane = Lane {
        tenant: US,
        place: "a.example:443".to_owned(),
    };
    let taken = storage.take_deliveries(&lane, 99, at(now), at(now + 10));
    taken.await.unwrap()
}

async fn completes(storage: &dyn Storage, names: &[&str], now: i64) {
    for name in names {
        let claim = claim_named(storage, name).await;
        finish_one(storage, completed(&claim, at(now))).await;
    }
}

pub(crate) async fn a_workflow_is_told_once_for_each_run<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    put(storage, 1, &Ends::STATES).await;
    let callback = callback(URL);
    let shown = storage.callback(&MINE, of(1)).await.unwrap();
    assert_eq!(shown, Some((callback.clone(), None)));
    let again = storage.tell_again(&MINE, of(1), at(1)).await.unwrap();
    assert_eq!(again, ToldAgain::Nothing(None));
    completes(storage, &["a"], 2).await;
    assert_eq!(take(storage, 9).await, []);
    completes(storage, &["b"], 3).await;
    let told = take(storage, 9).await;
    assert_eq!(told.len(), 1);
    let event = |number| EventId { of: of(1), number };
    assert_eq!(told[0].event, event(1));
    assert_eq!((told[0].state, told[0].attempt), (TaskState::Completed, 1));
    assert_eq!((told[0].finished_at, told[0].since), (at(3), at(3)));
    assert_eq!((told[0].url.as_str(), &told[0].tenant), (URL, &US));
    let delivered = Tried::Delivered { status: 204 };
    let settled = storage.settle_delivery(told[0].hold, delivered).await;
    assert!(settled.unwrap());
    let shown = storage.callback(&MINE, of(1)).await.unwrap().unwrap();
    assert_eq!(shown.1.unwrap().status, DeliveryStatus::Delivered);
    // It is tried again by hand, and ends otherwise.
    let retry = Retry {
        mode: RetryMode::All,
        from: Vec::new(),
    };
    let retried = storage.retry_workflow(&MINE, wid(1), retry, at(4)).await;
    assert_eq!(retried.unwrap(), RetriedWorkflow::Running { run: 2 });
    assert_eq!(take(storage, 99).await, []);
    let a = claim_named(storage, "a").await;
    finish_one(storage, failed(&a, at(5), FailureKind::Trap, Next::Fail)).await;
    let b = claim_named(storage, "b").await;
    finish_one(storage, skip(&b, at(6))).await;
    let told = take(storage, 99).await;
    assert_eq!((told.len(), told[0].event), (1, event(2)));
    let end = (told[0].state, told[0].attempt, told[0].finished_at);
    assert_eq!(end, (TaskState::Failed, 2, at(6)));
    backend
}

pub(crate) async fn only_ends_of_workflows_that_are_asked_for_are_told<B: Backend>(
    backend: B,
) -> B {
    let storage = backend.storage();
    put(storage, 1, &[TaskState::Failed]).await;
    completes(storage, &["a", "b"], 2).await;
    assert_eq!(take(storage, 9).await, []);
    put(storage, 2, &[TaskState::Cancelled]).await;
    storage.cancel_workflow(&MINE, wid(2), at(3)).await.unwrap();
    let told = take(storage, 9).await;
    assert_eq!((told.len(), told[0].event.of), (1, of(2)));
    assert_eq!(told[0].state, TaskState::Cancelled);
    // It is told again by hand; others' workflows are none.
    let again = async |whose: &Whose, number: u128| {
        let told = storage.tell_again(whose, of(number), at(7)).await;
        told.unwrap()
    };
    assert!(matches!(again(&MINE, 2).await, ToldAgain::UnderWay(_)));
    assert_eq!(again(&MINE, 1).await, ToldAgain::Nothing(None));
    let theirs = Whose::One(Tenant::parse("them").unwrap());
    assert_eq!(again(&theirs, 2).await, ToldAgain::Unknown);
    assert!(storage.callback(&theirs, of(2)).await.unwrap().is_none());
    // One without nodes has ended when it comes.
    let mut empty = flow(3);
    empty.callback = Some(callback(URL));
    insert_flow(storage, empty, Vec::new()).await;
    let told = take(storage, 9).await;
    assert_eq!((told.len(), told[0].event.of), (1, of(3)));
    assert_eq!((told[0].state, told[0].attempt), (TaskState::Completed, 1));
    backend
}

pub(crate) async fn every_way_to_end_a_workflow_is_told<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    for (number, way) in (1..).zip(Way::ALL) {
        let mut workflow = flow(number);
        workflow.callback = Some(callback(URL));
        insert_flow(storage, workflow, chain(number, &["a"])).await;
        way.end(storage, number).await;
        let told = take(storage, 10_000).await;
        assert_eq!((told.len(), told[0].event.of), (1, of(number)), "{way:?}");
        let delivered = Tried::Delivered { status: 204 };
        let settled = storage.settle_delivery(told[0].hold, delivered).await;
        assert!(settled.unwrap());
    }
    backend
}

pub(crate) async fn the_end_of_a_workflow_goes_with_it<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    put(storage, 1, &Ends::STATES).await;
    completes(storage, &["a", "b"], 2).await;
    let backend = backend.reopened().await;
    let storage = backend.storage();
    let told = take(storage, 3).await;
    assert_eq!(told.len(), 1);
    storage.prune(at(900), 1000, 100, at(1000)).await.unwrap();
    let gone = storage.workflow(&MINE, wid(1)).await.unwrap();
    assert!(gone.is_none());
    let delivered = Tried::Delivered { status: 204 };
    let settled = storage.settle_delivery(told[0].hold, delivered).await;
    assert!(!settled.unwrap());
    assert_eq!(storage.delivery_lanes(None, 9).await.unwrap(), []);
    backend
}
