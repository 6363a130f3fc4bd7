//! Shared by the bodies about workflows: graphs to submit, and the usual steps.

use uuid::Uuid;

use crate::conformance::Storage;
use crate::conformance::fixture::*;
use crate::{InsertedWorkflow, NewNode, NewWorkflow, Node, Workflow};
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome};
use cofferdam_domain::claim::{AttemptEnd, Claim, Next};
use cofferdam_domain::task::{ClaimOrder, Priority};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::{OnFailure, WorkflowId, WorkflowState};

pub(crate) fn wid(number: u128) -> WorkflowId {
    WorkflowId(Uuid::from_u128(0xf10 << 64 | number))
}

/// A workflow that a failure stops.
pub(crate) fn flow(number: u128) -> NewWorkflow {
    NewWorkflow {
        id: wid(number),
        tenant: US,
        name: Some(format!("flow {number}")),
        priority: Priority::Normal,
        on_failure: OnFailure::Stop,
        cancel_running: false,
        definition: format!("definition of {number}"),
        callback: None,
        idempotency_key: None,
        fingerprint: *wid(number).0.as_bytes(),
    }
}

pub(crate) fn node(task: u128, name: &str, parents: &[u32]) -> NewNode {
    NewNode {
        name: name.to_owned(),
        task: new_task(task),
        plan: Some(format!("plan of {name}")),
        parents: parents.to_vec(),
    }
}

/// a before b and c, and those before d.
pub(crate) fn diamond() -> Vec<NewNode> {
    diamond_of(1)
}

pub(crate) fn diamond_of(number: u128) -> Vec<NewNode> {
    let task = number * 100;
    vec![
        node(task, "a", &[]),
        node(task + 1, "b", &[0]),
        node(task + 2, "c", &[0]),
        node(task + 3, "d", &[1, 2]),
    ]
}

/// Each before the next.
pub(crate) fn chain(number: u128, names: &[&str]) -> Vec<NewNode> {
    let before = |place: u32| place.checked_sub(1).into_iter().collect::<Vec<u32>>();
    let nodes = (0..).zip(names);
    nodes
        .map(|(place, name)| node(number * 100 + u128::from(place), name, &before(place)))
        .collect()
}

/// Two that wait for nothing.
pub(crate) fn pair(number: u128) -> Vec<NewNode> {
    vec![
        node(number * 100, "a", &[]),
        node(number * 100 + 1, "b", &[]),
    ]
}

pub(crate) async fn insert_flow(storage: &dyn Storage, workflow: NewWorkflow, nodes: Vec<NewNode>) {
    let id = workflow.id;
    let inserted = storage.insert_workflow(workflow, nodes, ANY_NUMBER, at(0));
    let new = InsertedWorkflow { id, is_new: true };
    assert_eq!(inserted.await.unwrap(), new);
}

pub(crate) async fn seen(storage: &dyn Storage, number: u128) -> Workflow {
    let found = storage.workflow(&MINE, wid(number)).await.unwrap();
    found.unwrap().workflow
}

pub(crate) async fn state_of(storage: &dyn Storage, number: u128) -> WorkflowState {
    let state = storage.workflow_state(&MINE, wid(number)).await.unwrap();
    assert_eq!(state, Some(seen(storage, number).await.state));
    state.unwrap()
}

pub(crate) async fn node_of(storage: &dyn Storage, number: u128, name: &str) -> Node {
    let found = storage.workflow(&MINE, wid(number)).await.unwrap();
    let mut nodes = found.unwrap().nodes.into_iter();
    nodes.find(|node| node.name == name).unwrap()
}

/// Names and states of all nodes.
pub(crate) async fn states(storage: &dyn Storage, number: u128) -> String {
    let found = storage.workflow(&MINE, wid(number)).await.unwrap();
    let nodes = found.unwrap().nodes;
    let nodes = nodes
        .iter()
        .map(|node| format!("{}:{}", node.name, node.state.as_str()));
    nodes.collect::<Vec<_>>().join(" ")
}

