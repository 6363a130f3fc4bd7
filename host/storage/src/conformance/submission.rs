//! A submission is kept unchanged, and once.

use std::time::Duration;

use super::fixture::*;
use super::{Backend, Storage};
use crate::{Inserted, StorageError, TaskFilter};
use cofferdam_domain::grants::http::{HttpGrant, SecretHeader};
use cofferdam_domain::grants::{Access, DirGrant};
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::secret::SecretName;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{BlobId, Dedup, Input, NewTask, Priority};

pub(crate) async fn what_was_submitted_is_read_back<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut rich = new_task(1);
    rich.spec.args = vec!["--fast".to_owned(), String::new()];
    rich.spec.env = vec![("LANG".to_owned(), "C".to_owned())];
    rich.spec.limits.fuel = Some(u64::MAX);
    rich.spec.limits.timeout = Duration::from_millis(1);
    rich.spec.retry.factor = 1.1;
    rich.spec.priority = Priority::Low;
    rich.spec.isolation = Some(Isolation::Process);
    rich.spec.cache_ttl = Some(Duration::from_millis(1_500));
    rich.spec.metadata = r#"{"who":"me"}"#.to_owned();
    let dir = |access| DirGrant {
        name: "data".to_owned(),
        at: "/data".to_owned(),
        access,
    };
    rich.spec.grants.dirs = vec![dir(Some(Access::Write)), dir(None)];
    let methods = ["GET".to_owned()];
    rich.spec.grants.http = vec![
        HttpGrant::new("api.example", &methods).unwrap(),
        HttpGrant::new("*.example:8443", &[])
            .and_then(|grant| {
                let token = SecretName::parse("token").unwrap();
                let header = SecretHeader::new("Authorization", token, "Bearer ")?;
                grant.with_headers(vec![header])
            })
            .unwrap(),
    ];
    let mut spooled = new_task(2);
    spooled.spec.input = Input::Spooled {
        content_type: "image/png".to_owned(),
        blob: BlobId(id(77).0),
        size_bytes: 1 << 40,
    };
    insert_all(storage, vec![rich.clone(), spooled.clone()]).await;
    assert_eq!(
        storage.task_spec(&MINE, id(1)).await.unwrap(),
        Some(rich.spec.clone())
    );
    assert_eq!(
        storage.task_spec(&MINE, id(2)).await.unwrap(),
        Some(spooled.spec)
    );
    assert_eq!(storage.task_spec(&MINE, id(3)).await.unwrap(), None);
    assert_eq!(task(storage, 2).await.isolation, None);
    let task = task(storage, 1).await;
    assert_eq!(task.isolation, Some(Isolation::Process));
    assert_eq!(
        (task.state, task.attempt, task.max_attempts),
        (TaskState::Pending, 0, 1)
    );
    assert_eq!(
        (task.metadata, task.priority),
        (rich.spec.metadata, Priority::Low)
    );
    assert_eq!(
        (task.created_at, task.run_at, task.updated_at),
        (at(0), at(0), at(0))
    );
    assert!(storage.task(&MINE, id(3)).await.unwrap().is_none());
    backend
}

pub(crate) async fn a_key_or_id_names_its_first_request<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut first = new_task(1);
    first.idempotency_key = Some("k".to_owned());
    let mut again = first.clone();
    again.id = id(2);
    let mut other = again.clone();
    other.fingerprint = [9; 16];
    let same_id = first.clone();
    let mut other_body = new_task(1);
    other_body.fingerprint = [9; 16];
    let batch = vec![first, again, same_id];
    let inserted = storage
        .insert_tasks(batch.clone(), ANY_NUMBER, at(0))
        .await
        .unwrap();
    let repeated = Inserted::Repeated(id(1));
    assert_eq!(inserted, [Inserted::New, repeated, repeated]);
    let later = storage
        .insert_tasks(batch, ANY_NUMBER, at(1))
        .await
        .unwrap();
    assert_eq!(later, [repeated; 3]);
    for different in [other, other_body] {
        assert_conflict(storage, vec![different], 1).await;
    }
    assert_eq!(storage.counts(&MINE).await.unwrap().pending, 1);
    backend
}

pub(crate) async fn a_dedup_key_is_held_for_its_window<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let with_key = |number, window| {
        let mut task = new_task(number);
        task.dedup = Some(Dedup {
            key: "d".to_owned(),
            window: Duration::from_secs(window),
        });
        vec![task]
    };
    let insert = async |tasks, now| {
        storage
            .insert_tasks(tasks, ANY_NUMBER, at(now))
            .await
            .unwrap()[0]
    };
    assert_eq!(insert(with_key(1, 60), 0).await, Inserted::New);
    assert_eq!(
        insert(with_key(2, 60), 59).await,
        Inserted::Deduplicated(id(1))
    );
    assert_eq!(insert(with_key(1, 60), 59).await, Inserted::Repeated(id(1)));
    assert_eq!(insert(with_key(3, 60), 60).await, Inserted::New);
    assert_eq!(
        insert(with_key(4, 60), 61).await,
        Inserted::Deduplicated(id(3))
    );
    backend
}

pub(crate) async fn a_batch_is_all_or_none<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let batch: Vec<_> = (1..=5).map(new_task).collect();
    let refused = storage
        .insert_tasks(batch.clone(), 4.into(), at(0))
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            StorageError::QueueFull {
                pending: 0,
                limit: 4
            }
        ),
        "{refused}"
    );
    assert_eq!(storage.counts(&MINE).await.unwrap().pending, 0);
    assert!(storage.task(&MINE, id(1)).await.unwrap().is_none());
    let inserted = storage.insert_tasks(batch, 5.into(), at(0)).await.unwrap();
    assert_eq!(inserted, [Inserted::New; 5]);
    backend
}

