//! Whatever happens to random graphs, no node is claimed before those before it are final, none stays blocked, and
//! a workflow is final exactly when all its nodes are.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::fixture::*;
use crate::conformance::fixture::*;
use crate::conformance::{Backend, Storage};
use crate::{Before, Heir, HeldNode, NewNode, Park, WorkflowNodes};
use cofferdam_domain::attempt::{FailureKind, WorkerId};
use cofferdam_domain::claim::{AttemptEnd, Claim, Next};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::ClaimOrder;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::OnFailure;

/// Workflows of one history, and hosts that run their nodes.
const FLOWS: u128 = 6;
const HOSTS: u128 = 3;

/// A random graph in which each node waits for some of those before it.
fn graph(random: &mut StdRng, number: u128) -> Vec<NewNode> {
    let count = random.random_range(1..15);
    let node = |place: u32| {
        let before = 0..place;
        let parents: Vec<u32> = before.filter(|_| random.random_bool(0.3)).collect();
        let mut node = node(
            number * 1000 + u128::from(place),
            &format!("n{place}"),
            &parents,
        );
        node.task.spec.retry.max_attempts = 2;
        node.task.spec.retry.max_lost = 1;
        node
    };
    (0..count).map(node).collect()
}

pub(crate) async fn no_node_is_ever_left_behind<B: Backend>(backend: B) -> B {
    let mut backend = backend;
    for seed in 0..4 {
        backend = B::fresh().await;
        history(backend.storage(), seed).await;
    }
    backend
}

async fn history(storage: &dyn Storage, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    for number in 1..=FLOWS {
        let mut workflow = flow(number);
        workflow.cancel_running = random.random_bool(0.3);
        if random.random_bool(0.5) {
            workflow.on_failure = OnFailure::Continue;
        }
        insert_flow(storage, workflow, graph(&mut random, number)).await;
    }
    let hosts = (1..=HOSTS).map(|number| host(storage, number, seed));
    futures_util::future::join_all(hosts).await;
    // What the hosts have lost is found, and everything comes to its end.
    for number in 1..=FLOWS {
        storage
            .pause_workflow(&MINE, wid(number), false, at(500))
            .await
            .unwrap();
    }
    let last = WorkerId(uuid::Uuid::from_u128(99));
    loop {
        storage
            .rescue(last, at(100_000), 100, at(100_000))
            .await
            .unwrap();
        let claims = storage
            .claim(last, 50, ClaimOrder::Fifo, at(100_000))
            .await
            .unwrap();
        if claims.is_empty() {
            break;
        }
        for claim in claims {
            check_before(storage, &claim).await;
            finish_one(storage, completed(&claim, at(100_000))).await;
        }
    }
    let repairs = storage
        .repair_workflows(at(200_000), 100, at(200_000))
        .await;
    assert_eq!(repairs.unwrap(), 0, "seed {seed}");
    for number in 1..=FLOWS {
        let found = storage.workflow(&MINE, wid(number)).await.unwrap().unwrap();
        assert!(
            found.nodes.iter().all(|node| node.state.is_final()),
            "seed {seed}: {found:?}"
        );
        assert!(
            found.workflow.state.is_final(),
            "seed {seed}: {:?}",
            found.workflow
        );
        check_counts(&found);
    }
}