/// Claims what may be claimed until the node of that name is among it; gives the others back.
pub(crate) async fn claim_named(storage: &dyn Storage, name: &str) -> Claim {
    let claims = storage
        .claim(ME, 100, ClaimOrder::Fifo, at(10_000))
        .await
        .unwrap();
    let mut wanted = None;
    for claim in claims {
        let node = claim.node.as_ref().unwrap();
        if node.name == name && wanted.is_none() {
            wanted = Some(claim);
        } else {
            let outcome = Outcome::Failed(Failure::new(FailureKind::Lost, "not begun"));
            finish_one(storage, end(&claim, at(1), outcome, Next::GiveBack)).await;
        }
    }
    wanted.unwrap_or_else(|| panic!("{name} cannot be claimed"))
}

/// The end of a node that is not to run.
pub(crate) fn skip(claim: &Claim, now: Timestamp) -> AttemptEnd {
    failed(claim, now, FailureKind::Skipped, Next::Cancel)
}

/// How a node `a` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Completed,
    Failed,
    UsedUp,
    Skipped,
    CancelledPending,
    CancelledRunning,
    CancelledWithOthers,
    LostTooOften,
    CancelledAndLost,
    GivenBackCancelled,
}

impl Way {
    pub(crate) const ALL: [Way; 10] = [
        Way::Completed,
        Way::Failed,
        Way::UsedUp,
        Way::Skipped,
        Way::CancelledPending,
        Way::CancelledRunning,
        Way::CancelledWithOthers,
        Way::LostTooOften,
        Way::CancelledAndLost,
        Way::GivenBackCancelled,
    ];

    pub(crate) async fn end(self, storage: &dyn Storage, number: u128) {
        let task = id(number * 100);
        if self == Way::CancelledPending {
            storage.cancel(&MINE, task, at(2)).await.unwrap();
            return;
        }
        if self == Way::CancelledWithOthers {
            storage.cancel_all(&MINE, vec![task], at(2)).await.unwrap();
            return;
        }
        let a = claim_named(storage, "a").await;
        let lost = || failed(&a, at(3), FailureKind::Lost, Next::RetryAt(at(4)));
        match self {
            Way::Completed => drop(finish_one(storage, completed(&a, at(3))).await),
            Way::Failed => {
                finish_one(storage, failed(&a, at(3), FailureKind::Trap, Next::Fail)).await;
            }
            Way::UsedUp => {
                let again = Next::RetryAt(at(4));
                finish_one(storage, failed(&a, at(3), FailureKind::Trap, again)).await;
                for _ in 1..a.max_attempts {
                    let a = claim_named(storage, "a").await;
                    finish_one(storage, failed(&a, at(3), FailureKind::Trap, again)).await;
                }
            }
            Way::Skipped => drop(finish_one(storage, skip(&a, at(3))).await),
            Way::CancelledRunning => {
                storage.cancel(&MINE, task, at(2)).await.unwrap();
                finish_one(storage, completed(&a, at(3))).await;
            }
            Way::LostTooOften => {
                for _ in 0..a.spec.retry.max_lost {
                    storage.rescue(OTHER, at(20), 10, at(20)).await.unwrap();
                    claim_named(storage, "a").await;
                }
                storage.rescue(OTHER, at(20), 10, at(20)).await.unwrap();
            }
            Way::CancelledAndLost => {
                storage.cancel(&MINE, task, at(2)).await.unwrap();
                finish_one(storage, lost()).await;
            }
            Way::GivenBackCancelled => {
                storage.cancel(&MINE, task, at(2)).await.unwrap();
                let mut back = lost();
                back.next = Next::GiveBack;
                back.workflow = None;
                finish_one(storage, back).await;
            }
            Way::CancelledPending | Way::CancelledWithOthers => {}
        }
    }
}
