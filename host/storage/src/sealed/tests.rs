//! What is said of a task is opened in its own row, and in no other.

mod anew;

use std::path::Path;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::conformance::fixture::*;
use crate::conformance::workflows::fixture::{chain, flow, wid};
use crate::settings::{EncryptionKeys, StorageConfig};
use crate::{Before, HeldNode, NewSignal, Opened, Park, Progress, Signalled, StorageError};
use cofferdam_domain::attempt::{Captured, Failure, FailureKind, Outcome, Stream};
use cofferdam_domain::claim::{AttemptEnd, Claim, Next};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::task::{ClaimOrder, NewTask};
use cofferdam_domain::workflow::ParkedFor;

const MARKER: &str = "a marker that nothing else has";

fn open(data: &Path, keys: &[u8]) -> Opened {
    let words: Vec<String> = keys
        .iter()
        .map(|key| format!("{key:02x}").repeat(32))
        .collect();
    let settings = StorageConfig {
        encryption_keys: EncryptionKeys::parse(words.iter().map(String::as_str)).unwrap(),
        ..settings(data)
    };
    crate::open(&settings, StdRng::seed_from_u64(7), &Clock::system()).unwrap()
}

async fn claim_one(storage: &Opened) -> Option<Claim> {
    let claims = storage.tasks.claim(ME, 1, ClaimOrder::Priority, at(10));
    claims.await.unwrap().pop()
}

/// A task that says the marker wherever it can.
fn saying(number: u128) -> NewTask {
    let mut task = new_task(number);
    task.spec.args = vec![MARKER.to_owned(), "b".to_owned()];
    task.spec.env = vec![("K".to_owned(), MARKER.to_owned())];
    task
}

fn failed(claim: &Claim) -> AttemptEnd {
    let mut failure = Failure::new(FailureKind::Trap, MARKER);
    failure.backtrace = Some(MARKER.to_owned());
    let mut end = end(claim, at(12), Outcome::Failed(failure), Next::Fail);
    end.streams.log = Captured {
        bytes: MARKER.into(),
        truncated: true,
    };
    end
}

async fn submitted(storage: &Opened, numbers: std::ops::Range<u128>) {
    let (name, info) = (name("echo"), module(1));
    let put = storage
        .modules
        .put_module(&US, &name, &info, "wasm".into(), None, at(0));
    put.await.unwrap();
    let tasks = numbers.map(saying).collect();
    storage
        .tasks
        .insert_tasks(tasks, ANY_NUMBER, at(0))
        .await
        .unwrap();
}

/// One task that was claimed, told of itself, and failed.
async fn lived(storage: &Opened) {
    submitted(storage, 1..2).await;
    let claim = claim_one(storage).await.unwrap();
    assert_eq!(*claim.spec, saying(1).spec);
    let note = Progress {
        task_id: claim.task_id,
        tenant: claim.tenant.clone(),
        fence: claim.fence,
        fraction: 0.5,
        note: MARKER.to_owned(),
    };
    storage
        .tasks
        .report_progress(vec![note], at(11))
        .await
        .unwrap();
    let running = storage.reads.task(&MINE, id(1)).await.unwrap().unwrap();
    assert_eq!(running.progress_note, MARKER);
    storage.tasks.finish(vec![failed(&claim)]).await.unwrap();
}

