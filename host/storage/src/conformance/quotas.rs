//! The quotas of a tenant: what would go beyond one is refused, and what is there already is kept.

use uuid::Uuid;

use super::Backend;
use super::fixture::*;
use crate::{Bounds, Inserted, PutModule, StorageError};
use cofferdam_domain::attempt::{Artifact, FailureKind, Payload};
use cofferdam_domain::batch::{BatchId, NewBatch};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::quota::{OverQuota, QuotaName, TaskQuotas};
use cofferdam_domain::claim::Next;
use cofferdam_domain::task::{BlobId, ClaimOrder, Input, NewTask, TaskId};

/// So many tasks of the tenant may wait.
pub(crate) fn waiting_max(pending_max: u64) -> Bounds {
    Bounds {
        tenant: TaskQuotas {
            pending_max: Some(pending_max),
            storage_bytes: None,
        },
        ..ANY_NUMBER
    }
}

fn over(limit: u64, used: u64) -> OverQuota {
    OverQuota::of(QuotaName::Pending, limit, used)
}

#[track_caller]
fn assert_over(answer: Result<Vec<Inserted>, StorageError>, limit: u64, used: u64) {
    assert!(
        matches!(answer, Err(StorageError::OverQuota(told)) if told == over(limit, used)),
        "{answer:?}"
    );
}

fn of(tenant: &str, number: u128) -> NewTask {
    NewTask {
        tenant: Tenant::parse(tenant).unwrap(),
        ..new_task(number)
    }
}

pub(crate) async fn a_tenant_has_no_more_waiting_than_it_may<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let three = waiting_max(3);
    let two = vec![new_task(1), new_task(2)];
    storage
        .insert_tasks(two.clone(), three, at(0))
        .await
        .unwrap();
    // All or none, and what was stored before is answered even then.
    let more = vec![new_task(2), new_task(3), new_task(4)];
    assert_over(storage.insert_tasks(more, three, at(0)).await, 3, 2);
    let again = storage.insert_tasks(two, waiting_max(1), at(0)).await;
    assert_eq!(
        again.unwrap(),
        [1, 2].map(|number| Inserted::Repeated(id(number)))
    );
    let batch = |tasks| {
        let batch = NewBatch {
            id: BatchId(Uuid::from_u128(90)),
            tenant: US,
            parallelism: Some(1),
            callback: None,
            idempotency_key: None,
            fingerprint: [1; 16],
        };
        storage.insert_batch(batch, tasks, three, at(0))
    };
    let refused = batch(vec![new_task(3), new_task(4)]).await;
    assert!(matches!(refused, Err(StorageError::OverQuota(told)) if told == over(3, 2)));
    assert_eq!(storage.counts(&MINE).await.unwrap().pending, 2);
    batch(vec![new_task(3)]).await.unwrap();
    let one_more = |number| storage.insert_tasks(vec![new_task(number)], three, at(0));
    assert_over(one_more(4).await, 3, 3);
    // Another tenant has places of its own, and those of one without a quota are not bounded.
    let theirs = storage
        .insert_tasks(vec![of("them", 10)], three, at(0))
        .await;
    assert_eq!(theirs.unwrap(), [Inserted::New]);
    assert_over(one_more(4).await, 3, 3);
    insert(storage, new_task(5)).await;
    assert_over(one_more(4).await, 3, 4);
    backend
}

pub(crate) async fn what_runs_or_ended_takes_no_place<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let one = waiting_max(1);
    let submit = |task| storage.insert_tasks(vec![task], one, at(0));
    submit(with_attempts(1, 2)).await.unwrap();
    assert_over(submit(new_task(2)).await, 1, 1);
    let claim = claim_one(storage, ME, at(1)).await;
    submit(new_task(2)).await.unwrap();
    // What is tried again needs no place: it has been let in.
    let again = failed(&claim, at(2), FailureKind::Trap, Next::RetryAt(at(3)));
    finish_one(storage, again).await;
    assert_eq!(storage.counts(&MINE).await.unwrap().pending, 2);
    assert_over(submit(new_task(3)).await, 1, 2);
    storage.cancel(&MINE, id(1), at(3)).await.unwrap();
    assert_over(submit(new_task(3)).await, 1, 1);
    storage.cancel(&MINE, id(2), at(3)).await.unwrap();
    submit(new_task(3)).await.unwrap();
    storage.retry(&MINE, id(2), at(4)).await.unwrap();
    assert_eq!(storage.counts(&MINE).await.unwrap().pending, 2);
    assert_over(submit(new_task(4)).await, 1, 2);
    backend
}

/// Many submissions at once, one below the quota: one is stored.
pub(crate) async fn one_of_many_gets_the_last_place<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let five = waiting_max(5);
    insert_all(storage, (1..=4).map(new_task).collect()).await;
    let submits = (0..100).map(|n| storage.insert_tasks(vec![new_task(10 + n)], five, at(1)));
    let answers = futures_util::future::join_all(submits).await;
    let (stored, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((stored.len(), refused.len()), (1, 99));
    for refusal in refused {
        assert_over(refusal, 5, 5);
    }
    let waiting: Vec<TaskId> = claim_ids(storage, 99, ClaimOrder::Fifo).await;
    assert_eq!(waiting.len(), 5);
    backend
}

/// So many bytes of the tenant may be kept.
fn kept_max(storage_bytes: u64) -> Bounds {
    Bounds {
        tenant: TaskQuotas {
            pending_max: None,
            storage_bytes: Some(storage_bytes),
        },
        ..ANY_NUMBER
    }
}

fn of_bytes(number: u128, bytes: usize) -> NewTask {
    let mut task = new_task(number);
    task.spec.input = Input::Inline(Payload {
        content_type: "application/octet-stream".into(),
        body: vec![7; bytes].into(),
    });
    task
}