pub(crate) async fn a_conflict_stores_nothing_of_its_submission<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    let mut different = new_task(1);
    different.fingerprint = [9; 16];
    let conflicting = vec![new_task(2), different.clone(), new_task(3)];
    assert_conflict(storage, conflicting.clone(), 1).await;
    // The earlier request may be part of the same submission, and then is not kept either.
    let mut twice = new_task(4);
    twice.fingerprint = [9; 16];
    assert_conflict(storage, vec![new_task(4), twice], 4).await;
    assert!(storage.task(&MINE, id(4)).await.unwrap().is_none());
    assert_eq!(storage.counts(&MINE).await.unwrap().pending, 1);

    // Submissions that share a commit do not share a fate.
    let (before, refused, after) = futures_util::join!(
        storage.insert_tasks(vec![new_task(5), new_task(6)], ANY_NUMBER, at(1)),
        storage.insert_tasks(conflicting, ANY_NUMBER, at(1)),
        storage.insert_tasks(vec![new_task(7)], ANY_NUMBER, at(1)),
    );
    assert_eq!(before.unwrap(), [Inserted::New; 2]);
    assert!(matches!(refused, Err(StorageError::Conflict(earlier)) if earlier == id(1)));
    assert_eq!(after.unwrap(), [Inserted::New]);
    assert_eq!(storage.counts(&MINE).await.unwrap().pending, 4);
    let listed = storage
        .tasks(&US, &TaskFilter::default(), 10)
        .await
        .unwrap()
        .tasks
        .len();
    assert_eq!(listed, 4);
    backend
}

async fn assert_conflict(storage: &dyn Storage, tasks: Vec<NewTask>, earlier: u128) {
    let refused = storage.insert_tasks(tasks, ANY_NUMBER, at(1)).await;
    assert!(
        matches!(refused, Err(StorageError::Conflict(found)) if found == id(earlier)),
        "{refused:?}"
    );
}

pub(crate) async fn a_full_queue_answers_what_it_has<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, (1..=3).map(new_task).collect()).await;
    let again = storage
        .insert_tasks(vec![new_task(2)], 3.into(), at(1))
        .await
        .unwrap();
    assert_eq!(again, [Inserted::Repeated(id(2))]);
    assert!(
        storage
            .insert_tasks(vec![new_task(2), new_task(4)], 3.into(), at(1))
            .await
            .is_err()
    );
    // A running task does not wait.
    claim_one(storage, ME, at(1)).await;
    let inserted = storage
        .insert_tasks(vec![new_task(2), new_task(4)], 3.into(), at(1))
        .await
        .unwrap();
    assert_eq!(inserted, [Inserted::Repeated(id(2)), Inserted::New]);
    backend
}

/// Many submissions at once: those for which there is room are stored, and no other.
pub(crate) async fn no_more_tasks_wait_than_may<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, (1..=2).map(new_task).collect()).await;
    let three = |n: u128| (0..3).map(|place| new_task(10 + 3 * n + place)).collect();
    let submit = |n| storage.insert_tasks(three(n), 50.into(), at(1));
    let answers = futures_util::future::join_all((0..40).map(submit)).await;
    let (stored, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((stored.len(), refused.len()), (16, 24));
    for refusal in refused {
        let full = |pending, limit| limit == 50 && (48..=50).contains(&pending);
        assert!(matches!(
            refusal,
            Err(StorageError::QueueFull { pending, limit }) if full(pending, limit)
        ));
    }
    assert_eq!(storage.counts(&MINE).await.unwrap().pending, 50);
    // What is claimed makes room.
    claim_one(storage, ME, at(1)).await;
    let one = storage
        .insert_tasks(vec![new_task(900)], 50.into(), at(2))
        .await;
    assert_eq!(one.unwrap(), [Inserted::New]);
    let more = storage
        .insert_tasks(vec![new_task(901)], 50.into(), at(2))
        .await;
    assert!(matches!(more, Err(StorageError::QueueFull { .. })));
    backend
}

pub(crate) async fn a_version_that_is_gone_takes_no_task<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut other = new_task(2);
    other.spec.digest = digest(2);
    let refused =
        |refused| matches!(refused, Err(StorageError::ModuleGone(gone)) if gone == digest(2));
    let insert_both = async |tasks| storage.insert_tasks(tasks, 9.into(), at(1)).await;
    assert!(refused(insert_both(vec![new_task(1), other.clone()]).await));
    assert!(storage.task(&MINE, id(1)).await.unwrap().is_none());
    assert!(refused(insert_both(vec![other]).await));

    insert(storage, new_task(1)).await;
    storage.cancel(&MINE, id(1), at(2)).await.unwrap();
    assert!(storage.remove_module(&US, &name("echo")).await.unwrap());
    // Its bytes are kept as long as the first task, and serve others as well.
    insert(storage, new_task(3)).await;
    storage.cancel(&MINE, id(3), at(2)).await.unwrap();
    let pruned = storage.prune(at(9), 9, 9, at(9)).await.unwrap();
    assert_eq!(pruned.modules, [digest(1)]);
    let late = storage
        .insert_tasks(vec![new_task(4)], 9.into(), at(9))
        .await;
    assert!(matches!(late, Err(StorageError::ModuleGone(_))), "{late:?}");
    backend
}
