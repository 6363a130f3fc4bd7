//! What belongs to one tenant is for another as if it did not exist.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::fixture::*;
use super::{Backend, Storage};
use crate::{
    Cancelled, Counts, Inserted, Labelled, Purged, Retried, Since, StorageError, TaskFilter,
};
use cofferdam_domain::attempt::{FailureKind, Outcome, Payload, Stream};
use cofferdam_domain::batch::{BatchId, NewBatch};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Next;
use cofferdam_domain::label::Label;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, Dedup, NewTask, TaskId};
use cofferdam_domain::whose::Whose;

fn them() -> Tenant {
    Tenant::parse("them").unwrap()
}

fn theirs() -> Whose {
    Whose::One(them())
}

/// A task like that of [`new_task`], of another tenant.
fn of_them(number: u128) -> NewTask {
    NewTask {
        tenant: them(),
        ..new_task(number)
    }
}

fn batch(number: u128, tenant: Tenant) -> NewBatch {
    NewBatch {
        id: BatchId(Uuid::from_u128(number)),
        tenant,
        parallelism: Some(1),
        callback: None,
        idempotency_key: Some("key".to_owned()),
        fingerprint: [1; 16],
    }
}

async fn stored(storage: &dyn Storage, task: NewTask) -> Result<Inserted, StorageError> {
    let inserted = storage.insert_tasks(vec![task], ANY_NUMBER, at(0)).await?;
    Ok(inserted[0])
}

pub(crate) async fn each_tenant_has_keys_of_its_own<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let keyed = |task: NewTask| NewTask {
        idempotency_key: Some("key".to_owned()),
        ..task
    };
    let held = |task: NewTask| NewTask {
        dedup: Some(Dedup {
            key: "key".to_owned(),
            window: Duration::from_secs(60),
        }),
        ..task
    };
    // The first time what comes together may share a statement, the second time all is known.
    for (first, is_new) in [(1, true), (11, false)] {
        let again = |number: u128, becomes: u128, task: fn(u128) -> NewTask| {
            let task = task(number);
            let fingerprint = *id(becomes).0.as_bytes();
            NewTask {
                fingerprint,
                ..task
            }
        };
        let (a, b, c, d) = tokio::join!(
            stored(storage, keyed(again(first, 1, new_task))),
            stored(storage, keyed(again(first + 1, 2, of_them))),
            stored(storage, held(again(first + 2, first + 2, new_task))),
            stored(storage, held(again(first + 3, first + 3, of_them))),
        );
        let told = [a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap()];
        match is_new {
            true => assert_eq!(told, [Inserted::New; 4]),
            false => assert_eq!(
                told,
                [
                    Inserted::Repeated(id(1)),
                    Inserted::Repeated(id(2)),
                    Inserted::Deduplicated(id(3)),
                    Inserted::Deduplicated(id(4)),
                ]
            ),
        }
    }
    let put = async |batch: NewBatch, task: NewTask| {
        let put = storage.insert_batch(batch, vec![task], ANY_NUMBER, at(0));
        put.await.unwrap()
    };
    assert!(put(batch(90, US), new_task(21)).await.is_new);
    assert!(put(batch(91, them()), of_them(22)).await.is_new);
    let (ours, others) = (
        put(batch(92, US), new_task(23)).await,
        put(batch(93, them()), of_them(24)).await,
    );
    assert_eq!((ours.id, ours.tasks), (batch(90, US).id, vec![id(21)]));
    assert_eq!((others.id, others.tasks), (batch(91, US).id, vec![id(22)]));
    backend
}

pub(crate) async fn an_id_that_another_tenant_has_is_taken<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    let is_taken = |told: &StorageError| matches!(told, StorageError::Conflict(of) if *of == id(1));
    // Even if it is the same request, and although a key of that request is free.
    let mut same = of_them(1);
    same.idempotency_key = Some("key".to_owned());
    let both = storage.insert_tasks(vec![of_them(2), same.clone()], ANY_NUMBER, at(0));
    assert!(is_taken(&both.await.unwrap_err()));
    let in_batch = storage.insert_batch(batch(9, them()), vec![same], ANY_NUMBER, at(0));
    assert!(is_taken(&in_batch.await.unwrap_err()));
    assert_eq!(storage.counts(&theirs()).await.unwrap(), Counts::default());
    assert_eq!(
        stored(storage, new_task(1)).await.unwrap(),
        Inserted::Repeated(id(1))
    );
    // Nor is the id free for its own tenant with another's request.
    let mut other = new_task(1);
    other.fingerprint = [0; 16];
    assert!(is_taken(&stored(storage, other).await.unwrap_err()));
    backend
}

