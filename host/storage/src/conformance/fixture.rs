//! Shared by the bodies: tasks to submit, and the usual steps.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::Storage;
use crate::settings::{ClaimRules, StorageConfig};
use crate::{Bounds, Finished, Inserted};
use cofferdam_domain::attempt::{
    Failure, FailureKind, LeftOut, Outcome, Payload, Streams, Usage, WorkerId,
};
use cofferdam_domain::callback::{Callback, CallbackUrl, Ends};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::quota::TaskQuotas;
use cofferdam_domain::claim::{AttemptEnd, Claim, Next};
use cofferdam_domain::grants::Grants;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleKind, ModuleName};
use cofferdam_domain::placement::Placement;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, Input, NewTask, Priority, Task, TaskId, TaskSpec};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::{Address, Beat, Capability, Profile, WorkerName, WorkerState};

/// A queue without a bound.
pub(crate) const ANY_NUMBER: Bounds = Bounds {
    pending_max: u64::MAX,
    tenant: TaskQuotas {
        pending_max: None,
        storage_bytes: None,
    },
};
/// Whose the tasks of [`new_task`] are.
pub(crate) const US: Tenant = Tenant::DEFAULT;
pub(crate) const MINE: Whose = Whose::One(US);
pub(crate) const ME: WorkerId = WorkerId(Uuid::from_u128(0xa11ce));
pub(crate) const OTHER: WorkerId = WorkerId(Uuid::from_u128(0xb0b));

/// A database in `data`, without a limit on its size.
pub(crate) fn settings(data: &std::path::Path) -> StorageConfig {
    StorageConfig {
        data: data.to_owned(),
        database_budget_bytes: u64::MAX,
        read_timeout: Duration::from_secs(60),
        claims: ClaimRules {
            ageing: Duration::ZERO,
            ..ClaimRules::default()
        },
        ..StorageConfig::default()
    }
}

/// `seconds` after the beginning of these tests.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
}

pub(crate) fn id(number: u128) -> TaskId {
    TaskId(Uuid::from_u128(number))
}

pub(crate) fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

pub(crate) fn name(text: &str) -> ModuleName {
    ModuleName::parse(text).unwrap()
}

pub(crate) fn spec() -> TaskSpec {
    TaskSpec {
        module: name("echo"),
        digest: digest(1),
        input: Input::Inline(payload(b"{}")),
        args: Vec::new(),
        env: Vec::new(),
        priority: Priority::Normal,
        limits: Limits::DEFAULT,
        retry: RetryPolicy::default(),
        grants: Grants::none(),
        isolation: None,
        cache_ttl: None,
        placement: Placement::default(),
        metadata: "{}".to_owned(),
    }
}

pub(crate) fn new_task(number: u128) -> NewTask {
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(id(number).0.as_bytes());
    NewTask {
        id: id(number),
        tenant: Tenant::default(),
        run_at: at(0),
        spec: spec(),
        idempotency_key: None,
        fingerprint,
        dedup: None,
        callback: None,
    }
}

/// Every end of a task is told there.
pub(crate) fn callback(url: &str) -> Callback {
    Callback {
        url: CallbackUrl::parse(url).unwrap(),
        secret: None,
        on: Ends::ALL,
    }
}

/// A task that may have `max_attempts`.
pub(crate) fn with_attempts(number: u128, max_attempts: u32) -> NewTask {
    let mut task = new_task(number);
    task.spec.retry.max_attempts = max_attempts;
    task
}

pub(crate) fn with_priority(number: u128, priority: Priority) -> NewTask {
    let mut task = new_task(number);
    task.spec.priority = priority;
    task
}

pub(crate) fn payload(body: &'static [u8]) -> Payload {
    Payload {
        content_type: "application/json".into(),
        body: Bytes::from_static(body),
    }
}

