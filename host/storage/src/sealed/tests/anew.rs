//! What another key sealed, or none, is sealed with the first key, so that the other one can be dropped.

use std::time::Duration;

use cofferdam_domain::attempt::Payload;
use cofferdam_domain::module::Digest;
use cofferdam_domain::schedule::{CatchUp, Overlap, Plan, ScheduleName, Scheduled, Timetable};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::workflow::definition::{DefinitionName, DefinitionRef};
use cofferdam_test_postgres::Database;

use super::*;
use crate::{NewDefinition, SealedProgress, SealedStep};

fn keys(keys: &[u8]) -> EncryptionKeys {
    let words: Vec<String> = keys
        .iter()
        .map(|key| format!("{key:02x}").repeat(32))
        .collect();
    EncryptionKeys::parse(words.iter().map(String::as_str)).unwrap()
}

/// Goes through everything; gives how many values were to be sealed, and what was done.
async fn through(storage: &Opened) -> (u64, SealedStep) {
    let (mut counted, mut from) = (0, Some(SealedProgress::default()));
    while let Some(some) = from {
        let (more, next) = storage.sealed.tasks.count(some).await.unwrap();
        (counted, from) = (counted + more, next);
    }
    let (mut done, mut from) = (SealedStep::default(), Some(SealedProgress::default()));
    while let Some(some) = from {
        let step = storage.sealed.tasks.step(some).await.unwrap();
        done.seen += step.seen;
        done.resealed += step.resealed;
        done.unreadable += step.unreadable;
        from = step.next;
    }
    (counted, done)
}

/// So often an output is too long for its row.
const LONG: usize = 50_000;

/// Two tasks that completed with outputs and streams, and 70 that wait.
async fn completed_and_waiting(storage: &Opened) {
    storage
        .tasks
        .insert_tasks(vec![saying(2)], ANY_NUMBER, at(0))
        .await
        .unwrap();
    let claim = claim_one(storage).await.unwrap();
    completes(storage, &claim, MARKER.to_owned()).await;
    storage
        .tasks
        .insert_tasks(vec![saying(3)], ANY_NUMBER, at(0))
        .await
        .unwrap();
    let claim = claim_one(storage).await.unwrap();
    completes(storage, &claim, MARKER.repeat(LONG)).await;
    let waiting = (100..170).map(saying).collect();
    storage
        .tasks
        .insert_tasks(waiting, ANY_NUMBER, at(0))
        .await
        .unwrap();
}

async fn completes(storage: &Opened, claim: &Claim, output: String) {
    let payload = Payload {
        content_type: "text/plain".into(),
        body: output.into(),
    };
    let mut end = end(claim, at(12), Outcome::Completed(payload), Next::Complete);
    end.streams.stdout = Captured {
        bytes: MARKER.into(),
        truncated: false,
    };
    storage.tasks.finish(vec![end]).await.unwrap();
}

async fn all_is_told(storage: &Opened) {
    is_told(storage).await;
    let task = storage.reads.task(&MINE, id(2)).await.unwrap().unwrap();
    let length = u64::try_from(MARKER.len()).unwrap();
    assert_eq!(
        (task.state, task.result_bytes),
        (TaskState::Completed, Some(length))
    );
    let result = storage.reads.result(&MINE, id(2)).await.unwrap().unwrap();
    assert_eq!(result.body, MARKER);
    let long = storage.reads.result(&MINE, id(3)).await.unwrap().unwrap();
    assert_eq!(long.body, MARKER.repeat(LONG));
    let stdout = storage.reads.stream(&MINE, id(2), None, Stream::Stdout);
    assert_eq!(stdout.await.unwrap().unwrap().text(), MARKER);
    let name = ScheduleName::parse("nightly").unwrap();
    let kept = storage.schedules.find_schedule(&US, &name).await.unwrap();
    assert_eq!(kept.unwrap().plan.what.text(), MARKER);
    let due = storage.schedules.due_schedules(at(2), 9).await.unwrap();
    assert_eq!(due[0].plan.what.text(), MARKER);
    let definition = DefinitionRef::parse("kept").unwrap();
    let found = storage.definitions.find_definition(&US, &definition).await;
    assert_eq!(found.unwrap().unwrap().1, MARKER);
    for number in 100..170 {
        let spec = storage.reads.task_spec(&MINE, id(number)).await.unwrap();
        assert_eq!(spec.unwrap(), saying(number).spec);
    }
}

