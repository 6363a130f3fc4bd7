//! Nodes that wait for instances or for a signal.

use super::fixture::*;
use crate::conformance::Backend;
use crate::conformance::fixture::*;
use crate::{Before, HeldNode, NewNode, NewSignal, Park, Parking, Signalled, StorageError, Waits};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::claim::Next;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::ClaimOrder;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::{ParkedFor, WorkflowState};

fn instances(first: u128, count: u32) -> Vec<NewNode> {
    let each =
        (0..count).map(|number| node(first + u128::from(number), &format!("m[{number}]"), &[]));
    each.collect()
}

fn held(claim: &cofferdam_domain::claim::Claim) -> HeldNode {
    HeldNode::of(claim).unwrap()
}

const PARKED: Parking = Parking::Parked(TaskState::Blocked);

pub(crate) async fn a_node_waits_for_its_instances<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), chain(1, &["m", "z"])).await;
    let m = claim_named(storage, "m").await;
    let park = |claim, nodes, at_once| {
        storage.park(
            held(claim),
            Park::Instances { nodes, at_once },
            ANY_NUMBER,
            at(2),
        )
    };
    assert_eq!(park(&m, instances(500, 3), Some(2)).await.unwrap(), PARKED);
    assert_eq!(
        park(&m, instances(600, 3), None).await.unwrap(),
        Parking::Stale
    );
    // No more than two are under way.
    assert_eq!(
        states(storage, 1).await,
        "m:blocked z:blocked m[0]:pending m[1]:pending m[2]:blocked"
    );
    assert_eq!(node_of(storage, 1, "m").await.waits, Some(Waits::Instances));
    let first = claim_named(storage, "m[0]").await;
    assert_eq!(first.node.as_ref().unwrap().instance_of, Some(0));
    finish_one(storage, completed(&first, at(3))).await;
    assert_eq!(
        states(storage, 1).await,
        "m:blocked z:blocked m[0]:completed m[1]:pending m[2]:pending"
    );
    for name in ["m[2]", "m[1]"] {
        let claim = claim_named(storage, name).await;
        finish_one(storage, completed(&claim, at(4))).await;
    }
    let m = claim_named(storage, "m").await;
    assert_eq!(m.attempt, 1, "parking is not charged");
    assert_eq!(m.node.as_ref().unwrap().parked, Some(ParkedFor::Instances));
    let ends = storage
        .ends_before(&US, m.task_id, Before::Instances, 1 << 20)
        .await
        .unwrap();
    let names: Vec<&str> = ends.iter().map(|end| end.name.as_str()).collect();
    assert_eq!(names, ["m[0]", "m[1]", "m[2]"]);
    finish_one(storage, completed(&m, at(5))).await;
    let z = claim_named(storage, "z").await;
    // Without instances the node waits for nothing. A full queue takes no instances.
    let none = park(&z, Vec::new(), None).await.unwrap();
    assert_eq!(none, Parking::Parked(TaskState::Pending));
    let z = claim_named(storage, "z").await;
    assert_eq!(z.node.as_ref().unwrap().parked, Some(ParkedFor::Instances));
    let wanted = Park::Instances {
        nodes: instances(700, 2),
        at_once: None,
    };
    let full = storage.park(held(&z), wanted, 1.into(), at(6)).await;
    assert!(
        matches!(full, Err(StorageError::QueueFull { .. })),
        "{full:?}"
    );
    finish_one(storage, completed(&z, at(7))).await;
    assert_eq!(state_of(storage, 1).await, WorkflowState::Completed);
    assert_eq!(seen(storage, 1).await.counts.nodes, 5);
    backend
}

pub(crate) async fn what_a_cancelled_node_waits_for_is_cancelled<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), pair(1)).await;
    let a = claim_named(storage, "a").await;
    let park = Park::Instances {
        nodes: instances(500, 2),
        at_once: Some(1),
    };
    storage
        .park(held(&a), park, ANY_NUMBER, at(2))
        .await
        .unwrap();
    let b = claim_named(storage, "b").await;
    finish_one(storage, completed(&b, at(2))).await;
    storage.cancel(&MINE, a.task_id, at(3)).await.unwrap();
    assert_eq!(
        states(storage, 1).await,
        "a:cancelled b:completed m[0]:cancelled m[1]:cancelled"
    );
    assert_eq!(state_of(storage, 1).await, WorkflowState::Cancelled);
    backend
}

fn signal(name: &str, key: Option<&str>, body: &'static [u8]) -> NewSignal {
    NewSignal {
        name: name.to_owned(),
        idempotency_key: key.map(str::to_owned),
        fingerprint: [body.len() as u8; 16],
        payload: payload(body),
    }
}

fn wait(until: Option<Timestamp>) -> Park {
    Park::Signal {
        name: "go".to_owned(),
        until,
    }
}

