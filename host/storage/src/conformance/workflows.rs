//! Workflows: nodes wait for those before them, whatever becomes of those.

pub(crate) mod ends;
pub(crate) mod fixture;
pub(crate) mod heirs;
pub(crate) mod parking;
pub(crate) mod random;
pub(crate) mod retries;

use self::fixture::*;
use super::Backend;
use super::fixture::*;
use crate::{
    Before, Bounds, Cancelled, CancelledWorkflow, Finished, InsertedWorkflow, PausedWorkflow,
    Purged, Retried, StorageError, WorkflowFilter,
};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Next;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::ClaimOrder;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::{OnFailure, WorkflowId, WorkflowState};

pub(crate) async fn a_node_waits_for_all_before_it<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), diamond()).await;
    assert_eq!(
        states(storage, 1).await,
        "a:pending b:blocked c:blocked d:blocked"
    );
    let a = claim_named(storage, "a").await;
    let node = a.node.clone().unwrap();
    assert_eq!((node.workflow, node.place, node.parents), (wid(1), 0, 0));
    assert_eq!(node.plan.as_deref(), Some("plan of a"));
    finish_one(storage, completed(&a, at(2))).await;
    assert_eq!(
        states(storage, 1).await,
        "a:completed b:pending c:pending d:blocked"
    );
    let b = claim_named(storage, "b").await;
    finish_one(storage, completed(&b, at(3))).await;
    assert_eq!(node_of(storage, 1, "d").await.remaining, 1);
    let c = claim_named(storage, "c").await;
    finish_one(storage, completed(&c, at(4))).await;
    let d = claim_named(storage, "d").await;
    let ends = storage
        .ends_before(&US, d.task_id, Before::Parents, 1000)
        .await
        .unwrap();
    let names: Vec<&str> = ends.iter().map(|end| end.name.as_str()).collect();
    assert_eq!(names, ["b", "c"]);
    assert!(ends.iter().all(|end| end.state == TaskState::Completed));
    assert!(
        ends.iter()
            .all(|end| end.output.as_ref().is_some_and(|it| !it.body.is_empty()))
    );
    let none = storage
        .ends_before(&US, d.task_id, Before::Parents, 0)
        .await
        .unwrap();
    assert!(
        none.iter()
            .all(|end| end.output.is_none() && end.output_bytes > Some(0))
    );
    assert_eq!(state_of(storage, 1).await, WorkflowState::Running);
    finish_one(storage, completed(&d, at(5))).await;
    let seen = seen(storage, 1).await;
    assert_eq!(seen.state, WorkflowState::Completed);
    assert_eq!(seen.finished_at, Some(at(5)));
    assert_eq!(
        (seen.counts.nodes, seen.counts.open, seen.counts.completed),
        (4, 0, 4)
    );
    backend
}

/// Two last parents that end at the same moment.
pub(crate) async fn last_parents_that_end_at_once_release_their_kid<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    for number in 1..=20 {
        insert_flow(storage, flow(number), diamond_of(number)).await;
        let a = claim_named(storage, "a").await;
        finish_one(storage, completed(&a, at(2))).await;
        let (b, c) = (
            claim_named(storage, "b").await,
            claim_named(storage, "c").await,
        );
        let ends = [completed(&b, at(3)), completed(&c, at(3))];
        let [b, c] = ends.map(|end| storage.finish(vec![end]));
        let (b, c) = tokio::join!(b, c);
        let recorded = Finished::Recorded(TaskState::Completed);
        assert_eq!((b.unwrap(), c.unwrap()), (vec![recorded], vec![recorded]));
        let d = claim_named(storage, "d").await;
        finish_one(storage, completed(&d, at(4))).await;
        assert_eq!(state_of(storage, number).await, WorkflowState::Completed);
    }
    backend
}

pub(crate) async fn every_way_to_end_releases<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    for (number, way) in (1..).zip(Way::ALL) {
        insert_flow(storage, flow(number), chain(number, &["a", "b"])).await;
        way.end(storage, number).await;
        let state = node_of(storage, number, "a").await.state;
        assert!(state.is_final(), "{way:?}");
        assert_eq!(
            node_of(storage, number, "b").await.state,
            TaskState::Pending,
            "{way:?}"
        );
        let b = claim_named(storage, "b").await;
        let ends = storage
            .ends_before(&US, b.task_id, Before::Parents, 1000)
            .await
            .unwrap();
        assert_eq!(ends[0].state, state, "{way:?}");
        let skipped = finish_one(storage, skip(&b, at(50))).await;
        assert_eq!(skipped, Finished::Recorded(TaskState::Cancelled));
        let seen = seen(storage, number).await;
        assert_eq!(seen.counts.open, 0, "{way:?}");
        assert!(seen.state.is_final(), "{way:?}");
        let b = node_of(storage, number, "b").await;
        let kind = b.failure.map(|failure| failure.kind);
        assert_eq!(kind, Some(FailureKind::Skipped));
    }
    backend
}