pub(crate) fn module(byte: u8) -> ModuleInfo {
    ModuleInfo {
        digest: digest(byte),
        kind: ModuleKind::Command,
        size_bytes: 4,
        imports: vec!["wasi:cli/stdout@0.2.6".to_owned()],
        needs: Vec::new(),
        descriptor: None,
        compiled_ms: 3,
    }
}

/// What an idle worker tells of itself.
pub(crate) fn beat(worker: WorkerId) -> Beat {
    let profile = Profile {
        name: WorkerName::parse("host-1").unwrap(),
        address: Some(Address::parse("http://10.0.0.1:8080").unwrap()),
        capabilities: Capability::of_every_worker(),
        version: "1.2.3".to_owned(),
        started_at: at(0),
    };
    Beat {
        worker,
        profile: Arc::new(profile),
        slots: 16,
        load: 0,
        state: WorkerState::Idle,
    }
}

/// Stores the module that [`spec`] names.
pub(crate) async fn put_echo(storage: &dyn Storage) {
    storage
        .put_module(
            &US,
            &name("echo"),
            &module(1),
            Bytes::from_static(b"wasm"),
            None,
            at(0),
        )
        .await
        .unwrap();
}

/// Stores one task that must be new.
pub(crate) async fn insert(storage: &dyn Storage, task: NewTask) {
    let inserted = storage
        .insert_tasks(vec![task], ANY_NUMBER, at(0))
        .await
        .unwrap();
    assert_eq!(inserted, [Inserted::New]);
}

pub(crate) async fn insert_all(storage: &dyn Storage, tasks: Vec<NewTask>) {
    let inserted = storage
        .insert_tasks(tasks, ANY_NUMBER, at(0))
        .await
        .unwrap();
    assert!(inserted.iter().all(|inserted| *inserted == Inserted::New));
}

/// Claims one task for `worker`; there must be one.
pub(crate) async fn claim_one(storage: &dyn Storage, worker: WorkerId, now: Timestamp) -> Claim {
    let mut claims = storage
        .claim(worker, 1, ClaimOrder::Priority, now)
        .await
        .unwrap();
    assert_eq!(claims.len(), 1);
    claims.remove(0)
}

pub(crate) async fn claim_ids(storage: &dyn Storage, slots: u32, order: ClaimOrder) -> Vec<TaskId> {
    let claims = storage.claim(ME, slots, order, at(100)).await.unwrap();
    claims.iter().map(|claim| claim.task_id).collect()
}

pub(crate) fn completed(claim: &Claim, now: Timestamp) -> AttemptEnd {
    end(
        claim,
        now,
        Outcome::Completed(payload(b"42")),
        Next::Complete,
    )
}

pub(crate) fn failed(claim: &Claim, now: Timestamp, kind: FailureKind, next: Next) -> AttemptEnd {
    end(
        claim,
        now,
        Outcome::Failed(Failure::new(kind, "it did not work")),
        next,
    )
}

pub(crate) fn end(claim: &Claim, now: Timestamp, outcome: Outcome, next: Next) -> AttemptEnd {
    AttemptEnd {
        task_id: claim.task_id,
        tenant: claim.tenant.clone(),
        attempt: claim.attempt,
        fence: claim.fence,
        workflow: claim.node.as_ref().map(|node| node.workflow),
        finished_at: now,
        outcome,
        usage: Usage {
            duration: Duration::from_millis(5),
            ..Usage::default()
        },
        streams: Streams::default(),
        artifacts: Vec::new(),
        left_out: LeftOut::default(),
        next,
    }
}

pub(crate) async fn finish_one(storage: &dyn Storage, end: AttemptEnd) -> Finished {
    storage.finish(vec![end]).await.unwrap()[0]
}

pub(crate) async fn task(storage: &dyn Storage, number: u128) -> Task {
    storage
        .task(&Whose::All, id(number))
        .await
        .unwrap()
        .unwrap()
}

pub(crate) async fn state(storage: &dyn Storage, number: u128) -> TaskState {
    task(storage, number).await.state
}