/// The numbers of tasks in each state, with all that they can leave.
const PENDING: u128 = 4;
const RUNNING: u128 = 1;
const COMPLETED: u128 = 2;
const FAILED: u128 = 3;

async fn fill(storage: &dyn Storage) {
    insert_all(storage, (1..=4).map(new_task).collect()).await;
    let claims = storage.claim(ME, 3, ClaimOrder::Priority, at(1)).await;
    let [_running, completes, fails] = &claims.unwrap()[..] else {
        panic!("there are not three claims");
    };
    let large = Payload {
        content_type: "text/plain".into(),
        body: Bytes::from(vec![7; 2 << 20]),
    };
    let mut completed = end(completes, at(2), Outcome::Completed(large), Next::Complete);
    completed.streams.stdout.bytes = Bytes::from_static(b"said");
    let failed = failed(fails, at(2), FailureKind::Trap, Next::Fail);
    storage.finish(vec![completed, failed]).await.unwrap();
    let batch = storage.insert_batch(batch(90, US), vec![new_task(5)], ANY_NUMBER, at(0));
    batch.await.unwrap();
}

/// What everybody of `whose` sees of the task, as text.
async fn seen(storage: &dyn Storage, whose: &Whose, number: u128) -> String {
    let id = id(number);
    let task = storage.task(whose, id).await.unwrap();
    let spec = storage.task_spec(whose, id).await.unwrap();
    let result = storage.result(whose, id).await.unwrap();
    let result = result.map(|result| result.body.len());
    let stdout = storage.stream(whose, id, None, Stream::Stdout);
    let first = storage.stream(whose, id, Some(1), Stream::Log);
    let (stdout, first) = (stdout.await.unwrap(), first.await.unwrap());
    let attempt = storage.attempt(whose, id, None).await.unwrap();
    let attempts = storage.attempts(whose, id, 0, 9).await.unwrap();
    format!("{task:?} {spec:?} {result:?} {stdout:?} {first:?} {attempt:?} {attempts:?}")
}

pub(crate) async fn what_another_tenant_has_is_unknown<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    fill(storage).await;
    let theirs = theirs();
    let nothing = seen(storage, &theirs, 77).await;
    let mut before = Vec::new();
    for number in 1..=5 {
        assert_eq!(seen(storage, &theirs, number).await, nothing, "{number}");
        let ours = seen(storage, &MINE, number).await;
        assert_eq!(ours, seen(storage, &Whose::All, number).await);
        assert_ne!(ours, nothing);
        before.push(ours);
    }
    let ids: Vec<TaskId> = (1..=5).map(id).collect();
    for of in &ids {
        assert_eq!(
            storage.cancel(&theirs, *of, at(3)).await.unwrap(),
            Cancelled::Unknown
        );
        assert_eq!(
            storage.retry(&theirs, *of, at(3)).await.unwrap(),
            Retried::Unknown
        );
        let purged = storage.purge(&theirs, *of).await.unwrap();
        assert!(matches!(purged, Purged::Unknown));
    }
    let cancelled = storage.cancel_all(&theirs, ids.clone(), at(3)).await;
    assert_eq!(cancelled.unwrap(), [Cancelled::Unknown; 5]);
    let retried = storage.retry_all(&theirs, ids, at(3)).await.unwrap();
    assert_eq!(retried, [Retried::Unknown; 5]);
    let of = batch(90, US).id;
    assert!(storage.batch(&theirs, of).await.unwrap().is_none());
    assert!(storage.open_tasks(&theirs, of).await.unwrap().is_empty());
    assert_eq!(storage.open_tasks(&MINE, of).await.unwrap(), [id(5)]);
    for (number, before) in (1..).zip(before) {
        assert_eq!(seen(storage, &MINE, number).await, before, "{number}");
    }
    let state = async |number| task(storage, number).await.state;
    assert_eq!(state(PENDING).await, TaskState::Pending);
    assert_eq!(state(RUNNING).await, TaskState::Running);
    assert!(!task(storage, RUNNING).await.cancel_requested);
    // Who may, does all of that.
    assert!(matches!(
        storage.purge(&MINE, id(COMPLETED)).await.unwrap(),
        Purged::Removed(_)
    ));
    assert_eq!(
        storage.retry(&MINE, id(FAILED), at(3)).await.unwrap(),
        Retried::Pending
    );
    assert_eq!(
        storage.cancel(&MINE, id(PENDING), at(3)).await.unwrap(),
        Cancelled::AtOnce
    );
    backend
}

