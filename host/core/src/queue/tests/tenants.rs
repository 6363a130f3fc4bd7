//! What one tenant has is out of another's reach: its tasks, its batches, and its modules' names.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::stage::*;
use crate::queue::watch::Reach;
use crate::queue::{BatchSubmission, Bulk, BulkChange, QueueError, Submission, Submitted};
use crate::registry::RegistryError;
use crate::runner::RunError;
use cofferdam_domain::batch::BatchId;
use cofferdam_domain::caller::{Caller, Forbidden, Origin, Scope, Tenant};
use cofferdam_domain::module::{Digest, ModuleName, ModuleRef};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_storage::{Cancelled, Opened, Purged, Retried, TaskFilter};

fn caller(tenant: &str) -> Caller {
    let scopes = [Scope::Run, Scope::Read, Scope::Modules];
    let tenant = Tenant::parse(tenant).unwrap();
    Caller::new(tenant, scopes.into_iter().collect(), Origin::Here)
}

fn module(text: &str) -> ModuleRef {
    ModuleRef::parse(text).unwrap()
}

/// A module of these tenants, with a version of its own for each.
async fn put(storage: &Opened, text: &str, tenants: &[&Caller]) {
    let modules = &storage.modules;
    let echo = module("echo");
    let found = modules.find_module(&Tenant::DEFAULT, &echo).await;
    let mut info = found.unwrap().unwrap().info;
    for (byte, caller) in (20..).zip(tenants) {
        info.digest = Digest::from_bytes([byte; 32]);
        let (name, wasm) = (ModuleName::parse(text).unwrap(), vec![byte; 4]);
        modules
            .put_module(
                caller.tenant(),
                &name,
                &info,
                Bytes::from(wasm),
                None,
                START,
            )
            .await
            .unwrap();
    }
}

fn later() -> Submission {
    Submission {
        delay: Duration::from_secs(1000),
        ..plain()
    }
}

