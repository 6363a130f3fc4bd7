//! What survives when the host dies.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::{Answer, Client};
use crate::support::storm::{self, Bases};

/// The number of tasks.
const TASKS: usize = 10_000;
/// Connections that submit them.
const CONNECTIONS: usize = 64;
/// The number of acknowledged tasks after which the host is killed.
const KILLS_AFTER: [usize; 3] = [2_000, 5_000, 8_000];

#[test]
fn nothing_acknowledged_is_lost_when_the_host_is_killed() {
    let mut host = Host::start();
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let bases = Bases::of([&host.client]);
    let acknowledged = storm::submit_all(TASKS, CONNECTIONS, &bases, |wait_for| {
        for kill_after in KILLS_AFTER {
            wait_for(kill_after);
            host.kill();
            host.restart();
            bases.moved(0, &host.client);
        }
    });
    storm::assert_completed(&host.client, &acknowledged);
    assert_eq!(
        count_tasks(&host.client),
        TASKS,
        "a task that was not acknowledged, or one that occurs twice"
    );
    assert!(host.stop().success());
    assert_integrity(&host);
}

fn count_tasks(client: &Client) -> usize {
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let page = client
            .get(&format!("/v1/tasks?limit=1000{cursor}"))
            .expect(200)
            .json();
        count += page["items"].as_array().unwrap().len();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return count,
        }
    }
}

fn assert_integrity(host: &Host) {
    let database = std::fs::read_dir(host.data())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "db"))
        .expect("the data directory has a database");
    let connection = rusqlite::Connection::open(database).unwrap();
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
}

#[test]
fn a_task_that_ran_when_the_host_died_runs_again() {
    let mut host = Host::start();
    host.client
        .put_module("spin", &guests::wat("spin.wat"))
        .expect(201);
    let id = host
        .client
        .submit(&json!({"module": "spin", "limits": {"timeout_ms": 2000}}));
    host.client
        .task_when(&id, |task| task["status"] == "running");
    host.kill();
    host.restart();
    let task = host.client.final_task(&id);
    assert_eq!(
        (&task["status"], &task["attempt"]),
        (&json!("failed"), &json!(2)),
        "{task}"
    );
    let attempts = host
        .client
        .get(&format!("/v1/tasks/{id}/attempts"))
        .expect(200)
        .json();
    assert_eq!(attempts["items"][0]["error"]["kind"], "lost", "{attempts}");
    assert_eq!(
        attempts["items"][1]["error"]["kind"], "timeout",
        "{attempts}"
    );
}

#[test]
fn a_task_that_kills_every_host_ends_lost_and_others_go_on() {
    let mut host = Host::start();
    host.client
        .put_module("spin", &guests::wat("spin.wat"))
        .expect(201);
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let spin = |max_lost: u32| {
        json!({"module": "spin", "limits": {"timeout_ms": 60_000, "cpu_ms": 60_000},
            "retry": {"max_lost": max_lost}})
    };
    let poison = host.client.submit(&spin(2));
    // It runs beside the poison task each time, and its policy allows one loss more.
    let bystander = host.client.submit(&spin(3));
    for _host in 0..3 {
        for id in [&poison, &bystander] {
            host.client
                .task_when(id, |task| task["status"] == "running");
        }
        let other = host
            .client
            .submit_and_wait(&json!({"module": "echo", "input": 1}));
        assert_eq!(other["status"], "completed", "{other}");
        host.kill();
        host.restart();
    }
    let task = host.client.task(&poison);
    assert_eq!(task["status"], "failed", "{task}");
    assert_eq!(task["error"]["kind"], "lost", "{task}");
    assert_eq!((&task["attempt"], &task["lost"]), (&json!(3), &json!(3)));
    let dead = host.client.get("/v1/tasks?label=dead").expect(200).json();
    assert_eq!(dead["items"][0]["task_id"], poison.as_str(), "{dead}");
    assert_eq!(dead["items"][1], Value::Null, "{dead}");
    let attempts = host
        .client
        .get(&format!("/v1/tasks/{poison}/attempts"))
        .expect(200)
        .json();
    let kinds: Vec<&Value> = attempts["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| &attempt["error"]["kind"])
        .collect();
    assert_eq!(kinds, ["lost", "lost", "lost"], "{attempts}");
    host.client
        .get(&format!("/v1/tasks/{poison}/result"))
        .expect_problem(422, "lost");

    let spared = host
        .client
        .task_when(&bystander, |task| task["status"] == "running");
    assert_eq!(spared["attempt"], 4, "{spared}");
    host.client
        .delete(&format!("/v1/tasks/{bystander}"))
        .expect(202);
    assert_eq!(host.client.final_task(&bystander)["status"], "cancelled");
    assert!(host.stop().success());
    assert_integrity(&host);
}

#[test]
fn a_second_host_on_the_same_data_is_refused() {
    let host = Host::start();
    let output = std::process::Command::new(crate::support::host::program())
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(host.data())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("another"), "{message}");
}