pub(crate) async fn a_tenants_bytes_are_counted_and_bounded<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let kept = async || storage.holdings(&US).await.unwrap().kept_bytes;
    // The module that every database of these tests has.
    assert_eq!(kept().await, 4);
    let hundred = kept_max(100);
    let submit = |task| storage.insert_tasks(vec![task], hundred, at(0));
    submit(of_bytes(1, 50)).await.unwrap();
    let spooled = Input::Spooled {
        content_type: "text/plain".to_owned(),
        blob: BlobId(Uuid::from_u128(7)),
        size_bytes: 40,
    };
    let mut large = new_task(2);
    large.spec.input = spooled;
    submit(large).await.unwrap();
    assert_eq!(kept().await, 94);
    let refused = submit(of_bytes(3, 7)).await;
    let over = |used| OverQuota::of(QuotaName::Storage, 100, used);
    assert!(
        matches!(refused, Err(StorageError::OverQuota(told)) if told == over(94)),
        "{refused:?}"
    );
    submit(of_bytes(3, 6)).await.unwrap();
    // Arguments and metadata count too, and a task of no bytes needs no room.
    let mut said = of_bytes(4, 0);
    said.spec.args = vec!["a".to_owned()];
    assert!(submit(said).await.is_err());
    submit(of_bytes(4, 0)).await.unwrap();
    // What an attempt leaves is counted when it ends, and never refused here.
    let claim = claim_one(storage, ME, at(1)).await;
    let mut end = completed(&claim, at(2));
    end.artifacts = vec![Artifact {
        path: "a".to_owned(),
        size_bytes: 1000,
    }];
    finish_one(storage, end).await;
    let listed = r#"[{"path":"a","size_bytes":1000}]"#.len() as u64;
    assert_eq!(kept().await, 100 + 1000 + 2 + listed);
    let claim = claim_one(storage, ME, at(2)).await;
    let again = failed(&claim, at(3), FailureKind::Trap, Next::Fail);
    finish_one(storage, again).await;
    let before = kept().await;
    assert!(before > 1102 + listed, "{before}");
    // Whatever goes gives its room back.
    storage.purge(&MINE, claim.task_id).await.unwrap();
    storage.prune(at(9), 99, 99, at(9)).await.unwrap();
    for number in [3, 4] {
        storage.cancel(&MINE, id(number), at(9)).await.unwrap();
    }
    storage.prune(at(10), 99, 99, at(10)).await.unwrap();
    assert_eq!(kept().await, 4);
    backend
}

pub(crate) async fn a_tenants_modules_are_counted_and_bounded<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let kept = async || storage.holdings(&US).await.unwrap().kept_bytes;
    let put = async |text: &str, byte, limit| {
        let info = module(byte);
        let wasm = vec![byte; 4].into();
        storage
            .put_module(&US, &name(text), &info, wasm, limit, at(0))
            .await
    };
    put("other", 2, Some(8)).await.unwrap();
    let refused = put("third", 3, Some(11)).await;
    assert!(
        matches!(refused, Err(StorageError::OverQuota(told)) if told.used == 8 && told.limit == 11),
        "{refused:?}"
    );
    // What is there already needs no room; under another name it does.
    assert_eq!(
        put("other", 2, Some(0)).await.unwrap(),
        PutModule::Unchanged
    );
    assert!(put("another", 2, Some(11)).await.is_err());
    put("other", 3, Some(12)).await.unwrap();
    put("other", 2, Some(12)).await.unwrap();
    assert_eq!(kept().await, 12);
    storage.remove_module(&US, &name("other")).await.unwrap();
    assert_eq!(kept().await, 4);
    backend
}

pub(crate) async fn cpu_time_is_counted_by_tenant_and_day<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let (us, them) = (US, Tenant::parse("them").unwrap());
    let use_cpu = async |day, used: &[(&Tenant, u64)]| {
        let used = used
            .iter()
            .map(|(tenant, micros)| ((*tenant).clone(), *micros));
        let mut totals = storage.use_cpu(day, used.collect()).await.unwrap();
        totals.sort();
        totals
    };
    assert_eq!(use_cpu(7, &[(&us, 5)]).await, [(us.clone(), 5)]);
    let both = [(us.clone(), 5), (them.clone(), 3)];
    assert_eq!(use_cpu(7, &[(&them, 3)]).await, both);
    assert_eq!(use_cpu(7, &[]).await, both);
    assert_eq!(use_cpu(8, &[(&us, 1)]).await, [(us.clone(), 1)]);
    // The day before is still told of; what is older is forgotten.
    assert_eq!(use_cpu(7, &[]).await, both);
    use_cpu(9, &[(&us, 1)]).await;
    assert_eq!(use_cpu(7, &[]).await, []);
    backend
}

pub(crate) async fn who_is_held_back_waits_and_nobody_else<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let claim = async || {
        let claims = storage.claim(ME, 9, ClaimOrder::Fifo, at(1)).await.unwrap();
        claims.iter().map(|claim| claim.task_id).collect::<Vec<_>>()
    };
    insert(storage, new_task(1)).await;
    assert_eq!(claim().await, [id(1)]);
    assert!(storage.hold_back([US].into()));
    assert!(!storage.hold_back([US].into()));
    insert(storage, new_task(2)).await;
    assert_eq!(claim().await, []);
    assert_eq!(storage.next_run_at(ME).await.unwrap(), None);
    insert(storage, of("them", 3)).await;
    assert_eq!(claim().await, [id(3)]);
    assert!(storage.hold_back(Default::default()));
    assert_eq!(storage.next_run_at(ME).await.unwrap(), Some(at(0)));
    assert_eq!(claim().await, [id(2)]);
    backend
}
