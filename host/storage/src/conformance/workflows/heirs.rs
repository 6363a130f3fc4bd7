//! What ends release goes to whoever told them, unless others would have their turn.

use super::fixture::*;
use crate::conformance::fixture::*;
use crate::conformance::{Backend, Storage};
use crate::{Heir, Recorded};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, NewTask, Priority};
use cofferdam_domain::workflow::WorkflowState;

/// When everything here is claimed: what a claim has seen of who waits holds for what ends then.
const NOW: i64 = 100;

/// Claims the one node that waits for nothing, and sees who else waits.
async fn first(storage: &dyn Storage) -> Claim {
    let claims = storage.claim(ME, 1, ClaimOrder::Priority, at(NOW)).await;
    let claim = claims.unwrap().pop().unwrap();
    assert_eq!(claim.node.as_ref().unwrap().name, "a");
    claim
}

async fn ended(storage: &dyn Storage, claims: &[Claim], slots: u32) -> Recorded {
    let ends = claims.iter().map(|claim| completed(claim, at(NOW)));
    let heir = Heir {
        worker: ME,
        slots,
        now: at(NOW),
    };
    storage.record(ends.collect(), Some(heir)).await.unwrap()
}

fn names(claims: &[Claim]) -> Vec<&str> {
    let nodes = claims.iter().filter_map(|claim| claim.node.as_ref());
    nodes.map(|node| node.name.as_str()).collect()
}

pub(crate) async fn whoever_ends_a_node_has_what_it_releases<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), diamond()).await;
    let a = first(storage).await;
    let one = ended(storage, std::slice::from_ref(&a), 1).await;
    assert_eq!(names(&one.claims), ["b"]);
    assert!(one.is_more, "c is anybody's");
    assert_eq!(
        states(storage, 1).await,
        "a:completed b:running c:pending d:blocked"
    );
    let b = &one.claims[0];
    let node = b.node.as_ref().unwrap();
    assert_eq!((node.workflow, node.place, node.parents), (wid(1), 1, 1));
    assert!(node.parents_completed);
    assert_eq!(node.plan.as_deref(), Some("plan of b"));
    assert_eq!((b.attempt, b.task_id, b.claimed_at), (1, id(101), at(NOW)));
    assert_eq!(storage.held(ME).await.unwrap().len(), 1);
    let c = storage.claim(ME, 8, ClaimOrder::Priority, at(NOW)).await;
    let c = c.unwrap();
    assert_eq!(names(&c), ["c"]);
    let last = ended(storage, &[one.claims, c].concat(), 8).await;
    assert_eq!((names(&last.claims), last.is_more), (vec!["d"], false));
    let none = ended(storage, &last.claims, 8).await;
    assert!(none.claims.is_empty() && !none.is_more);
    assert_eq!(state_of(storage, 1).await, WorkflowState::Completed);
    backend
}

pub(crate) async fn nobody_has_what_is_anothers_turn<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), chain(1, &["a", "z"])).await;
    insert(
        storage,
        NewTask {
            tenant: Tenant::parse("other").unwrap(),
            ..new_task(7)
        },
    )
    .await;
    let both = storage.claim(ME, 2, ClaimOrder::Priority, at(NOW)).await;
    let a = both.unwrap().into_iter().find(|claim| claim.node.is_some());
    let left = NewTask {
        tenant: Tenant::parse("other").unwrap(),
        ..new_task(8)
    };
    insert(storage, left).await;
    // Somebody sees that both wait.
    insert_flow(storage, flow(2), chain(2, &["a"])).await;
    let seen = storage.claim(ME, 1, ClaimOrder::Priority, at(NOW)).await;
    assert_eq!(seen.unwrap().len(), 1);
    let none = ended(storage, &[a.unwrap()], 8).await;
    assert!(none.claims.is_empty() && none.is_more);
    assert_eq!(states(storage, 1).await, "a:completed z:pending");
    backend
}

pub(crate) async fn nobody_has_what_is_less_urgent<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), chain(1, &["a", "z"])).await;
    let a = first(storage).await;
    insert(storage, with_priority(7, Priority::Critical)).await;
    let none = ended(storage, &[a], 8).await;
    assert!(none.claims.is_empty() && none.is_more);
    let claims = storage.claim(ME, 2, ClaimOrder::Priority, at(NOW)).await;
    assert_eq!(claims.unwrap()[0].task_id, id(7));
    backend
}

pub(crate) async fn nobody_has_what_is_paused_or_cancelled<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_flow(storage, flow(1), chain(1, &["a", "b", "c"])).await;
    let a = first(storage).await;
    storage
        .pause_workflow(&MINE, wid(1), true, at(2))
        .await
        .unwrap();
    let none = ended(storage, &[a], 8).await;
    assert!(none.claims.is_empty() && !none.is_more);
    assert_eq!(states(storage, 1).await, "a:completed b:blocked c:blocked");
    insert_flow(storage, flow(2), chain(2, &["a", "b", "c"])).await;
    let a = first(storage).await;
    storage.cancel(&MINE, id(201), at(3)).await.unwrap();
    let none = ended(storage, &[a], 8).await;
    assert!(none.claims.is_empty());
    assert_eq!(
        states(storage, 2).await,
        "a:completed b:cancelled c:pending"
    );
    backend
}

pub(crate) async fn whoever_claims_knows_whether_all_completed<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut nodes = chain(1, &["a", "b", "c"]);
    nodes[2].parents = vec![0, 1];
    insert_flow(storage, flow(1), nodes).await;
    let a = claim_named(storage, "a").await;
    assert!(a.node.as_ref().unwrap().parents_completed);
    finish_one(storage, completed(&a, at(1))).await;
    let b = claim_named(storage, "b").await;
    assert!(b.node.as_ref().unwrap().parents_completed);
    finish_one(storage, skip(&b, at(2))).await;
    let c = claim_named(storage, "c").await;
    assert!(!c.node.as_ref().unwrap().parents_completed);
    assert_eq!(state(storage, 102).await, TaskState::Running);
    backend
}