#[test]
fn sigterm_drains_and_gives_back_attempts_that_cannot_finish() {
    let mut host = Host::with_config("[queue]\ndrain_timeout_ms = 200\n");
    host.client
        .put_module("spin", &guests::wat("spin.wat"))
        .expect(201);
    let id = host
        .client
        .submit(&json!({"module": "spin", "limits": {"timeout_ms": 3000}}));
    host.client
        .task_when(&id, |task| task["status"] == "running");
    assert!(host.stop().success());
    host.restart();
    let task: Value = host.client.final_task(&id);
    assert_eq!(task["error"]["kind"], "timeout", "{task}");
}

#[test]
fn a_draining_host_refuses_new_work_and_answers_everything_else() {
    let mut host = Host::start();
    for name in ["sleep", "echo"] {
        host.client
            .put_module(name, &guests::wat(&format!("{name}.wat")))
            .expect(201);
    }
    let sleep = json!({"module": "sleep", "limits": {"timeout_ms": 4000}});
    let ids = [host.client.submit(&sleep), host.client.submit(&sleep)];
    // A claimed task may not have begun; it is then given back at once.
    await_that(|| host.client.get("/health").expect(200).json()["active_tasks"] == 2);
    host.terminate();
    await_that(|| host.client.get("/readyz").status == 503);
    host.client.get("/readyz").expect_problem(503, "draining");
    host.client.get("/livez").expect(200);
    host.client.get("/metrics").expect(200);
    let refused = |answer: Answer| {
        assert_ne!(answer.header("retry-after"), "");
        answer.expect_problem(503, "draining");
    };
    refused(host.client.post("/v1/tasks", &json!({"module": "echo"})));
    refused(host.client.run("echo", "text/plain", b"late"));
    refused(host.client.put_module("late", &guests::wat("echo.wat")));
    refused(
        host.client
            .post("/v1/exec", &json!({"language": "python", "code": "1"})),
    );
    let events = thread::scope(|scope| {
        let path = format!("/v1/tasks/{}/events", ids[1]);
        let client = &host.client;
        let events = scope.spawn(move || client.get(&path).expect(200).text());
        host.client
            .delete(&format!("/v1/tasks/{}", ids[0]))
            .expect(202);
        host.client
            .get(&format!("/v1/tasks/{}/result?wait_ms=1", ids[1]))
            .expect(202);
        events.join().unwrap()
    });
    // The watcher hears the end, which the drain waited for.
    assert!(
        events.contains("event: result") && events.contains("timeout"),
        "{events}"
    );
    assert!(host.wait().success());
    assert!(
        host.log().contains("waiting for running attempts"),
        "{}",
        host.log()
    );
}

#[track_caller]
fn await_that(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long");
        thread::sleep(Duration::from_millis(5));
    }
}
