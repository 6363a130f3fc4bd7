//! Submissions that are accepted, refused, or recognised as repetitions.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::stage::{START, Stage, one_slot, plain};
use crate::queue::settings::QueueConfig;
use crate::queue::{QueueError, Submission, Submitted};
use crate::registry::RegistryError;
use crate::registry::schema::Misfit;
use crate::runner::RunError;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::caller::{Caller, Forbidden, Origin, Scope, Tenant};
use cofferdam_domain::limits::LimitRequest;
use cofferdam_domain::module::ModuleRef;
use cofferdam_domain::task::{Input, TaskId};
use cofferdam_domain::whose::Whose;
use cofferdam_storage::StorageError;

#[tokio::test]
async fn a_repeated_submission_is_answered_with_the_first_task() {
    let stage = Stage::set(one_slot()).await;
    let keyed = Submission {
        idempotency_key: Some("k".to_owned()),
        ..plain()
    };
    let first = stage.submit(keyed.clone()).await;
    let again = stage.offer(vec![keyed.clone()]).await.unwrap();
    assert_eq!(again, [Submitted::Existing(first)]);
    let other = Submission {
        fingerprint: [1; 16],
        ..keyed
    };
    let refused = stage.offer(vec![other]).await.unwrap_err();
    assert!(
        matches!(refused, QueueError::Storage(StorageError::Conflict(id)) if id == first),
        "{refused}"
    );

    let named = Submission {
        task_id: Some(TaskId(Uuid::from_u128(5))),
        ..plain()
    };
    let id = stage.submit(named.clone()).await;
    let again = stage.offer(vec![named]).await.unwrap();
    assert_eq!(again, [Submitted::Existing(id)]);
    stage.end().await;
}

#[tokio::test]
async fn a_dedup_key_is_held_for_its_window() {
    let config = QueueConfig {
        dedup_window: Duration::from_secs(60),
        ..one_slot()
    };
    let stage = Stage::set(config).await;
    let keyed = Submission {
        dedup_key: Some("d".to_owned()),
        ..plain()
    };
    let first = stage.submit(keyed.clone()).await;
    let again = stage.offer(vec![keyed.clone()]).await.unwrap();
    assert_eq!(again, [Submitted::Existing(first)]);
    stage.clock.set(START.plus(Duration::from_secs(61)));
    assert_ne!(stage.submit(keyed).await, first);
    stage.end().await;
}

#[tokio::test]
async fn a_task_that_cannot_run_is_refused_and_nothing_of_its_batch_is_stored() {
    let stage = Stage::set(one_slot()).await;
    let refused = async |task: Submission| stage.offer(vec![plain(), task]).await.unwrap_err();
    let unknown = Submission {
        module: ModuleRef::parse("nope").unwrap(),
        ..plain()
    };
    let error = refused(unknown).await;
    assert!(matches!(
        error,
        QueueError::Run(RunError::Module(RegistryError::Unknown(_)))
    ));
    let greedy = LimitRequest {
        memory_bytes: Some(u64::MAX),
        ..LimitRequest::default()
    };
    let error = refused(Submission {
        limits: greedy,
        ..plain()
    })
    .await;
    assert!(matches!(error, QueueError::Run(RunError::Limit(_))));
    let body = Bytes::from_static(br#"{"n": "three"}"#);
    let input = Input::Inline(Payload {
        content_type: "application/json".into(),
        body,
    });
    let error = refused(Submission { input, ..plain() }).await;
    assert!(
        matches!(&error, QueueError::Run(RunError::Schema(Misfit::Unfit(why))) if why.contains("/n")),
        "{error}"
    );
    assert_eq!(stage.reads.counts(&Whose::All).await.unwrap().pending, 0);
    stage.end().await;
}

#[tokio::test]
async fn a_caller_without_the_right_to_run_changes_nothing() {
    let stage = Stage::set_automatic(one_slot()).await;
    let id = stage.submit(plain()).await;
    stage.finished(id).await;
    let scopes = [Scope::Read, Scope::Modules].into_iter().collect();
    let reader = Caller::new(Tenant::default(), scopes, Origin::Here);
    let queue = &stage.queue;
    let refused = [
        queue.submit(&reader, vec![plain()]).await.err(),
        queue.cancel(&reader, id).await.err(),
        queue.retry(&reader, id).await.err(),
        queue.purge(&reader, id).await.err(),
    ];
    for error in refused {
        assert!(
            matches!(error, Some(QueueError::Forbidden(Forbidden(Scope::Run)))),
            "{error:?}"
        );
    }
    let counts = stage.reads.counts(&Whose::All).await.unwrap();
    assert_eq!((counts.completed, counts.pending), (1, 0));
    stage.end().await;
}

#[tokio::test]
async fn a_full_queue_and_a_draining_host_take_nothing() {
    let mut stage = Stage::set(QueueConfig {
        pending_max: 2,
        ..one_slot()
    })
    .await;
    let _running = stage.submit(plain()).await;
    let guest = stage.guest().await;
    let delayed = Submission {
        delay: Duration::from_secs(1000),
        ..plain()
    };
    stage.offer(vec![delayed; 2]).await.unwrap();
    let full = stage.offer(vec![plain()]).await.unwrap_err();
    assert!(
        matches!(
            full,
            QueueError::Storage(StorageError::QueueFull { limit: 2, .. })
        ),
        "{full}"
    );
    stage.shutdown.request();
    let draining = stage.offer(vec![plain()]).await.unwrap_err();
    assert!(matches!(draining, QueueError::Draining));
    guest.completes();
    stage.end().await;
}
