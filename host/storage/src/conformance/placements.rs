//! Which workers a task is for.

use std::sync::Arc;

use super::fixture::*;
use super::{Backend, Storage};
use crate::settings::ClaimRules;
use crate::{Inserted, StorageError};
use cofferdam_domain::attempt::{FailureKind, WorkerId};
use cofferdam_domain::claim::Next;
use cofferdam_domain::placement::{Placement, Preferred};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, NewTask, Priority};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::worker::{Beat, Capability, Profile, WorkerName};

/// As many different placements as there may be.
const PLACEMENTS_MAX: u128 = 1000;

fn requiring(number: u128, requires: &[&str]) -> NewTask {
    let capability = |name: &&str| Capability::parse(name).unwrap();
    let mut task = new_task(number);
    task.spec.placement = Placement::new(requires.iter().map(capability).collect(), None);
    task
}

fn preferring(number: u128, worker: &str) -> NewTask {
    let mut task = new_task(number);
    task.spec.placement = Placement::new(Vec::new(), Some(Preferred::parse(worker).unwrap()));
    task
}

/// A worker of that name that has these, besides what every one has.
fn having(worker: WorkerId, name: &str, capabilities: &[&str]) -> Beat {
    let mut profile = Profile::clone(&beat(worker).profile);
    profile.name = WorkerName::parse(name).unwrap();
    let more = capabilities
        .iter()
        .map(|name| Capability::parse(name).unwrap());
    profile.capabilities.extend(more);
    Beat {
        profile: Arc::new(profile),
        ..beat(worker)
    }
}

async fn claimed(storage: &dyn Storage, worker: WorkerId, now: Timestamp) -> Vec<u128> {
    let claims = storage.claim(worker, 9, ClaimOrder::Priority, now).await;
    let ids = claims.unwrap().into_iter();
    ids.map(|claim| claim.task_id.0.as_u128()).collect()
}

pub(crate) async fn a_task_is_for_workers_that_have_all_it_requires<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let both = requiring(1, &["gpu", "group:eu"]);
    let placement = both.spec.placement.clone();
    let mut common = requiring(3, &["cpu", "sandbox"]);
    common.spec.priority = Priority::Low;
    insert_all(storage, vec![both, requiring(2, &["gpu"]), common]).await;
    assert_eq!(task(storage, 1).await.placement, placement);
    assert_eq!(task(storage, 3).await.placement.requires().len(), 2);
    let spec = storage.task_spec(&MINE, id(1)).await.unwrap().unwrap();
    assert_eq!(spec.placement, placement);

    // A worker that told nothing has what every worker has.
    assert_eq!(claimed(storage, ME, at(1)).await, [3]);
    assert_eq!(storage.next_run_at(ME).await.unwrap(), None);
    storage
        .heartbeat(having(ME, "a", &["gpu"]), at(1))
        .await
        .unwrap();
    assert_eq!(storage.next_run_at(ME).await.unwrap(), Some(at(0)));
    assert_eq!(claimed(storage, ME, at(1)).await, [2]);
    let able = having(OTHER, "b", &["gpu", "group:eu", "tpu"]);
    storage.heartbeat(able, at(1)).await.unwrap();
    let claim = claim_one(storage, OTHER, at(1)).await;
    assert_eq!((claim.task_id, &claim.spec.placement), (id(1), &placement));
    // It is for the same workers when it runs again.
    let end = failed(&claim, at(2), FailureKind::Timeout, Next::Fail);
    finish_one(storage, end).await;
    storage.retry(&MINE, id(1), at(3)).await.unwrap();
    assert_eq!(claimed(storage, ME, at(9)).await, [0; 0]);
    assert_eq!(claimed(storage, OTHER, at(9)).await, [1]);
    backend
}

pub(crate) async fn a_preferred_worker_has_the_task_to_itself_for_a_while<B: Backend>(
    backend: B,
) -> B {
    let storage = backend.storage();
    storage
        .heartbeat(having(ME, "near", &[]), at(0))
        .await
        .unwrap();
    storage
        .heartbeat(having(OTHER, "far", &[]), at(0))
        .await
        .unwrap();
    let grace = ClaimRules::default().preferred_grace;
    let by_id = OTHER.0.to_string();
    insert_all(
        storage,
        vec![
            preferring(1, &by_id),
            preferring(2, "far"),
            preferring(3, "gone"),
        ],
    )
    .await;
    assert_eq!(claimed(storage, ME, at(0)).await, [0; 0]);
    assert_eq!(
        storage.next_run_at(ME).await.unwrap(),
        Some(at(0).plus(grace))
    );
    assert_eq!(storage.next_run_at(OTHER).await.unwrap(), Some(at(0)));
    assert_eq!(claimed(storage, OTHER, at(0)).await, [1, 2]);
    // The third prefers a worker that is not there; the fourth is its preferred worker's all the time.
    let just_before = Timestamp::from_millis(at(0).plus(grace).as_millis() - 1);
    assert_eq!(claimed(storage, ME, just_before).await, [0; 0]);
    insert(storage, preferring(4, "near")).await;
    assert_eq!(claimed(storage, ME, at(0)).await, [4]);
    assert_eq!(claimed(storage, ME, at(0).plus(grace)).await, [3]);
    backend
}

pub(crate) async fn what_nobody_serves_is_in_nobodys_way<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let unserved = |number: u128| {
        let mut task = requiring(number, &[&format!("c{number}")]);
        task.spec.priority = Priority::Critical;
        task
    };
    insert_all(storage, (1..=PLACEMENTS_MAX).map(unserved).collect()).await;
    for number in 2001..2010 {
        insert(storage, new_task(number)).await;
        assert_eq!(claimed(storage, ME, at(1)).await, [number]);
        assert_eq!(claimed(storage, ME, at(1)).await, [0; 0]);
    }
    let last = format!("c{PLACEMENTS_MAX}");
    storage
        .heartbeat(having(OTHER, "a", &[&last]), at(1))
        .await
        .unwrap();
    assert_eq!(claimed(storage, OTHER, at(1)).await, [PLACEMENTS_MAX]);

    // One more kind has no room, and stores nothing of its submission; one that is there has.
    let more = vec![new_task(3001), requiring(3002, &["one-more"])];
    let refused = storage.insert_tasks(more, ANY_NUMBER, at(1)).await;
    assert!(
        matches!(refused, Err(StorageError::TooManyPlacements(1000))),
        "{refused:?}"
    );
    assert!(storage.task(&MINE, id(3001)).await.unwrap().is_none());
    insert(storage, requiring(3003, &["c1"])).await;
    // Where the last task of a kind is gone, there is room for another.
    storage.cancel(&MINE, id(2), at(2)).await.unwrap();
    storage.purge(&MINE, id(2)).await.unwrap();
    storage.prune(at(0), 9999, 9, at(3)).await.unwrap();
    let again = storage.insert_tasks(vec![requiring(3002, &["one-more"])], ANY_NUMBER, at(3));
    assert_eq!(again.await.unwrap(), [Inserted::New]);
    assert_eq!(state(storage, 3002).await, TaskState::Pending);
    backend
}
