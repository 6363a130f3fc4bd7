//! What is removed, and what must be kept.

use super::fixture::*;
use super::{Backend, Storage};
use crate::{Inserted, Orphans, Pruned, Purged};
use cofferdam_domain::module::ModuleRef;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{BlobId, ClaimOrder, Input, NewTask};

async fn complete_all(storage: &dyn Storage, now: i64) {
    let claims = storage
        .claim(ME, 1000, ClaimOrder::Priority, at(now))
        .await
        .unwrap();
    storage
        .finish(
            claims
                .iter()
                .map(|claim| completed(claim, at(now)))
                .collect(),
        )
        .await
        .unwrap();
}

fn spooled(number: u128, blob: u128) -> NewTask {
    let mut task = new_task(number);
    task.spec.input = Input::Spooled {
        content_type: "image/png".to_owned(),
        blob: BlobId(id(blob).0),
        size_bytes: 9,
    };
    task
}

pub(crate) async fn by_age_and_by_number<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    for number in 1..=6 {
        let mut task = new_task(number);
        task.idempotency_key = Some(format!("key {number}"));
        insert(storage, task).await;
        complete_all(storage, i64::try_from(number).unwrap()).await;
    }
    let prune = async |before, keep, limit| {
        storage
            .prune(at(before), keep, limit, at(9))
            .await
            .unwrap()
            .tasks
    };
    assert_eq!(prune(3, 100, 100).await, [1, 2].map(id));
    assert_eq!(prune(0, 3, 100).await, [3].map(id));
    assert_eq!(prune(100, 0, 2).await, [4, 5].map(id));
    assert_eq!(storage.counts(&MINE).await.unwrap().completed, 1);
    assert!(storage.task(&MINE, id(5)).await.unwrap().is_none());
    assert!(
        storage
            .attempts(&MINE, id(5), 0, 99)
            .await
            .unwrap()
            .is_empty()
    );
    // The key went with its task.
    let mut again = new_task(7);
    again.idempotency_key = Some("key 1".to_owned());
    assert_eq!(
        storage
            .insert_tasks(vec![again], 9.into(), at(9))
            .await
            .unwrap(),
        [Inserted::New]
    );
    backend
}

pub(crate) async fn running_tasks_stay<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, vec![new_task(1), new_task(2)]).await;
    let held = claim_one(storage, ME, at(1)).await;
    let (pruned, finished) = tokio::join!(
        storage.prune(at(0), 100, 100, at(9)),
        storage.finish(vec![completed(&held, at(2))])
    );
    assert!(pruned.unwrap().tasks.is_empty());
    finished.unwrap();
    assert_eq!(
        storage.prune(at(100), 0, 100, at(9)).await.unwrap().tasks,
        [id(1)]
    );
    assert!(storage.task(&MINE, id(2)).await.unwrap().is_some());
    backend
}

pub(crate) async fn blobs_go_with_their_last_task<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(
        storage,
        vec![spooled(1, 50), spooled(2, 50), spooled(3, 60)],
    )
    .await;
    complete_all(storage, 1).await;
    assert_eq!(storage.prune(at(9), 9, 1, at(9)).await.unwrap().blobs, []);
    let pruned = storage.prune(at(9), 9, 9, at(9)).await.unwrap();
    assert_eq!(pruned.blobs, [BlobId(id(50).0), BlobId(id(60).0)]);
    backend
}

pub(crate) async fn modules_go_with_their_last_task<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    assert!(storage.remove_module(&US, &name("echo")).await.unwrap());
    assert!(!storage.remove_module(&US, &name("echo")).await.unwrap());
    let reference = ModuleRef {
        name: name("echo"),
        digest: None,
    };
    assert!(
        storage
            .find_module(&US, &reference)
            .await
            .unwrap()
            .is_none()
    );
    let prune = async || storage.prune(at(9), 9, 9, at(9)).await.unwrap();
    assert!(prune().await.modules.is_empty());
    assert_eq!(
        storage.module_info(&digest(1)).await.unwrap(),
        Some(module(1))
    );
    complete_all(storage, 1).await;
    let pruned = prune().await;
    assert_eq!(
        (pruned.tasks, pruned.modules),
        (vec![id(1)], vec![digest(1)])
    );
    assert_eq!(storage.module_wasm(&digest(1)).await.unwrap(), None);
    backend
}

pub(crate) async fn orphans_are_files_of_unknown_owners<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, spooled(1, 50)).await;
    let blobs = [50, 51].map(|blob| BlobId(id(blob).0));
    let orphans = storage
        .orphans(blobs.to_vec(), vec![id(1), id(2)])
        .await
        .unwrap();
    assert_eq!(
        orphans,
        Orphans {
            blobs: vec![blobs[1]],
            tasks: vec![id(2)]
        }
    );
    backend
}

pub(crate) async fn a_final_task_is_purged_with_all_it_left<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut task = spooled(1, 50);
    task.idempotency_key = Some("key".to_owned());
    let again = task.clone();
    insert_all(storage, vec![task, spooled(2, 50), new_task(3)]).await;
    let purge = async |number| storage.purge(&MINE, id(number)).await.unwrap();
    assert!(matches!(
        purge(1).await,
        Purged::NotFinal(TaskState::Pending)
    ));
    let claim = claim_one(storage, ME, at(1)).await;
    assert!(matches!(
        purge(1).await,
        Purged::NotFinal(TaskState::Running)
    ));
    finish_one(storage, completed(&claim, at(2))).await;
    assert!(matches!(
        purge(1).await,
        // The other task has the same input.
        Purged::Removed(Pruned { tasks, blobs, .. }) if tasks == [id(1)] && blobs.is_empty()
    ));
    assert!(matches!(purge(1).await, Purged::Unknown));
    assert!(storage.task(&MINE, id(1)).await.unwrap().is_none());
    assert!(storage.result(&MINE, id(1)).await.unwrap().is_none());
    storage.cancel(&MINE, id(2), at(3)).await.unwrap();
    assert!(matches!(
        purge(2).await,
        Purged::Removed(Pruned { blobs, .. }) if blobs == [BlobId(id(50).0)]
    ));
    insert(storage, again).await;
    backend
}