pub(crate) async fn the_final_state_is_what_its_nodes_say<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    // A failure stops what has not begun; what runs ends as it does.
    insert_flow(storage, flow(1), pair(1)).await;
    let (a, b) = (
        claim_named(storage, "a").await,
        claim_named(storage, "b").await,
    );
    finish_one(storage, failed(&a, at(2), FailureKind::Trap, Next::Fail)).await;
    assert!(seen(storage, 1).await.is_stopping);
    finish_one(storage, completed(&b, at(3))).await;
    assert_eq!(state_of(storage, 1).await, WorkflowState::Failed);
    // It goes on if it is to.
    let mut goes_on = flow(2);
    goes_on.on_failure = OnFailure::Continue;
    insert_flow(storage, goes_on, pair(2)).await;
    let (a, b) = (
        claim_named(storage, "a").await,
        claim_named(storage, "b").await,
    );
    finish_one(storage, failed(&a, at(2), FailureKind::Trap, Next::Fail)).await;
    assert!(!seen(storage, 2).await.is_stopping);
    // A node that was cancelled, and one that was skipped.
    let cancelled = failed(&b, at(3), FailureKind::Cancelled, Next::Cancel);
    finish_one(storage, cancelled).await;
    assert_eq!(state_of(storage, 2).await, WorkflowState::Failed);
    insert_flow(storage, flow(3), pair(3)).await;
    let (a, b) = (
        claim_named(storage, "a").await,
        claim_named(storage, "b").await,
    );
    finish_one(storage, skip(&a, at(2))).await;
    finish_one(storage, completed(&b, at(3))).await;
    assert_eq!(state_of(storage, 3).await, WorkflowState::Completed);
    assert_eq!(seen(storage, 3).await.counts.skipped, 1);
    // What runs is cancelled with the failure, if that was asked for.
    let mut strict = flow(4);
    strict.cancel_running = true;
    insert_flow(storage, strict, pair(4)).await;
    let (a, b) = (
        claim_named(storage, "a").await,
        claim_named(storage, "b").await,
    );
    assert_eq!(storage.cancel_requests(ME).await.unwrap(), []);
    finish_one(storage, failed(&a, at(2), FailureKind::Trap, Next::Fail)).await;
    assert_eq!(storage.cancel_requests(ME).await.unwrap(), [b.task_id]);
    let ended = finish_one(storage, completed(&b, at(3))).await;
    assert_eq!(ended, Finished::Recorded(TaskState::Cancelled));
    // One without nodes has nothing to wait for.
    insert_flow(storage, flow(5), Vec::new()).await;
    assert_eq!(state_of(storage, 5).await, WorkflowState::Completed);
    backend
}

pub(crate) async fn a_cancelled_workflow_ends<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), diamond()).await;
    let a = claim_named(storage, "a").await;
    let cancelled = storage.cancel_workflow(&MINE, wid(1), at(2)).await.unwrap();
    let CancelledWorkflow::Cancelled { at_once, requested } = cancelled else {
        panic!("{cancelled:?}");
    };
    assert_eq!(at_once.len(), 3);
    assert_eq!(requested, [(a.task_id, ME)]);
    assert_eq!(state_of(storage, 1).await, WorkflowState::Running);
    assert!(seen(storage, 1).await.is_cancelled);
    finish_one(storage, completed(&a, at(3))).await;
    assert_eq!(state_of(storage, 1).await, WorkflowState::Cancelled);
    let again = storage.cancel_workflow(&MINE, wid(1), at(4)).await.unwrap();
    assert_eq!(again, CancelledWorkflow::Final(WorkflowState::Cancelled));
    let unknown = storage.cancel_workflow(&MINE, wid(9), at(4)).await.unwrap();
    assert_eq!(unknown, CancelledWorkflow::Unknown);
    backend
}