/// `first` are the keys of the beginning.
async fn the_old_key_can_be_dropped(open: impl Fn(&[u8]) -> Opened, first: &[u8]) {
    let storage = open(first);
    lived(&storage).await;
    completed_and_waiting(&storage).await;
    let name = ScheduleName::parse("nightly").unwrap();
    let plan = Plan {
        timetable: Timetable::Every(Duration::from_secs(60)),
        what: Scheduled::Task(MARKER.to_owned()),
        catch_up: CatchUp::None,
        overlap: Overlap::Allow,
        paused: false,
    };
    let put = storage
        .schedules
        .put_schedule(&US, &name, &plan, Some(at(1)), at(0));
    put.await.unwrap();
    let definition = NewDefinition {
        name: DefinitionName::parse("kept").unwrap(),
        digest: Digest::from_bytes([7; 32]),
        text: MARKER.to_owned(),
        size_bytes: 6,
    };
    let put = storage
        .definitions
        .put_definition(&US, definition, None, at(0));
    put.await.unwrap();
    all_is_told(&storage).await;
    storage.close();
    drop(storage);
    // A host without that key changes nothing, and comes to an end.
    if !first.is_empty() {
        let storage = open(&[3]);
        let (counted, done) = through(&storage).await;
        assert!(counted > 200, "{counted}");
        assert_eq!((done.resealed, done.unreadable), (0, counted));
        storage.close();
        drop(storage);
    }
    let storage = open(&[&[2], first].concat());
    let schedules = storage.sealed.schedules.reseal().await.unwrap();
    assert_eq!((schedules.resealed, schedules.unreadable), (1, 0));
    let definitions = storage.sealed.definitions.reseal().await.unwrap();
    assert_eq!((definitions.resealed, definitions.unreadable), (1, 0));
    let (counted, done) = through(&storage).await;
    assert!(counted > 200, "{counted}");
    assert_eq!(
        (done.resealed, done.unreadable, done.seen),
        (counted, 0, counted)
    );
    // The long output is looked at again as long as there is another key.
    let (_, done) = through(&storage).await;
    assert_eq!((done.resealed, done.unreadable), (0, 0));
    all_is_told(&storage).await;
    storage.close();
    drop(storage);
    let storage = open(&[2]);
    assert_eq!(through(&storage).await, (0, SealedStep::default()));
    all_is_told(&storage).await;
    assert!(claim_one(&storage).await.is_some());
    storage.close();
    drop(storage);
}

/// The same of a workflow that waits: its definition, the plans of its nodes and its signal.
async fn the_old_key_of_a_workflow_can_be_dropped(open: impl Fn(&[u8]) -> Opened, first: &[u8]) {
    let storage = open(first);
    flow_said(&storage).await;
    storage.close();
    drop(storage);
    let storage = open(&[&[2], first].concat());
    let (counted, done) = through(&storage).await;
    // Two plans, the definition and the signal; the bodies of three tasks, and what else one of them says.
    assert_eq!((done.resealed, done.unreadable, counted), (counted, 0, 9));
    storage.close();
    drop(storage);
    let storage = open(&[2]);
    assert_eq!(through(&storage).await, (0, SealedStep::default()));
    flow_is_told(&storage).await;
    storage.close();
    drop(storage);
}

#[tokio::test]
async fn the_old_key_can_be_dropped_on_sqlite() {
    for first in [&[][..], &[1]] {
        let data = tempfile::tempdir().unwrap();
        the_old_key_of_a_workflow_can_be_dropped(|keys| open(data.path(), keys), first).await;
        let data = tempfile::tempdir().unwrap();
        the_old_key_can_be_dropped(|keys| open(data.path(), keys), first).await;
        let file = std::fs::read(data.path().join("cofferdam.db")).unwrap();
        let marker = &MARKER.as_bytes()[..12];
        let is_plain = file.windows(marker.len()).any(|part| part == marker);
        // What was plain may still be in pages that nothing uses.
        assert!(!is_plain || first.is_empty());
    }
}

#[tokio::test]
async fn the_old_key_can_be_dropped_on_postgres() {
    for first in [&[][..], &[1]] {
        let database = [Database::fresh(), Database::fresh()];
        let data = tempfile::tempdir().unwrap();
        let open = |database: &Database, words: &[u8]| {
            let settings = StorageConfig {
                url: Some(database.url()),
                encryption_keys: keys(words),
                ..settings(data.path())
            };
            crate::open(&settings, StdRng::seed_from_u64(7), &Clock::system()).unwrap()
        };
        the_old_key_can_be_dropped(|keys| open(&database[0], keys), first).await;
        the_old_key_of_a_workflow_can_be_dropped(|keys| open(&database[1], keys), first).await;
    }
}