async fn is_told(storage: &Opened) {
    let failure = |failure: Option<Failure>| {
        let failure = failure.unwrap();
        (failure.message, failure.backtrace.unwrap())
    };
    let twice = (MARKER.to_owned(), MARKER.to_owned());
    let task = storage.reads.task(&MINE, id(1)).await.unwrap().unwrap();
    assert_eq!(task.progress_note, MARKER);
    assert_eq!(failure(task.failure), twice);
    let attempt = storage.reads.attempt(&MINE, id(1), None).await.unwrap();
    assert_eq!(failure(attempt.unwrap().failure), twice);
    let spec = storage
        .reads
        .task_spec(&MINE, id(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(spec, saying(1).spec);
    let log = storage.reads.stream(&MINE, id(1), None, Stream::Log);
    let log = log.await.unwrap().unwrap();
    assert_eq!((log.text().as_str(), log.truncated), (MARKER, true));
}

fn database(data: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(data.join("cofferdam.db")).unwrap()
}

#[tokio::test]
async fn what_is_said_of_a_task_is_sealed_and_told_again() {
    let data = tempfile::tempdir().unwrap();
    let storage = open(data.path(), &[1]);
    lived(&storage).await;
    is_told(&storage).await;
    storage.close();
    let file = std::fs::read(data.path().join("cofferdam.db")).unwrap();
    let marker = &MARKER.as_bytes()[..12];
    assert!(!file.windows(marker.len()).any(|part| part == marker));
    // What was plain stays legible for a host that has a key now.
    let data = tempfile::tempdir().unwrap();
    let storage = open(data.path(), &[]);
    lived(&storage).await;
    storage.close();
    is_told(&open(data.path(), &[1])).await;
}

#[tokio::test]
async fn what_was_exchanged_between_rows_is_noticed() {
    let data = tempfile::tempdir().unwrap();
    let storage = open(data.path(), &[1]);
    submitted(&storage, 1..4).await;
    storage.close();
    let exchanged = "UPDATE task_spec SET body = (SELECT s.body FROM task_spec s WHERE s.seq = 3)
        WHERE seq = 1";
    database(data.path()).execute(exchanged, []).unwrap();
    let storage = open(data.path(), &[1]);
    let spoilt = storage.reads.task_spec(&MINE, id(1)).await.unwrap_err();
    let told = spoilt.to_string();
    assert!(matches!(spoilt, StorageError::Corrupt(_)), "{told}");
    assert!(told.contains(&format!("body of task {}", id(1))), "{told}");
    // Its task fails, and the others run.
    let claims = storage.tasks.claim(ME, 3, ClaimOrder::Fifo, at(10)).await;
    let claims: Vec<_> = claims.unwrap().iter().map(|claim| claim.task_id).collect();
    assert_eq!(claims, [id(2), id(3)]);
    let task = storage.reads.task(&MINE, id(1)).await.unwrap().unwrap();
    assert_eq!(task.failure.unwrap().kind, FailureKind::HostError);
}

#[tokio::test]
async fn what_a_lost_key_sealed_waits_for_it() {
    let data = tempfile::tempdir().unwrap();
    let storage = open(data.path(), &[1]);
    submitted(&storage, 1..2).await;
    storage.close();
    for keys in [&[][..], &[2]] {
        let storage = open(data.path(), keys);
        let missing = storage.reads.task_spec(&MINE, id(1)).await.unwrap_err();
        assert!(
            matches!(missing, StorageError::KeyMissing { .. }),
            "{missing}"
        );
        assert!(claim_one(&storage).await.is_none());
        let put_off = "UPDATE task SET run_at = 0";
        storage.close();
        assert_eq!(database(data.path()).execute(put_off, []).unwrap(), 1);
    }
    let claim = claim_one(&open(data.path(), &[2, 1])).await.unwrap();
    assert_eq!((*claim.spec).clone(), saying(1).spec);
    assert_eq!(claim.attempt, 1);
}

/// A workflow of two nodes that says the marker wherever it can, and a signal for it.
async fn flow_said(storage: &Opened) {
    submitted(storage, 1..2).await;
    storage.tasks.cancel(&MINE, id(1), at(1)).await.unwrap();
    let mut workflow = flow(1);
    workflow.definition = MARKER.to_owned();
    let mut nodes = chain(1, &["a", "b"]);
    for node in &mut nodes {
        node.plan = Some(MARKER.to_owned());
    }
    let workflows = &storage.workflows;
    let stored = workflows.insert_workflow(workflow, nodes, ANY_NUMBER, at(2));
    stored.await.unwrap();
    let signal = NewSignal {
        name: "go".to_owned(),
        idempotency_key: None,
        fingerprint: [0; 16],
        payload: payload(MARKER.as_bytes()),
    };
    let kept = workflows.signal_workflow(&MINE, wid(1), signal, at(2));
    assert_eq!(kept.await.unwrap(), Signalled::Kept);
}

/// Everything of it is there, as its first node waits for the signal and fails.
async fn flow_is_told(storage: &Opened) {
    let workflows = &storage.workflows;
    let claim = claim_one(storage).await.unwrap();
    let wait = Park::Signal {
        name: "go".to_owned(),
        until: None,
    };
    let held = HeldNode::of(&claim).unwrap();
    workflows.park(held, wait, ANY_NUMBER, at(3)).await.unwrap();
    let claim = claim_one(storage).await.unwrap();
    let node = claim.node.clone().unwrap();
    assert_eq!(node.plan.as_deref(), Some(MARKER));
    let given = ParkedFor::Signal(Some(payload(MARKER.as_bytes())));
    assert_eq!(node.parked, Some(given));
    storage.tasks.finish(vec![failed(&claim)]).await.unwrap();
    let claims = storage.tasks.claim(ME, 1, ClaimOrder::Priority, at(20));
    let b = claims.await.unwrap().remove(0);
    assert_eq!(b.node.as_ref().unwrap().plan.as_deref(), Some(MARKER));
    let ends = workflows.ends_before(&US, b.task_id, Before::Parents, 9);
    let failure = ends.await.unwrap().remove(0).failure.unwrap();
    assert_eq!(failure.message, MARKER);
    let seen = workflows.workflow(&MINE, wid(1)).await.unwrap().unwrap();
    assert_eq!(seen.nodes[0].failure.as_ref().unwrap().message, MARKER);
    let definition = workflows.workflow_definition(&MINE, wid(1)).await.unwrap();
    assert_eq!(definition.as_deref(), Some(MARKER));
}

#[tokio::test]
async fn what_is_said_of_a_workflow_is_sealed_and_told_again() {
    let data = tempfile::tempdir().unwrap();
    let storage = open(data.path(), &[1]);
    flow_said(&storage).await;
    flow_is_told(&storage).await;
    storage.close();
    let file = std::fs::read(data.path().join("cofferdam.db")).unwrap();
    let marker = &MARKER.as_bytes()[..12];
    assert!(!file.windows(marker.len()).any(|part| part == marker));
}