pub(crate) async fn a_paused_workflow_begins_nothing<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), diamond()).await;
    let pause = |paused, now| storage.pause_workflow(&MINE, wid(1), paused, now);
    let a = claim_named(storage, "a").await;
    assert_eq!(pause(true, at(2)).await.unwrap(), PausedWorkflow::Changed);
    assert_eq!(pause(true, at(2)).await.unwrap(), PausedWorkflow::Unchanged);
    assert_eq!(state_of(storage, 1).await, WorkflowState::Paused);
    // What runs ends, and releases nothing yet.
    finish_one(storage, completed(&a, at(3))).await;
    assert_eq!(
        states(storage, 1).await,
        "a:completed b:blocked c:blocked d:blocked"
    );
    assert_eq!(claim_ids(storage, 9, ClaimOrder::Fifo).await, []);
    assert_eq!(pause(false, at(4)).await.unwrap(), PausedWorkflow::Changed);
    assert_eq!(
        states(storage, 1).await,
        "a:completed b:pending c:pending d:blocked"
    );
    assert_eq!(pause(true, at(5)).await.unwrap(), PausedWorkflow::Changed);
    assert_eq!(
        states(storage, 1).await,
        "a:completed b:blocked c:blocked d:blocked"
    );
    assert_eq!(pause(false, at(6)).await.unwrap(), PausedWorkflow::Changed);
    for name in ["b", "c", "d"] {
        let claim = claim_named(storage, name).await;
        finish_one(storage, completed(&claim, at(7))).await;
    }
    let over = pause(true, at(8)).await.unwrap();
    assert_eq!(over, PausedWorkflow::Final(WorkflowState::Completed));
    backend
}

pub(crate) async fn a_request_is_stored_once<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut first = flow(1);
    first.idempotency_key = Some("key".to_owned());
    insert_flow(storage, first.clone(), diamond()).await;
    let repeat = |workflow, nodes| storage.insert_workflow(workflow, nodes, ANY_NUMBER, at(1));
    let mut again = flow(2);
    again.idempotency_key = Some("key".to_owned());
    again.fingerprint = first.fingerprint;
    let earlier = InsertedWorkflow {
        id: wid(1),
        is_new: false,
    };
    assert_eq!(repeat(again.clone(), diamond_of(2)).await.unwrap(), earlier);
    assert_eq!(repeat(first.clone(), diamond()).await.unwrap(), earlier);
    again.fingerprint = [9; 16];
    let conflict = repeat(again, diamond_of(2)).await.unwrap_err();
    assert!(matches!(conflict, StorageError::WorkflowConflict(id) if id == wid(1)));
    // All nodes or none.
    let mut taken = diamond_of(3);
    taken[3].task.id = id(100);
    taken[3].task.fingerprint = [7; 16];
    assert!(repeat(flow(3), taken).await.is_err());
    assert!(storage.workflow(&MINE, wid(3)).await.unwrap().is_none());
    let bounds: Bounds = 7.into();
    let full = storage
        .insert_workflow(flow(3), diamond_of(3), bounds, at(1))
        .await;
    assert!(
        matches!(full, Err(StorageError::QueueFull { .. })),
        "{full:?}"
    );
    let counts = storage.counts(&MINE).await.unwrap();
    assert_eq!((counts.pending, counts.blocked), (1, 3));
    let definition = storage.workflow_definition(&MINE, wid(1)).await.unwrap();
    assert_eq!(definition.as_deref(), Some("definition of 1"));
    backend
}

pub(crate) async fn workflows_are_their_tenants<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let theirs = Tenant::parse("theirs").unwrap();
    insert_flow(storage, flow(1), chain(1, &["a", "b"])).await;
    let other = Whose::One(theirs.clone());
    assert!(storage.workflow(&other, wid(1)).await.unwrap().is_none());
    let nothing = storage.workflow_definition(&other, wid(1)).await.unwrap();
    assert_eq!(nothing, None);
    let cancelled = storage
        .cancel_workflow(&other, wid(1), at(1))
        .await
        .unwrap();
    assert_eq!(cancelled, CancelledWorkflow::Unknown);
    let paused = storage
        .pause_workflow(&other, wid(1), true, at(1))
        .await
        .unwrap();
    assert_eq!(paused, PausedWorkflow::Unknown);
    let listed = |tenant: Tenant| async move {
        let filter = WorkflowFilter::default();
        let page = storage.workflows(&tenant, &filter, 10).await.unwrap();
        page.workflows.len()
    };
    assert_eq!((listed(US).await, listed(theirs.clone()).await), (1, 0));
    let before = storage
        .ends_before(&theirs, id(101), Before::Parents, 9)
        .await;
    assert!(before.unwrap().is_empty());
    // An id is one workflow's alone.
    let mut same = flow(1);
    same.tenant = theirs;
    let taken = storage
        .insert_workflow(same, Vec::new(), ANY_NUMBER, at(1))
        .await;
    assert!(
        matches!(taken, Err(StorageError::WorkflowConflict(_))),
        "{taken:?}"
    );
    backend
}

