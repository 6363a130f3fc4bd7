//! Changes of every task that a filter finds: cut short, too many at once, and too much at once.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::{Answer, Client};

/// Tasks of a change that is cut short: many slices of it.
const MANY: u64 = 10_000;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hosts that are busy for longer than any test takes.
fn busy(database: &Database) -> (Host, Host) {
    let url = database.url();
    let config = format!(
        "[storage]\nurl = {url:?}\n[queue]\nslots = 1\nheartbeat_interval_ms = 300\ndead_after_ms = 1500\n"
    );
    let hosts = (Host::with_config(&config), Host::with_config(&config));
    let put = |name: &str| {
        hosts
            .0
            .client
            .put_module(name, &guests::wat(&format!("{name}.wat")))
    };
    put("sleep").expect(201);
    put("echo").expect(201);
    let limits = json!({"timeout_ms": 300_000, "cpu_ms": 300_000});
    let sleeping = json!({"module": "sleep", "limits": limits, "priority": "critical"});
    for host in [&hosts.0, &hosts.1] {
        let id = host.client.submit(&sleeping);
        host.client
            .task_when(&id, |task| task["status"] == "running");
    }
    hosts
}

fn ask(client: &Client, change: &str, expect: Option<u64>) -> Answer {
    let mut body = json!({"filter": {"module": "echo"}});
    if let Some(expect) = expect {
        body["expect"] = json!(expect);
    }
    client.post(&format!("/v1/tasks/{change}"), &body)
}

/// How many tasks of `echo` are in this state.
fn count(database: &Database, state: u8) -> u64 {
    let sql = format!(
        "SELECT count(*) FROM cofferdam.task t JOIN cofferdam.task_spec s ON s.seq = t.seq
         JOIN cofferdam.module_name n ON n.id = s.name WHERE n.name = 'echo' AND t.state = {state}"
    );
    database.run(&sql).trim().parse().expect("a number")
}

#[track_caller]
fn await_count(database: &Database, state: u8, wanted: impl Fn(u64) -> bool) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let tasks = count(database, state);
        if wanted(tasks) {
            return tasks;
        }
        assert!(Instant::now() < deadline, "{tasks} in state {state}");
    }
}

#[test]
fn a_bulk_change_that_died_with_its_host_is_continued_by_the_same_request() {
    const PENDING: u8 = 1;
    const CANCELLED: u8 = 5;
    let database = Database::fresh();
    let (mut first, second) = busy(&database);
    // No host runs them, also not one whose slot is free when it is started again.
    let later = json!({"module": "echo", "delay_ms": 3_600_000, "requires": ["nobody"]});
    let tasks = vec![later; usize::try_from(MANY).expect("few enough")];
    let batch = first
        .client
        .post("/v1/tasks/batch", &json!({"tasks": tasks}));
    batch.expect(202);
    for (change, from, to) in [
        ("cancel", PENDING, CANCELLED),
        ("retry", CANCELLED, PENDING),
    ] {
        // It comes as far as this task, and no further.
        let held = Lock::of_task(&database, MANY / 2);
        ask(&first.client, change, Some(MANY)).expect(202);
        await_count(&database, to, |tasks| tasks > 0);
        first.kill();
        drop(held);
        await_no_change(&database);
        let changed = count(&database, to);
        assert!(
            (1..MANY).contains(&changed),
            "{changed} changed before the host died"
        );
        assert_eq!(count(&database, from), MANY - changed);
        let left = ask(&second.client, change, None).expect(200).json();
        assert_eq!(left, json!({"matches": MANY - changed}));
        // More than that was expected, and that is fine.
        ask(&second.client, change, Some(MANY)).expect(202);
        await_count(&database, to, |tasks| tasks == MANY);
        first.restart();
    }
}

/// Waits until nothing that was on its way to the database can still be committed.
fn await_no_change(database: &Database) {
    let changing = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL";
    // Several times in a row, because a connection has no transaction between two of them.
    let mut quiet = 0;
    while quiet < 5 {
        quiet = match database.run(changing).trim() {
            "0" => quiet + 1,
            _ => 0,
        };
    }
}

/// A session that holds what every change of a task needs, until it is dropped.
struct Lock(Child);

impl Lock {
    /// Of one task, behind so many others.
    fn of_task(database: &Database, behind: u64) -> Lock {
        let task = format!("SELECT seq FROM cofferdam.task ORDER BY seq OFFSET {behind} LIMIT 1");
        Lock::taken(database, &format!("{task} FOR UPDATE"))
    }

    /// Of every task.
    fn of(database: &Database) -> Lock {
        Lock::taken(
            database,
            "LOCK TABLE cofferdam.task IN EXCLUSIVE MODE; SELECT 1",
        )
    }

    /// What a statement takes that prints a line once it has it.
    fn taken(database: &Database, statement: &str) -> Lock {
        let mut child = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", &database.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let input = child.stdin.as_mut().expect("a pipe");
        // Who does not say whose rows they want sees none.
        let whose = "SET cofferdam.whose = '*'";
        writeln!(input, "{whose}; BEGIN; {statement};").expect("it listens");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        output.read_line(&mut String::new()).expect("it answers");
        Lock(child)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn a_host_makes_few_bulk_changes_at_once_and_says_when_it_is_busy() {
    const TASKS: usize = 20;
    let database = Database::fresh();
    let (host, _other) = busy(&database);
    for _ in 0..TASKS {
        let later = json!({"module": "echo", "delay_ms": 3_600_000});
        host.client.submit(&later);
    }
    let lock = Lock::of(&database);
    let matches = json!({"matches": TASKS});
    for _ in 0..4 {
        let begun = ask(&host.client, "cancel", Some(TASKS as u64));
        assert_eq!(begun.expect(202).json(), matches);
    }
    let answer = ask(&host.client, "cancel", Some(TASKS as u64));
    assert!(
        !answer.header("retry-after").is_empty(),
        "{}",
        answer.text()
    );
    answer.expect_problem(503, "bulk_busy");
    ask(&host.client, "retry", None).expect_problem(503, "bulk_busy");
    drop(lock);
    await_count(&database, 5, |tasks| tasks == TASKS as u64);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask(&host.client, "retry", None);
        if answer.status == 200 {
            assert_eq!(answer.json(), matches);
            return;
        }
        answer.expect_problem(503, "bulk_busy");
        assert!(Instant::now() < deadline, "the places are not given back");
    }
}

#[test]
fn a_bulk_change_finds_no_more_than_the_operator_allows() {
    let host = Host::with_config("[queue]\nbulk_tasks_max = 3\n");
    let client = &host.client;
    client
        .put_module("echo", &guests::wat("echo.wat"))
        .expect(201);
    let later = || client.submit(&json!({"module": "echo", "delay_ms": 3_600_000}));
    let ids: Vec<String> = (0..4).map(|_| later()).collect();
    for expect in [None, Some(4)] {
        let problem = ask(client, "cancel", expect).expect_problem(400, "too_many_matches");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains('3'), "{problem}");
    }
    let statuses: Vec<Value> = ids
        .iter()
        .map(|id| client.task(id)["status"].clone())
        .collect();
    assert_eq!(statuses, vec![json!("pending"); 4]);
    client.delete(&format!("/v1/tasks/{}", ids[0])).expect(202);
    assert_eq!(
        ask(client, "cancel", None).expect(200).json(),
        json!({"matches": 3})
    );
}
