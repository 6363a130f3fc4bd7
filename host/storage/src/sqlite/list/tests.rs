//! The cost of a page in a large table, in steps of SQLite's virtual machine, which do not depend
//! on other work on the computer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rusqlite::Connection;

use super::tasks;
use crate::conformance::fixture::*;
use crate::sqlite::SqliteStorage;
use crate::sqlite::connection::{database_path, open_reader};
use crate::{ChangeNumber, Labelled, Since, TaskFilter};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::label::Label;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::Priority;
use cofferdam_domain::time::Timestamp;

const TASKS: i64 = 300_000;
/// The number of the rare module's one task, and of the only task with another priority.
const RARE: i64 = 1000;
/// Steps between two counts.
const STEPS: i64 = 100;
/// The cost of a page of a hundred tasks that an index finds.
const INDEXED_MAX: i64 = 60_000;
/// The cost of a page that examines the most tasks allowed.
const SCANNED_MAX: i64 = 1_500_000;

/// Nearly all completed, by one module; the newest hundred are pending.
fn fill(conn: &Connection) {
    conn.execute_batch(&format!(
        "BEGIN;
         INSERT INTO module_name (id, name) VALUES (1, 'echo'), (2, 'rare');
         INSERT INTO template (id, digest, module, settings, tasks, name, class)
             SELECT id, zeroblob(32), name, '{{}}', 1, id, 0 FROM module_name;
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {TASKS})
         INSERT INTO task (seq, id, template, state, priority, run_at, attempt, max_attempts, lost,
             created_at, updated_at, cancel_requested, finished_at, progress, progress_note, name,
             change, error_kind)
         SELECT i, CAST(printf('%016d', i) AS BLOB), 1 + (i = {RARE}),
             iif(i > {TASKS} - 100, 1, iif(i = {RARE}, 4, 3)), 2 - (i = {RARE}), i, 0, 1, 0,
             i, i * 10, 0, iif(i > {TASKS} - 100, NULL, i * 10), 0, '', 1 + (i = {RARE}), i,
             iif(i = {RARE}, 'trap', NULL) FROM n;
         INSERT INTO task_spec (seq, fingerprint, content_type, body)
             SELECT seq, zeroblob(16), '', x'' FROM task;
         UPDATE newest_change SET number = {TASKS};
         INSERT INTO counter (tenant, state, tasks)
             SELECT tenant, state, count(*) FROM task GROUP BY tenant, state;
         COMMIT;"
    ))
    .unwrap();
}

struct Table {
    conn: Connection,
    steps: Arc<AtomicI64>,
}

impl Table {
    fn open(data: &std::path::Path) -> Table {
        drop(SqliteStorage::open(&settings(data), StdRng::seed_from_u64(1)).unwrap());
        fill(&Connection::open(database_path(data)).unwrap());
        let mut conn = open_reader(&database_path(data)).unwrap();
        let steps = Arc::new(AtomicI64::new(0));
        let count = Arc::clone(&steps);
        let counting = move || {
            count.fetch_add(STEPS, Ordering::Relaxed);
            false
        };
        conn.progress_handler(i32::try_from(STEPS).unwrap(), Some(counting))
            .unwrap();
        Table { conn, steps }
    }

    /// How many tasks all pages have together, if no page may cost more than this many steps.
    fn pages(&self, name: &str, mut filter: TaskFilter, steps_max: i64, pages_max: u32) -> usize {
        let mut found = 0;
        for _ in 0..pages_max {
            self.steps.store(0, Ordering::Relaxed);
            let page = tasks(&self.conn, &US, &filter, 100).unwrap();
            let steps = self.steps.load(Ordering::Relaxed);
            println!("{name}: {} tasks in {steps} steps", page.tasks.len());
            assert!(steps <= steps_max, "{name}: {steps} steps");
            found += page.tasks.len();
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return found,
            }
        }
        found
    }
}