pub(crate) async fn workflows_are_listed_page_by_page<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    for number in 1..=5 {
        insert_flow(storage, flow(number), chain(number, &["a"])).await;
    }
    for number in [2, 4] {
        storage
            .cancel_workflow(&MINE, wid(number), at(2))
            .await
            .unwrap();
    }
    let mut filter = WorkflowFilter::default();
    let mut ids: Vec<WorkflowId> = Vec::new();
    loop {
        let page = storage.workflows(&US, &filter, 2).await.unwrap();
        ids.extend(page.workflows.iter().map(|it| it.id));
        filter.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(ids, [5, 4, 3, 2, 1].map(wid));
    let only = |states: &[WorkflowState], name: Option<&str>| WorkflowFilter {
        states: states.to_vec(),
        name: name.map(str::to_owned),
        after: None,
    };
    for (filter, expected) in [
        (only(&[WorkflowState::Cancelled], None), vec![4, 2]),
        (only(&[], Some("flow 3")), vec![3]),
        (only(&[WorkflowState::Failed], None), vec![]),
    ] {
        let page = storage.workflows(&US, &filter, 9).await.unwrap();
        let ids: Vec<WorkflowId> = page.workflows.iter().map(|it| it.id).collect();
        assert_eq!(ids, expected.into_iter().map(wid).collect::<Vec<_>>());
    }
    backend
}

pub(crate) async fn a_workflow_goes_with_all_its_nodes<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), chain(1, &["a", "b"])).await;
    insert_flow(storage, flow(2), Vec::new()).await;
    let a = claim_named(storage, "a").await;
    finish_one(storage, completed(&a, at(2))).await;
    // As long as it lives its nodes stay.
    let kept = storage.prune(at(1000), 0, 100, at(1000)).await.unwrap();
    assert_eq!(kept.tasks, []);
    let purged = storage.purge(&MINE, a.task_id).await.unwrap();
    assert!(
        matches!(purged, Purged::OfWorkflow(id) if id == wid(1)),
        "{purged:?}"
    );
    let b = claim_named(storage, "b").await;
    finish_one(storage, failed(&b, at(900), FailureKind::Trap, Next::Fail)).await;
    let retried = storage.retry(&MINE, b.task_id, at(901)).await.unwrap();
    assert_eq!(retried, Retried::OfWorkflow(wid(1)));
    let kept = storage.prune(at(500), 1000, 100, at(1000)).await.unwrap();
    assert_eq!(kept.tasks, [], "it is not old enough as a whole");
    let gone = storage.prune(at(950), 1000, 100, at(1000)).await.unwrap();
    let mut tasks = gone.tasks;
    tasks.sort_unstable();
    assert_eq!(tasks, [a.task_id, b.task_id]);
    for number in [1, 2] {
        assert!(
            storage
                .workflow(&MINE, wid(number))
                .await
                .unwrap()
                .is_none()
        );
    }
    // By number too.
    insert_flow(storage, flow(3), chain(3, &["a"])).await;
    assert_eq!(
        storage.cancel(&MINE, id(300), at(2)).await.unwrap(),
        Cancelled::AtOnce
    );
    let gone = storage.prune(at(0), 0, 100, at(1000)).await.unwrap();
    assert_eq!(gone.tasks, [id(300)]);
    // With all that its tenant has; what still runs stays.
    insert_flow(storage, flow(4), chain(4, &["a"])).await;
    insert_flow(storage, flow(5), pair(5)).await;
    for task in [400, 500] {
        storage.cancel(&MINE, id(task), at(2)).await.unwrap();
    }
    let gone = storage.purge_some(&US, 100).await.unwrap();
    assert_eq!(gone.tasks, [id(400)]);
    assert!(storage.workflow(&MINE, wid(4)).await.unwrap().is_none());
    assert_eq!(node_of(storage, 5, "a").await.state, TaskState::Cancelled);
    backend
}
