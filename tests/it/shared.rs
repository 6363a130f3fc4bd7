//! Several hosts on one PostgreSQL database.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cofferdam_test_postgres::Database;
use serde_json::json;

use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::Client;

/// Tasks in the storm.
const TASKS: usize = 3000;
/// Connections that submit them.
const CONNECTIONS: usize = 24;
/// After how many acknowledged tasks one of the hosts is killed.
const KILLS_AFTER: [usize; 3] = [600, 1200, 1800];
/// After how many more the server ends every connection.
const CUT_AFTER: usize = 200;

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
        .put_module("spin", &guests::wat("spin.wat"))
        .expect(201);
    let limits = json!({"timeout_ms": 60_000, "cpu_ms": 60_000});
    let id = runs
        .client
        .submit(&json!({"module": "spin", "limits": limits}));
    runs.client
        .task_when(&id, |task| task["status"] == "running");
    let other = Host::with_config(&config(&database));
    other.client.delete(&format!("/v1/tasks/{id}")).expect(202);
    let task = other.client.final_task(&id);
    assert_eq!(task["status"], "cancelled", "{task}");
}

#[test]
fn nothing_acknowledged_is_lost_when_hosts_and_connections_die() {
    let database = Database::fresh();
    let config = config(&database);
    let mut hosts = [(); 3].map(|()| Host::with_config(&config));
    hosts[0]
        .client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let bases: Vec<_> = hosts
        .iter()
        .map(|host| Mutex::new(host.client.base.clone()))
        .collect();
    let acknowledged = Mutex::new(BTreeMap::new());
    let (next, acks) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= TASKS {
                        return;
                    }
                    let id = submit_until_acknowledged(&bases, number);
                    acknowledged.lock().unwrap().insert(id, number);
                    acks.fetch_add(1, Ordering::Release);
                }
            });
        }
        let wait_for = |number| {
            while acks.load(Ordering::Acquire) < number {
                thread::sleep(Duration::from_millis(1));
            }
        };
        for (victim, kill_after) in KILLS_AFTER.into_iter().enumerate() {
            wait_for(kill_after);
            hosts[victim].kill();
            wait_for(kill_after + CUT_AFTER);
            database.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'cofferdam' AND datname = current_database()",
            );
            hosts[victim].restart();
            *bases[victim].lock().unwrap() = hosts[victim].client.base.clone();
        }
    });

    let acknowledged = acknowledged.into_inner().unwrap();
    assert_eq!(acknowledged.len(), TASKS);
    let client = &hosts[0].client;
    for (id, number) in &acknowledged {
        let task = client.final_task(id);
        assert_eq!(task["status"], "completed", "{task}");
        let result = client.get(&format!("/v1/tasks/{id}/result")).expect(200);
        assert_eq!(result.json(), json!(number), "{task}");
    }
    let figure = |sql| database.run(sql).trim().parse::<usize>().unwrap();
    assert_eq!(
        figure("SELECT count(*) FROM cofferdam.task"),
        TASKS,
        "a task nobody was promised, or one twice"
    );
    assert_eq!(
        figure("SELECT count(*) FROM cofferdam.attempt WHERE failure IS NULL"),
        TASKS,
        "each has one accepted result"
    );
    for host in &mut hosts {
        assert!(host.stop().success());
    }
}

/// Submits a task under an idempotency key until a host acknowledges it, whichever that is.
fn submit_until_acknowledged(bases: &[Mutex<String>], number: usize) -> String {
    let key = format!("storm-{number}");
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key.as_str()),
    ];
    let body = json!({"module": "echo", "input": number}).to_string();
    for turn in number.. {
        let client = Client::new(bases[turn % bases.len()].lock().unwrap().clone());
        match client.try_send("POST", "/v1/tasks", &headers, body.as_bytes()) {
            Ok(answer) if answer.status == 202 || answer.status == 200 => {
                return answer.json()["task_id"].as_str().unwrap().to_owned();
            }
            Ok(answer) if answer.status != 503 => panic!("{} {}", answer.status, answer.text()),
            // That host is gone or going; ask the next one.
            Ok(_) | Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
    unreachable!("there is always a next turn")
}