pub(crate) async fn a_signal_is_given_to_one_node<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut nodes = pair(1);
    nodes.push(node(102, "c", &[]));
    insert_flow(storage, flow(1), nodes).await;
    let give = |signal| storage.signal_workflow(&MINE, wid(1), signal, at(3));
    // One that comes before anybody waits for it is kept.
    assert_eq!(
        give(signal("go", Some("1"), b"early")).await.unwrap(),
        Signalled::Kept
    );
    assert_eq!(
        give(signal("go", Some("1"), b"early")).await.unwrap(),
        Signalled::Repeated
    );
    assert_eq!(
        give(signal("go", Some("1"), b"other!")).await.unwrap(),
        Signalled::Conflict
    );
    let a = claim_named(storage, "a").await;
    let parked = storage
        .park(held(&a), wait(None), ANY_NUMBER, at(4))
        .await
        .unwrap();
    assert_eq!(parked, Parking::Parked(TaskState::Pending));
    let a = claim_named(storage, "a").await;
    let early = ParkedFor::Signal(Some(payload(b"early")));
    assert_eq!(a.node.as_ref().unwrap().parked, Some(early));
    finish_one(storage, completed(&a, at(5))).await;
    // One that comes later wakes who waits, whoever that is first.
    let b = claim_named(storage, "b").await;
    storage
        .park(held(&b), wait(None), ANY_NUMBER, at(6))
        .await
        .unwrap();
    let c = claim_named(storage, "c").await;
    storage
        .park(held(&c), wait(Some(at(9))), ANY_NUMBER, at(7))
        .await
        .unwrap();
    let nothing = storage.claim(ME, 9, ClaimOrder::Fifo, at(8)).await.unwrap();
    assert!(nothing.is_empty());
    assert_eq!(storage.next_run_at(ME).await.unwrap(), Some(at(9)));
    let waits = node_of(storage, 1, "b").await.waits;
    assert_eq!(waits, Some(Waits::Signal("go".to_owned())));
    assert_eq!(
        give(signal("stop", None, b"x")).await.unwrap(),
        Signalled::Kept
    );
    assert_eq!(
        give(signal("go", None, b"late")).await.unwrap(),
        Signalled::Given(b.task_id)
    );
    let b = claim_one(storage, ME, at(8)).await;
    let late = ParkedFor::Signal(Some(payload(b"late")));
    assert_eq!(b.node.as_ref().unwrap().parked, Some(late));
    finish_one(storage, completed(&b, at(8))).await;
    // Its time is over.
    let c = claim_one(storage, ME, at(9)).await;
    assert_eq!(
        c.node.as_ref().unwrap().parked,
        Some(ParkedFor::Signal(None))
    );
    finish_one(storage, completed(&c, at(9))).await;
    let over = give(signal("go", None, b"x")).await.unwrap();
    assert_eq!(over, Signalled::Final(WorkflowState::Completed));
    let unknown = storage.signal_workflow(&MINE, wid(9), signal("go", None, b""), at(9));
    assert_eq!(unknown.await.unwrap(), Signalled::Unknown);
    backend
}

pub(crate) async fn a_stop_ends_what_waits_for_a_signal<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut nodes = pair(1);
    nodes.extend([node(102, "late", &[]), node(103, "bad", &[])]);
    insert_flow(storage, flow(1), nodes).await;
    for (name, until) in [("a", None), ("b", Some(at(9_000_000)))] {
        let claim = claim_named(storage, name).await;
        let parked = storage.park(held(&claim), wait(until), ANY_NUMBER, at(2));
        assert_eq!(parked.await.unwrap(), Parking::Parked(TaskState::Pending));
    }
    let late = claim_named(storage, "late").await;
    let bad = claim_named(storage, "bad").await;
    let before = node_of(storage, 1, "a").await;
    finish_one(storage, failed(&bad, at(3), FailureKind::Trap, Next::Fail)).await;
    // One that waits only now does not wait either.
    let parked = storage.park(held(&late), wait(None), ANY_NUMBER, at(4));
    assert_eq!(parked.await.unwrap(), Parking::Parked(TaskState::Pending));
    assert!(before.run_at > at(3) && seen(storage, 1).await.is_stopping);
    let claims = storage.claim(ME, 9, ClaimOrder::Fifo, at(4)).await.unwrap();
    assert_eq!(claims.len(), 3);
    for claim in claims {
        let node = claim.node.as_ref().unwrap();
        assert_eq!(node.parked, Some(ParkedFor::Signal(None)), "{}", node.name);
        assert!(node.is_stopping);
        finish_one(storage, skip(&claim, at(5))).await;
    }
    assert_eq!(state_of(storage, 1).await, WorkflowState::Failed);
    backend
}

pub(crate) async fn a_claim_that_a_pause_missed_waits_for_its_end<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), chain(1, &["a"])).await;
    let a = claim_named(storage, "a").await;
    storage
        .pause_workflow(&MINE, wid(1), true, at(2))
        .await
        .unwrap();
    let parked = storage
        .park(held(&a), Park::Paused, ANY_NUMBER, at(3))
        .await
        .unwrap();
    assert_eq!(parked, PARKED);
    storage
        .pause_workflow(&MINE, wid(1), false, at(4))
        .await
        .unwrap();
    let a = claim_named(storage, "a").await;
    assert_eq!(
        (a.attempt, a.node.as_ref().unwrap().parked.clone()),
        (1, None)
    );
    // Nothing to wait for any more.
    let parked = storage
        .park(held(&a), Park::Paused, ANY_NUMBER, at(5))
        .await
        .unwrap();
    assert_eq!(parked, Parking::Parked(TaskState::Pending));
    let a = claim_named(storage, "a").await;
    storage.cancel(&MINE, a.task_id, at(6)).await.unwrap();
    let parked = storage
        .park(held(&a), Park::Paused, ANY_NUMBER, at(7))
        .await
        .unwrap();
    assert_eq!(parked, Parking::CancelRequested);
    finish_one(storage, completed(&a, at(8))).await;
    backend
}