/// One that runs nodes, cancels, pauses and loses claims.
async fn host(storage: &dyn Storage, number: u128, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed * 100 + u64::try_from(number).unwrap());
    let worker = WorkerId(uuid::Uuid::from_u128(number));
    let mut claims: Vec<Claim> = Vec::new();
    for step in 0..60 {
        let now = at(step);
        let flow = wid(random.random_range(1..=FLOWS));
        match random.random_range(0..20) {
            0..8 => {
                let slots = random.random_range(1..5);
                let claimed = storage
                    .claim(worker, slots, ClaimOrder::Fifo, at(1000))
                    .await;
                let claimed = claimed.unwrap();
                for claim in &claimed {
                    check_before(storage, claim).await;
                }
                claims.extend(claimed);
            }
            8..15 => {
                let ended = claims
                    .drain(..)
                    .map(|claim| any_end(&mut random, &claim, now));
                let ends: Vec<_> = ended.collect();
                let heir = random.random_bool(0.5).then(|| Heir {
                    worker,
                    slots: random.random_range(1..4),
                    now: at(1000),
                });
                let recorded = storage.record(ends, heir).await.unwrap();
                for claim in &recorded.claims {
                    check_before(storage, claim).await;
                }
                claims.extend(recorded.claims);
            }
            15 => claims.clear(),
            16 => {
                let task = id(random.random_range(1..=FLOWS) * 1000 + random.random_range(0..15));
                storage.cancel(&MINE, task, now).await.unwrap();
            }
            17 if step > 40 => {
                storage.cancel_workflow(&MINE, flow, now).await.unwrap();
            }
            18 => {
                let paused = random.random_bool(0.4);
                storage
                    .pause_workflow(&MINE, flow, paused, now)
                    .await
                    .unwrap();
            }
            _ => {
                if let Some(claim) = claims.pop() {
                    expand(
                        storage,
                        &claim,
                        number * 1000 + u128::try_from(step).unwrap(),
                    )
                    .await;
                }
            }
        }
    }
}

/// One of the ways in which an attempt may end.
fn any_end(random: &mut StdRng, claim: &Claim, now: Timestamp) -> AttemptEnd {
    let failed = |kind, next| failed(claim, now, kind, next);
    match random.random_range(0..10) {
        0..5 => completed(claim, now),
        5 => failed(FailureKind::Trap, Next::Fail),
        6 => failed(FailureKind::Trap, Next::RetryAt(now)),
        7 => failed(FailureKind::Lost, Next::RetryAt(now)),
        8 => failed(FailureKind::Lost, Next::GiveBack),
        _ => skip(claim, now),
    }
}

/// Makes instances of a node.
async fn expand(storage: &dyn Storage, claim: &Claim, number: u128) {
    let name = &claim.node.as_ref().unwrap().name;
    let each = (0..3).map(|it| node((number << 32) + it, &format!("{name}[{it}]"), &[]));
    let park = Park::Instances {
        nodes: each.collect(),
        at_once: Some(2),
    };
    let held = HeldNode::of(claim).unwrap();
    storage.park(held, park, ANY_NUMBER, at(50)).await.unwrap();
}

async fn check_before(storage: &dyn Storage, claim: &Claim) {
    let ends = storage.ends_before(&US, claim.task_id, Before::Parents, 0);
    let all_completed = ends
        .await
        .unwrap()
        .iter()
        .all(|end| end.state == TaskState::Completed);
    let node = claim.node.as_ref().unwrap();
    assert!(!node.parents_completed || all_completed, "{node:?}");
    for before in [Before::Parents, Before::Instances] {
        let ends = storage
            .ends_before(&US, claim.task_id, before, 0)
            .await
            .unwrap();
        for end in ends {
            assert!(end.state.is_final(), "{} before {:?}", end.name, claim.node);
        }
    }
}

fn check_counts(found: &WorkflowNodes) {
    let mut states: BTreeMap<&str, u32> = BTreeMap::new();
    for node in &found.nodes {
        *states.entry(node.state.as_str()).or_default() += 1;
    }
    let of = |state: TaskState| states.get(state.as_str()).copied().unwrap_or(0);
    let counts = found.workflow.counts;
    assert_eq!(counts.completed, of(TaskState::Completed));
    assert_eq!(counts.failed, of(TaskState::Failed));
    assert_eq!(counts.cancelled + counts.skipped, of(TaskState::Cancelled));
    assert_eq!((counts.nodes as usize, counts.open), (found.nodes.len(), 0));
}
