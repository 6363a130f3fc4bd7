//! Several hosts on one PostgreSQL database. What they survive is in `proof`.

use std::thread;
use std::time::{Duration, Instant};

use cofferdam_test_postgres::Database;
use serde_json::json;

use crate::support::guests;
use crate::support::host::Host;

/// The connections over which hosts hear each other.
const LISTENERS: &str = "FROM pg_stat_activity
    WHERE datname = current_database() AND query = 'LISTEN cofferdam'";

fn config(database: &Database) -> String {
    let url = database.url();
    format!(
        "[storage]\nurl = {url:?}\n[queue]\nheartbeat_interval_ms = 300\ndead_after_ms = 1500\n"
    )
}

#[test]
fn a_host_runs_what_another_was_given() {
    let database = Database::fresh();
    let mut first = Host::with_config(&config(&database));
    first
        .client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let second = Host::with_config(&config(&database));
    // Submitted here, run there or here, told by both.
    for (asked, told) in [(&first, &second), (&second, &first)] {
        let id = asked.client.submit(&json!({"module": "echo", "input": 7}));
        let task = told.client.final_task(&id);
        assert_eq!(task["status"], "completed", "{task}");
        let result = told.client.get(&format!("/v1/tasks/{id}/result"));
        assert_eq!(result.expect(200).json(), json!(7));
    }
    assert!(first.stop().success());
    // The module's bytes are in the database; this host has never seen them.
    let third = Host::with_config(&config(&database));
    let task = third
        .client
        .submit_and_wait(&json!({"module": "echo", "input": 8}));
    assert_eq!(task["status"], "completed", "{task}");
}

#[test]
fn a_cancel_reaches_the_host_that_runs_the_task() {
    let database = Database::fresh();
    let runs = Host::with_config(&config(&database));
    runs.client
        .put_module("sleep", &guests::wat("sleep.wat"))
        .expect(201);
    let limits = json!({"timeout_ms": 60_000, "cpu_ms": 60_000});
    let id = runs
        .client
        .submit(&json!({"module": "sleep", "limits": limits}));
    runs.client
        .task_when(&id, |task| task["status"] == "running");
    let other = Host::with_config(&config(&database));
    other.client.delete(&format!("/v1/tasks/{id}")).expect(202);
    let task = other.client.final_task(&id);
    assert_eq!(task["status"], "cancelled", "{task}");
}

/// One slot for each host, and polls and heartbeats that no test waits for.
fn patient(database: &Database) -> String {
    let url = database.url();
    format!(
        "[storage]\nurl = {url:?}\n[queue]\nslots = 1\npoll_interval_ms = 60000\n\
         heartbeat_interval_ms = 60000\ndead_after_ms = 600000\ndrain_timeout_ms = 1\ncancel_grace_ms = 1000\n"
    )
}

/// Shorter than any poll and heartbeat of theirs.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Waits until this many hosts listen, and gives what the server calls their connections.
#[track_caller]
fn await_listeners(database: &Database, hosts: usize) -> Vec<String> {
    let deadline = Instant::now() + AT_ONCE;
    loop {
        let listening = database.run(&format!("SELECT pid {LISTENERS}"));
        let pids: Vec<_> = listening.lines().map(str::to_owned).collect();
        if pids.len() == hosts {
            return pids;
        }
        assert!(Instant::now() < deadline, "they listen: {pids:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A host whose only slot a guest has that does not end by itself, another that has nothing to do, and
/// the guest's task. Each hears the other.
fn busy_and_idle(database: &Database) -> (Host, Host, String) {
    let busy = Host::with_config(&patient(database));
    busy.client
        .put_module("sleep", &guests::wat("sleep.wat"))
        .expect(201);
    busy.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let sleeping = busy.client.submit(&endless());
    busy.client
        .task_when(&sleeping, |task| task["status"] == "running");
    let idle = Host::with_config(&patient(database));
    await_listeners(database, 2);
    (busy, idle, sleeping)
}

fn endless() -> serde_json::Value {
    json!({"module": "sleep", "limits": {"timeout_ms": 300_000, "cpu_ms": 300_000}})
}

/// Has a host run a task, and checks that it was not found by a poll.
#[track_caller]
fn runs_at_once(asked: &Host) {
    let asked_at = Instant::now();
    let id = asked.client.submit(&json!({"module": "echo", "input": 7}));
    let task = asked.client.final_task(&id);
    assert_eq!(task["status"], "completed", "{task}");
    assert!(asked_at.elapsed() < AT_ONCE);
}

#[test]
fn work_of_a_busy_host_begins_at_an_idle_one_without_a_poll() {
    let database = Database::fresh();
    let (mut busy, idle, sleeping) = busy_and_idle(&database);
    runs_at_once(&busy);
    // What a host gives back when it goes is heard too.
    let gone_at = Instant::now();
    assert!(busy.stop().success());
    idle.client
        .task_when(&sleeping, |task| task["status"] == "running");
    assert!(gone_at.elapsed() < AT_ONCE);
}

#[test]
fn a_cancel_and_an_end_are_heard_by_other_hosts_at_once() {
    let database = Database::fresh();
    let (busy, idle, sleeping) = busy_and_idle(&database);
    let path = format!("/v1/tasks/{sleeping}?wait_ms=60000");
    let asked_at = Instant::now();
    thread::scope(|scope| {
        // The one records the end that is waited for at the other, a grace period after the cancel.
        let waiter = scope.spawn(|| idle.client.get(&path).expect(200).json());
        idle.client
            .delete(&format!("/v1/tasks/{sleeping}"))
            .expect(202);
        let task = waiter.join().unwrap();
        assert_eq!(task["status"], "cancelled", "{task}");
    });
    assert!(asked_at.elapsed() < AT_ONCE);
    drop(busy);
}

#[test]
fn a_host_whose_listening_connection_is_cut_listens_again() {
    let database = Database::fresh();
    let (busy, idle, sleeping) = busy_and_idle(&database);
    let before = await_listeners(&database, 2);
    database.run(&format!("SELECT pg_terminate_backend(pid) {LISTENERS}"));
    while await_listeners(&database, 2)
        .iter()
        .any(|pid| before.contains(pid))
    {}
    runs_at_once(&busy);
    let asked_at = Instant::now();
    idle.client
        .delete(&format!("/v1/tasks/{sleeping}"))
        .expect(202);
    busy.client.final_task(&sleeping);
    assert!(asked_at.elapsed() < AT_ONCE);
}
