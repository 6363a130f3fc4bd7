//! Retention, lists of changes, and removal.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::Client;

fn host(config: &str, wats: &[&str]) -> Host {
    let host = Host::with_config(config);
    for wat in wats {
        host.client
            .put_module(wat.trim_end_matches(".wat"), &guests::wat(wat))
            .expect(201);
    }
    host
}

fn files_below(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.path() {
            path if path.is_dir() => files_below(&path),
            _ => 1,
        })
        .sum()
}

#[test]
fn a_purged_task_is_gone_with_its_files() {
    let host = Host::with_config("[http]\ninline_body_bytes = 1024\n");
    host.client
        .put_module("report", &guests::built("report"))
        .expect(201);
    let files =
        || files_below(&host.data().join("spool")) + files_below(&host.data().join("artifacts"));
    assert_eq!(files(), 0);
    let sales = "tea 1.5\n".repeat(10_000);
    let submit = || {
        host.client.send(
            "POST",
            "/v1/tasks?module=report&arg=Sales&wait_ms=60000",
            &[("content-type", "text/plain"), ("idempotency-key", "once")],
            sales.as_bytes(),
        )
    };
    let task = submit().expect(200).json();
    assert_eq!(task["status"], "completed", "{task}");
    assert!(files() >= 2, "the input and the artifact are files");
    let id = task["task_id"].as_str().unwrap();
    host.client
        .delete(&format!("/v1/tasks/{id}?purge=maybe"))
        .expect(400);
    let purge = |id: &str| host.client.delete(&format!("/v1/tasks/{id}?purge=true"));
    purge(id).expect(204);
    assert_eq!(files(), 0);
    for part in [
        "",
        "/result",
        "/logs?stream=stderr",
        "/artifacts",
        "/attempts",
        "/events",
    ] {
        host.client
            .get(&format!("/v1/tasks/{id}{part}"))
            .expect(404);
    }
    purge(id).expect(404);
    // The key is free again.
    let next = submit().expect(200).json();
    assert_ne!(next["task_id"], task["task_id"]);

    let waiting = host
        .client
        .submit(&json!({"module": "report", "delay_ms": 3_600_000}));
    purge(&waiting).expect_problem(409, "task_not_final");
    host.client
        .delete(&format!("/v1/tasks/{waiting}"))
        .expect(202);
    purge(&waiting).expect(204);
}

/// The knowledge of a client that only asks for changes.
struct Listener {
    client: Client,
    since: String,
    told: BTreeMap<String, String>,
}

impl Listener {
    fn new(host: &Host) -> Listener {
        let client = Client::new(host.client.base.clone());
        let page = client.get("/v1/tasks?limit=1").expect(200).json();
        Listener {
            client,
            since: page["as_of"].as_str().unwrap().to_owned(),
            told: BTreeMap::new(),
        }
    }

    fn ask(&mut self) {
        let path = format!("/v1/tasks?limit=7&since={}", self.since);
        let page = self.client.get(&path).expect(200).json();
        for task in page["items"].as_array().unwrap() {
            let text = |field: &str| task[field].as_str().unwrap().to_owned();
            self.told.insert(text("task_id"), text("status"));
        }
        page["as_of"].as_str().unwrap().clone_into(&mut self.since);
    }
}

#[test]
fn a_client_that_asks_for_changes_by_number_misses_none() {
    const THREADS: usize = 8;
    const TASKS: usize = 40;
    let host = host("", &["echo.wat"]);
    let mut listener = Listener::new(&host);
    let submitting = |client: Client| {
        move || {
            for number in 0..TASKS {
                client.submit(&json!({"module": "echo", "input": number}));
            }
        }
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(submitting(Client::new(host.client.base.clone())));
        }
        let completed = |listener: &Listener| {
            let all = listener.told.values();
            all.filter(|status| *status == "completed").count()
        };
        while completed(&listener) < THREADS * TASKS {
            listener.ask();
            assert!(Instant::now() < deadline, "{} told", completed(&listener));
        }
    });
}

#[test]
fn a_since_is_a_number_of_this_host_or_a_time() {
    let host = host("", &["echo.wat"]);
    let echo = |number: u32| {
        host.client
            .submit_and_wait(&json!({"module": "echo", "input": number}))
    };
    let (first, second) = (echo(1), echo(2));
    let listed = |query: &str| {
        let page = host.client.get(&format!("/v1/tasks?{query}")).expect(200);
        let page: Value = page.json();
        let ids: Vec<Value> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["task_id"].clone())
            .collect();
        (ids, page["as_of"].as_str().unwrap().to_owned())
    };
    let since = |task: &Value| format!("since={}", task["updated_at"].as_str().unwrap());
    let both = [first["task_id"].clone(), second["task_id"].clone()];
    assert_eq!(listed("since=2020-01-01T00:00:00Z").0, both);
    assert!(listed(&since(&second)).0.ends_with(&both[1..]));
    assert_eq!(listed("since=2100-01-01T00:00:00Z").0, [Value::Null; 0]);
    let (_, as_of) = listed("");
    assert_eq!(listed(&format!("since={as_of}")), (vec![], as_of));
    for bad in [
        "c",
        "c-1",
        "cx",
        "c99999999999999999999",
        "c123456789",
        "12",
    ] {
        host.client
            .get(&format!("/v1/tasks?since={bad}"))
            .expect_problem(400, "invalid_parameter");
    }
}

#[test]
fn a_full_database_refuses_tasks_and_records_ends() {
    let host = host(
        "[storage]\ndatabase_budget_bytes = 16777216\n",
        &["block.wat", "echo.wat"],
    );
    let running = host
        .client
        .submit(&json!({"module": "block", "limits": {"timeout_ms": 4000}}));
    let large = json!({"module": "echo", "delay_ms": 3_600_000, "input": "x".repeat(400_000)});
    let mut waiting = Vec::new();
    let refused = loop {
        let answer = host.client.post("/v1/tasks", &large);
        match answer.status {
            202 => waiting.push(answer.json()["task_id"].as_str().unwrap().to_owned()),
            _ => break answer,
        }
        assert!(waiting.len() < 60, "nothing is refused");
    };
    let problem = refused.expect_problem(507, "storage_full");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("the limit is 16777216"), "{detail}");
    let task = host.client.final_task(&running);
    assert_eq!(task["error"]["kind"], "timeout", "{task}");
    for id in &waiting {
        host.client.delete(&format!("/v1/tasks/{id}")).expect(202);
        host.client
            .delete(&format!("/v1/tasks/{id}?purge=true"))
            .expect(204);
    }
    host.client.submit_and_wait(&json!({"module": "echo"}));
}
