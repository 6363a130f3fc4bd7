//! What the database says at the end, read behind the hosts' backs.

use std::collections::BTreeMap;

use cofferdam_test_postgres::Database;

use super::history::{Attempt, Task};

const TASKS: &str = "
    SELECT s.id, t.state, t.attempt FROM cofferdam.task t JOIN cofferdam.task_spec s ON s.seq = t.seq";
const ATTEMPTS: &str = "
    SELECT s.id, a.number, a.worker, a.started_at, a.finished_at,
        coalesce(a.failure::json->>'kind', ''), coalesce(convert_from(a.output, 'UTF8'), '')
    FROM cofferdam.attempt a JOIN cofferdam.task_spec s ON s.seq = a.seq";
const COUNTED: &str = "
    SELECT state, sum(tasks) FROM cofferdam.counter GROUP BY state HAVING sum(tasks) <> 0";
/// By their numbers.
const STATES: [&str; 6] = [
    "blocked",
    "pending",
    "running",
    "completed",
    "failed",
    "cancelled",
];

pub(crate) fn tasks(database: &Database) -> Vec<Task> {
    rows(database, TASKS, |[id, state, attempt]| Task {
        id: id.to_owned(),
        status: named(state),
        attempt: number(attempt),
    })
}

pub(crate) fn attempts(database: &Database) -> Vec<Attempt> {
    rows(
        database,
        ATTEMPTS,
        |[id, place, worker, started, finished, kind, output]| Attempt {
            id: id.to_owned(),
            number: number(place),
            worker: worker.to_owned(),
            started_at: number(started),
            finished_at: number(finished),
            ended: match kind {
                "" => Ok(output.to_owned()),
                kind => Err(kind.to_owned()),
            },
        },
    )
}

pub(crate) fn counted(database: &Database) -> BTreeMap<String, u64> {
    let counted = rows(database, COUNTED, |[state, tasks]| {
        (named(state), number(tasks))
    });
    counted.into_iter().collect()
}

pub(super) fn rows<T, const N: usize>(
    database: &Database,
    sql: &str,
    read: impl Fn([&str; N]) -> T,
) -> Vec<T> {
    let text = database.run(sql);
    let row = |line: &str| {
        let columns: Vec<&str> = line.split('|').collect();
        read(columns.try_into().unwrap_or_else(|_| panic!("{line}")))
    };
    text.lines().map(row).collect()
}

pub(super) fn named(state: &str) -> String {
    STATES[number::<usize>(state)].to_owned()
}

#[track_caller]
pub(super) fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}
