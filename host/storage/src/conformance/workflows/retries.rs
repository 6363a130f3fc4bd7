//! Final workflows that are tried again.

use super::fixture::*;
use crate::conformance::fixture::*;
use crate::conformance::{Backend, Storage};
use crate::{HeldNode, Park, RetriedWorkflow, Retry};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::claim::Next;
use cofferdam_domain::task::ClaimOrder;
use cofferdam_domain::workflow::{RetryMode, WorkflowState};

async fn retry(storage: &dyn Storage, mode: RetryMode, from: &[&str]) -> RetriedWorkflow {
    let from = from.iter().map(|name| (*name).to_owned()).collect();
    let retry = Retry { mode, from };
    let retried = storage.retry_workflow(&MINE, wid(1), retry, at(10));
    retried.await.unwrap()
}

/// Runs the workflow to its end; these nodes fail, and those behind them are skipped.
async fn run(storage: &dyn Storage, fails: &[&str]) -> Vec<String> {
    let mut ran = Vec::new();
    loop {
        let claims = storage
            .claim(ME, 1, ClaimOrder::Fifo, at(100))
            .await
            .unwrap();
        let Some(claim) = claims.first() else {
            return ran;
        };
        let name = claim.node.as_ref().unwrap().name.clone();
        let before = storage.ends_before(&US, claim.task_id, crate::Before::Parents, 0);
        let is_well = before
            .await
            .unwrap()
            .iter()
            .all(|end| end.failure.is_none());
        let end = match (is_well, fails.contains(&name.as_str())) {
            (false, _) => skip(claim, at(5)),
            (true, true) => failed(claim, at(5), FailureKind::Trap, Next::Fail),
            (true, false) => completed(claim, at(5)),
        };
        finish_one(storage, end).await;
        ran.push(name);
    }
}

pub(crate) async fn what_did_not_complete_is_tried_again<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), diamond()).await;
    assert_eq!(
        retry(storage, RetryMode::Failed, &[]).await,
        RetriedWorkflow::NotFinal(WorkflowState::Running)
    );
    assert_eq!(run(storage, &["b"]).await, ["a", "b", "c", "d"]);
    assert_eq!(
        states(storage, 1).await,
        "a:completed b:failed c:completed d:cancelled"
    );
    assert_eq!(state_of(storage, 1).await, WorkflowState::Failed);
    let unknown = retry(storage, RetryMode::All, &["x"]).await;
    assert_eq!(unknown, RetriedWorkflow::UnknownNode("x".to_owned()));
    let again = retry(storage, RetryMode::Failed, &[]).await;
    assert_eq!(again, RetriedWorkflow::Running { run: 2 });
    assert_eq!(
        states(storage, 1).await,
        "a:completed b:pending c:completed d:blocked"
    );
    let second = seen(storage, 1).await;
    assert_eq!((second.state, second.run), (WorkflowState::Running, 2));
    assert!(!second.is_stopping);
    assert_eq!((second.counts.open, second.counts.completed), (2, 2));
    assert_eq!(run(storage, &[]).await, ["b", "d"]);
    assert_eq!(state_of(storage, 1).await, WorkflowState::Completed);
    let nothing = retry(storage, RetryMode::Failed, &[]).await;
    assert_eq!(nothing, RetriedWorkflow::Nothing);
    // From a node on, and all.
    let again = retry(storage, RetryMode::FailedAndDownstream, &["c"]).await;
    assert_eq!(again, RetriedWorkflow::Running { run: 3 });
    assert_eq!(run(storage, &[]).await, ["c", "d"]);
    let again = retry(storage, RetryMode::All, &[]).await;
    assert_eq!(again, RetriedWorkflow::Running { run: 4 });
    assert_eq!(run(storage, &[]).await, ["a", "b", "c", "d"]);
    assert_eq!(seen(storage, 1).await.counts.completed, 4);
    backend
}

pub(crate) async fn instances_that_failed_are_tried_again<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), chain(1, &["m"])).await;
    let expand = |first: u128| async move {
        let m = claim_named(storage, "m").await;
        let each = (0..4).map(|number| node(first + number, &format!("m[{number}]"), &[]));
        let park = Park::Instances {
            nodes: each.collect(),
            at_once: Some(2),
        };
        let held = HeldNode::of(&m).unwrap();
        storage.park(held, park, ANY_NUMBER, at(1)).await.unwrap();
    };
    expand(500).await;
    let fails = ["m[1]", "m[2]", "m[3]", "m"];
    assert_eq!(
        run(storage, &fails).await,
        ["m[0]", "m[1]", "m[2]", "m[3]", "m"]
    );
    assert_eq!(state_of(storage, 1).await, WorkflowState::Failed);
    retry(storage, RetryMode::Failed, &[]).await;
    assert_eq!(
        states(storage, 1).await,
        "m:blocked m[0]:completed m[1]:pending m[2]:pending m[3]:blocked"
    );
    assert_eq!(run(storage, &[]).await, ["m[1]", "m[2]", "m[3]", "m"]);
    assert_eq!(state_of(storage, 1).await, WorkflowState::Completed);
    // From the beginning it makes new ones.
    retry(storage, RetryMode::All, &[]).await;
    assert_eq!(states(storage, 1).await, "m:pending");
    assert!(storage.task(&MINE, id(500)).await.unwrap().is_some());
    expand(600).await;
    assert_eq!(
        run(storage, &[]).await,
        ["m[0]", "m[1]", "m[2]", "m[3]", "m"]
    );
    assert_eq!(seen(storage, 1).await.counts.nodes, 5);
    backend
}