#[test]
fn no_page_walks_over_everything() {
    let data = tempfile::tempdir().unwrap();
    let table = Table::open(data.path());
    let all = TaskFilter::default;
    let since = |since| TaskFilter {
        since: Some(since),
        ..all()
    };
    let at = |millis| Since::Time(Timestamp::from_millis(millis));
    let rare = || TaskFilter {
        module: Some(name("rare")),
        ..all()
    };
    let states = |states: &[TaskState]| TaskFilter {
        states: states.to_vec(),
        ..all()
    };
    let indexed = |name, filter| table.pages(name, filter, INDEXED_MAX, 3);
    assert_eq!(indexed("newest", all()), 300);
    assert_eq!(
        indexed("changes", since(Since::Change(ChangeNumber(3)))),
        300
    );
    assert_eq!(
        indexed(
            "latest changes",
            since(Since::Change(ChangeNumber(TASKS - 5)))
        ),
        5
    );
    assert_eq!(indexed("rare module", rare()), 1);
    assert_eq!(indexed("failed", states(&[TaskState::Failed])), 1);
    assert_eq!(
        indexed(
            "failed or pending",
            states(&[TaskState::Failed, TaskState::Pending])
        ),
        101
    );
    assert_eq!(
        indexed("none", states(&[TaskState::Blocked, TaskState::Running])),
        0
    );
    let failed_of_rare = TaskFilter {
        states: vec![TaskState::Failed],
        ..rare()
    };
    assert_eq!(indexed("rare and failed", failed_of_rare), 1);

    let scanned = |name, filter| table.pages(name, filter, SCANNED_MAX, 10);
    let rare_priority = TaskFilter {
        priority: Some(Priority::High),
        ..all()
    };
    assert_eq!(scanned("rare priority", rare_priority), 1);
    let failed_of_many = TaskFilter {
        module: Some(name("echo")),
        ..states(&[TaskState::Failed])
    };
    assert_eq!(scanned("none of many", failed_of_many), 0);
    let rare_changes = TaskFilter {
        module: Some(name("rare")),
        ..since(Since::Change(ChangeNumber(0)))
    };
    assert_eq!(scanned("changes of a rare module", rare_changes), 1);
    assert_eq!(scanned("a late time", since(at(TASKS * 10 - 20))), 3);
    assert_eq!(scanned("a time to come", since(at(i64::MAX))), 0);
}

#[test]
fn no_page_by_label_kind_of_failure_or_metadata_does_either() {
    let data = tempfile::tempdir().unwrap();
    let table = Table::open(data.path());
    let all = TaskFilter::default;
    let indexed = |name, filter| table.pages(name, filter, INDEXED_MAX, 3);
    let kinds = |kinds: &[FailureKind]| TaskFilter {
        error_kinds: kinds.to_vec(),
        ..all()
    };
    assert_eq!(indexed("traps", kinds(&[FailureKind::Trap; 2])), 1);
    let every = kinds(&FailureKind::ALL);
    assert_eq!(indexed("every kind", every), 1);
    let traps_of_many = TaskFilter {
        module: Some(name("echo")),
        ..kinds(&[FailureKind::Trap])
    };
    assert_eq!(indexed("traps of many", traps_of_many), 0);
    let labels = |labels: &[Label]| TaskFilter {
        labels: Some(Labelled {
            any: labels.to_vec(),
            now: Timestamp::from_millis(TASKS - 50),
        }),
        ..all()
    };
    assert_eq!(indexed("ready", labels(&[Label::Pending])), 50);
    let waiting = [Label::Scheduled, Label::Retrying, Label::Failed];
    assert_eq!(indexed("later or failed", labels(&waiting)), 51);
    assert_eq!(indexed("dead", labels(&[Label::Dead])), 0);
    let no_state = TaskFilter {
        states: vec![TaskState::Completed],
        ..labels(&[Label::Retrying])
    };
    assert_eq!(indexed("no state", no_state), 0);

    let scanned = |name, filter| table.pages(name, filter, SCANNED_MAX, 10);
    let trap_changes = TaskFilter {
        error_kinds: vec![FailureKind::Trap],
        since: Some(Since::Change(ChangeNumber(0))),
        ..all()
    };
    assert_eq!(scanned("changes of traps", trap_changes), 1);
    let done = TaskFilter {
        labels: labels(&[Label::Completed, Label::Cancelling]).labels,
        priority: Some(Priority::High),
        ..all()
    };
    assert_eq!(scanned("labels of many", done), 0);
    let metadata = TaskFilter {
        metadata: vec![("team".to_owned(), "a".to_owned())],
        ..all()
    };
    assert_eq!(scanned("metadata", metadata), 0);
}