/// Filters that go along each of the indexes, and those that no index answers.
fn filters() -> Vec<TaskFilter> {
    let state = |state| TaskFilter {
        states: vec![state],
        ..TaskFilter::default()
    };
    let any = TaskFilter::default;
    vec![
        any(),
        state(TaskState::Pending),
        state(TaskState::Running),
        state(TaskState::Completed),
        state(TaskState::Failed),
        TaskFilter {
            module: Some(name("echo")),
            ..any()
        },
        TaskFilter {
            error_kinds: vec![FailureKind::Trap],
            ..any()
        },
        TaskFilter {
            labels: Some(Labelled {
                any: vec![Label::Dead],
                now: at(9),
            }),
            ..any()
        },
        TaskFilter {
            metadata: vec![("who".to_owned(), "me".to_owned())],
            ..any()
        },
        TaskFilter {
            since: Some(Since::Time(at(0))),
            ..any()
        },
        TaskFilter {
            since: Some(Since::Change(crate::ChangeNumber(0))),
            module: Some(name("echo")),
            ..any()
        },
    ]
}

/// The numbers of the tasks that a tenant's list has, all pages of it.
async fn listed(storage: &dyn Storage, tenant: &Tenant, mut filter: TaskFilter) -> Vec<u128> {
    let mut found = Vec::new();
    loop {
        let page = storage.tasks(tenant, &filter, 2).await.unwrap();
        assert!(page.tasks.iter().all(|task| task.tenant == *tenant));
        found.extend(page.tasks.iter().map(|task| task.id.0.as_u128()));
        match page.next {
            None => break,
            next => filter.after = next,
        }
    }
    if filter.since.is_none() {
        let of = TaskFilter {
            after: None,
            ..filter
        };
        let ids = storage.task_ids(tenant, &of, 99).await.unwrap().ids;
        let ids: Vec<u128> = ids.iter().map(|id| id.0.as_u128()).collect();
        assert_eq!(ids, found);
    }
    found.sort_unstable();
    found
}

pub(crate) async fn lists_and_counts_are_of_one_tenant<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    // Of each tenant the same: one that waits, one that runs, one that completed and one dead letter.
    for (tenant, first) in [(US, 1), (them(), 101)] {
        for number in first..first + 4 {
            let mut task = with_attempts(number, 2);
            if number == first + 3 {
                task.run_at = at(1000);
            }
            task.tenant = tenant.clone();
            task.spec.metadata = r#"{"who":"me"}"#.to_owned();
            insert(storage, task).await;
        }
    }
    let claims = storage.claim(ME, 6, ClaimOrder::Priority, at(1)).await;
    let last = |claim: &cofferdam_domain::claim::Claim| claim.task_id.0.as_u128() % 100;
    let ends = claims
        .unwrap()
        .into_iter()
        .filter_map(|claim| match last(&claim) {
            2 => Some(completed(&claim, at(2))),
            3 => Some(failed(
                &claim,
                at(2),
                FailureKind::Trap,
                Next::RetryAt(at(2)),
            )),
            _ => None,
        });
    storage.finish(ends.collect()).await.unwrap();
    let again = storage.claim(ME, 2, ClaimOrder::Priority, at(3)).await;
    let ends = again.unwrap().into_iter().map(|claim| {
        assert_eq!(last(&claim), 3, "{:?}", claim.task_id);
        failed(&claim, at(4), FailureKind::Trap, Next::Fail)
    });
    storage.finish(ends.collect()).await.unwrap();

    let mut most = 0;
    for filter in filters() {
        let ours = listed(storage, &US, filter.clone()).await;
        let others = listed(storage, &them(), filter.clone()).await;
        assert!(!ours.is_empty(), "{filter:?}");
        let ours_there: Vec<u128> = ours.iter().map(|number| number + 100).collect();
        assert_eq!(others, ours_there, "{filter:?}");
        let nobody = Tenant::parse("nobody").unwrap();
        assert!(listed(storage, &nobody, filter).await.is_empty());
        most = most.max(ours.len());
    }
    assert_eq!(most, 4);
    let each = Counts {
        pending: 1,
        running: 1,
        completed: 1,
        failed: 1,
        ..Counts::default()
    };
    assert_eq!(storage.counts(&MINE).await.unwrap(), each);
    assert_eq!(storage.counts(&theirs()).await.unwrap(), each);
    assert_eq!(storage.counts(&Whose::All).await.unwrap().all(), 8);
    backend
}