async fn submit(stage: &Stage, caller: &Caller, task: Submission) -> TaskId {
    match stage.queue.submit(caller, vec![task]).await.unwrap()[..] {
        [Submitted::New(id)] => id,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn another_tenants_tasks_are_unknown() {
    let (a, b) = (caller("a"), caller("b"));
    let (data, storage) = database().await;
    put(&storage, "echo", &[&a, &b]).await;
    let mut stage = Stage::over((data, storage), quick_heartbeat(), true).await;
    let running = submit(&stage, &a, plain()).await;
    let guest = stage.guest().await;
    let waits = submit(&stage, &a, later()).await;
    let failed = submit(&stage, &a, later()).await;
    let queue = &stage.queue;
    queue.cancel(&a, failed).await.unwrap();
    let batch = BatchSubmission {
        tasks: vec![later()],
        parallelism: None,
        callback: None,
        idempotency_key: None,
        fingerprint: [0; 16],
    };
    let batch = queue.submit_batch(&a, batch).await.unwrap().id;

    let unknown = TaskId(Uuid::from_u128(9));
    for id in [running, waits, failed, unknown] {
        assert_eq!(queue.cancel(&b, id).await.unwrap(), Cancelled::Unknown);
        assert_eq!(queue.retry(&b, id).await.unwrap(), Retried::Unknown);
        let purged = queue.purge(&b, id).await.unwrap();
        assert!(matches!(purged, Purged::Unknown));
        let waited = queue.wait(&b, id, Duration::from_secs(60)).await;
        assert!(waited.unwrap().is_none());
        for reach in [Reach::AllHosts, Reach::ThisHost] {
            let watched = queue.watch(&b, id, 0, reach).await.unwrap();
            assert!(watched.is_none());
        }
    }
    assert!(queue.shared.waiters.is_empty());
    assert_eq!(queue.cancel_batch(&b, batch).await.unwrap(), None);
    let nobodys = BatchId(Uuid::from_u128(9));
    assert_eq!(queue.cancel_batch(&b, nobodys).await.unwrap(), None);
    for change in [BulkChange::Cancel, BulkChange::Retry] {
        let all = TaskFilter::default;
        assert_eq!(queue.matches(&b, change, all()).await.unwrap(), 0);
        let begun = queue.change_matching(&b, change, all(), 99).await.unwrap();
        assert_eq!(begun, Bulk::Begun(0));
    }
    for (id, state) in [
        (running, TaskState::Running),
        (waits, TaskState::Pending),
        (failed, TaskState::Cancelled),
    ] {
        let task = stage.task(id).await;
        assert_eq!((task.state, task.cancel_requested), (state, false));
    }
    // Its own tenant does all of that.
    let matching = queue.matches(&a, BulkChange::Cancel, TaskFilter::default());
    assert_eq!(matching.await.unwrap(), 3);
    assert_eq!(queue.cancel_batch(&a, batch).await.unwrap(), Some(1));
    let (_, mut watch) = queue
        .watch(&a, running, 0, Reach::AllHosts)
        .await
        .unwrap()
        .unwrap();
    guest.completes();
    while watch.next().await.is_some() {}
    let waited = stage.queue.wait(&a, running, Duration::from_secs(20)).await;
    assert_eq!(waited.unwrap().unwrap().state, TaskState::Completed);
    stage.end().await;
}

#[tokio::test]
async fn the_same_id_keys_and_names_mean_each_tenants_own() {
    let (a, b) = (caller("a"), caller("b"));
    let (data, storage) = database().await;
    put(&storage, "echo", &[&a, &b]).await;
    let stage = Stage::over((data, storage), one_slot(), true).await;
    let keyed = || Submission {
        idempotency_key: Some("key".to_owned()),
        dedup_key: Some("key".to_owned()),
        ..later()
    };
    let of_a = submit(&stage, &a, keyed()).await;
    let of_b = submit(&stage, &b, keyed()).await;
    let again = stage.queue.submit(&b, vec![keyed()]).await.unwrap();
    assert_eq!(again, [Submitted::Existing(of_b)]);
    let digests = [stage.task(of_a).await.digest, stage.task(of_b).await.digest];
    assert_eq!(digests, [20, 21].map(|byte| Digest::from_bytes([byte; 32])));
    // An id of another's is no different from one that another request has.
    let named = Submission {
        task_id: Some(of_a),
        ..later()
    };
    let refused = stage.queue.submit(&b, vec![named]).await.unwrap_err();
    let QueueError::Storage(refused) = refused else {
        panic!("{refused:?}");
    };
    assert!(matches!(refused, cofferdam_storage::StorageError::Conflict(id) if id == of_a));
    stage.end().await;
}

#[tokio::test]
async fn a_lone_task_waits_for_one_turn_of_what_another_tenant_had_claimed_ahead() {
    let (a, b) = (caller("a"), caller("b"));
    let (data, storage) = database().await;
    put(&storage, "echo", &[&a, &b]).await;
    let mut stage = Stage::over((data, storage), one_slot(), true).await;
    let many = stage.queue.submit(&a, vec![plain(); 20]).await.unwrap();
    let first = stage.guest().await;
    let Submitted::New(second) = many[1] else {
        panic!("{many:?}");
    };
    stage.ready(&[second]).await;
    let lone = submit(&stage, &b, plain()).await;
    stage.ready(&[lone]).await;
    first.completes();
    let mut begun = Vec::new();
    for _ in 0..20 {
        let guest = stage.guest().await;
        begun.push(guest.id());
        guest.completes();
    }
    assert_eq!(begun[..2], [second, lone]);
    stage.end().await;
}

#[tokio::test]
async fn a_modules_name_is_its_tenants_or_everybodys() {
    let (a, b) = (caller("a"), caller("b"));
    let (data, storage) = database().await;
    put(&storage, "own", &[&a]).await;
    put(&storage, "public/all", &[&a]).await;
    let modules = std::sync::Arc::clone(&storage.modules);
    let stage = Stage::over((data, storage), one_slot(), true).await;
    let registry = &stage.queue.registry;
    let digest = Digest::from_bytes([20; 32]);
    for reference in [module("own"), module(&format!("own@{digest}"))] {
        // Whoever asked first.
        let found = registry.resolve(a.tenant(), &reference).await.unwrap();
        assert_eq!(found.digest, digest);
        let unknown = registry.resolve(b.tenant(), &reference).await;
        assert!(matches!(unknown, Err(RegistryError::Unknown(_))));
        let task = Submission {
            module: reference,
            ..later()
        };
        let refused = stage.queue.submit(&b, vec![task]).await;
        assert!(matches!(
            refused,
            Err(QueueError::Run(RunError::Module(RegistryError::Unknown(_))))
        ));
    }
    let own = ModuleName::parse("own").unwrap();
    assert!(!registry.remove(&b, &own).await.unwrap());
    assert!(registry.resolve(a.tenant(), &module("own")).await.is_ok());

    let public = ModuleName::parse("public/all").unwrap();
    for caller in [&a, &b, &Caller::local()] {
        let task = Submission {
            module: module("public/all"),
            ..later()
        };
        submit(&stage, caller, task).await;
    }
    // Whoever put it, only an administrator changes it.
    let refused = registry.remove(&a, &public).await.unwrap_err();
    assert!(matches!(
        refused,
        RegistryError::Forbidden(Forbidden(Scope::Admin))
    ));
    let refused = registry.put(&a, &public, Bytes::new()).await.unwrap_err();
    assert!(matches!(
        refused,
        RegistryError::Forbidden(Forbidden(Scope::Admin))
    ));
    let admin = Caller::new(
        b.tenant().clone(),
        Scope::ALL.into_iter().collect(),
        b.from(),
    );
    let changes = registry.changes();
    assert!(registry.remove(&admin, &public).await.unwrap());
    let unknown = registry.resolve(a.tenant(), &module("public/all")).await;
    assert!(matches!(unknown, Err(RegistryError::Unknown(_))));
    let gone = module("public/all");
    let found = modules.find_module(a.tenant(), &gone).await;
    assert!(found.unwrap().is_none());
    // One tenant tried to remove a name of its own before.
    let changes = changes.borrow();
    let told = [&a, &b].map(|caller| changes.of(caller.tenant()));
    assert_eq!(told, [1, 2]);
    stage.end().await;
}
