//! Schedules: each instant submits its task once, whatever happens to hosts, and everybody sees what came of it.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use crate::cli::{cofferdam, text};
use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::{Answer, Client};

/// The longest that anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn host(config: &str) -> Host {
    let host = Host::with_config(config);
    for name in ["echo", "sleep"] {
        let wat = guests::wat(&format!("{name}.wat"));
        host.client.put_module(name, &wat).expect(201);
    }
    host
}

fn put(client: &Client, name: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    let path = format!("/v1/schedules/{name}");
    client.send("PUT", &path, &headers, body.to_string().as_bytes())
}

fn get(client: &Client, name: &str) -> Value {
    client
        .get(&format!("/v1/schedules/{name}"))
        .expect(200)
        .json()
}

/// The schedule, once it is as wanted.
#[track_caller]
fn when(client: &Client, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let schedule = get(client, name);
        if wanted(&schedule) {
            return schedule;
        }
        assert!(Instant::now() < deadline, "{schedule}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The instants of which there are tasks, in their order; each has one.
fn instants(client: &Client) -> Vec<String> {
    let listed = client.get("/v1/tasks?limit=1000").expect(200).json();
    let tasks = listed["items"].as_array().unwrap();
    let instant = |task: &Value| {
        task["metadata"]["scheduled_for"]
            .as_str()
            .map(str::to_owned)
    };
    let all: Vec<String> = tasks.iter().filter_map(instant).collect();
    let different: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(all.len(), different.len(), "{all:?}");
    different.into_iter().collect()
}

/// Holds that the instants follow each other second by second.
fn assert_without_gaps(instants: &[String]) {
    let millis = |text: &String| {
        let at: jiff::Timestamp = text.parse().unwrap();
        at.as_millisecond()
    };
    for pair in instants.windows(2) {
        assert_eq!(millis(&pair[1]) - millis(&pair[0]), 1000, "{instants:?}");
    }
}

#[test]
fn a_schedule_submits_its_task_at_its_instants() {
    let host = host("");
    let client = &host.client;
    let body =
        json!({"every_ms": 1000, "task": {"module": "echo", "input": 7, "metadata": {"own": 1}}});
    let made = put(client, "often", &body).expect(201).json();
    assert_eq!(made["next"].as_array().unwrap().len(), 5, "{made}");
    assert_eq!(
        (&made["every_ms"], &made["catch_up"]),
        (&json!(1000), &json!("none"))
    );
    let fired = when(client, "often", |it| it["last"]["outcome"] == "submitted");
    let task = client.final_task(fired["last"]["task_id"].as_str().unwrap());
    assert_eq!(task["status"], "completed", "{task}");
    let metadata = json!({"own": 1, "schedule": "often", "scheduled_for": fired["last"]["at"]});
    assert_eq!(task["metadata"], metadata);
    let listed = client.get("/v1/schedules").expect(200).json();
    assert_eq!(listed["items"][0]["name"], "often");
    let metrics = client.send("GET", "/metrics", &[("accept", "text/plain")], b"");
    let counted = "\ncofferdam_schedule_firings_total{outcome=\"submitted\"} ";
    assert!(metrics.text().contains(counted));

    put(
        client,
        "often",
        &json!({"every_ms": 1000, "paused": true, "task": {"module": "echo"}}),
    )
    .expect(200);
    let paused = get(client, "often");
    assert_eq!(
        (&paused["paused"], &paused["next"]),
        (&json!(true), &json!([]))
    );
    let run = client.post("/v1/schedules/often/run", &json!({}));
    let run = run.expect(202).json();
    let task = client.final_task(run["task_id"].as_str().unwrap());
    assert_eq!(task["status"], "completed", "{task}");
    assert_eq!(get(client, "often")["last"]["task_id"], run["task_id"]);
    client.delete("/v1/schedules/often").expect(204);
    for gone in ["often", "NO"] {
        let path = format!("/v1/schedules/{gone}");
        client.get(&path).expect_problem(404, "schedule_not_found");
    }
}

#[test]
fn a_schedule_that_cannot_be_is_refused() {
    let host = host("");
    let client = &host.client;
    let task = json!({"module": "echo"});
    let refused = |body: &Value, code: &str, field: &str| {
        let problem = put(client, "s", body).expect_problem(400, code);
        assert_eq!(problem["field"], field, "{problem}");
    };
    refused(
        &json!({"cron": "0 99 * * *", "task": task}),
        "invalid_field",
        "cron",
    );
    refused(
        &json!({"cron": "0 0 31 2 *", "task": task}),
        "invalid_field",
        "cron",
    );
    let zone = json!({"cron": "0 0 * * *", "time_zone": "Mars/Olympus", "task": task});
    refused(&zone, "invalid_field", "time_zone");
    refused(
        &json!({"every_ms": 10, "task": task}),
        "invalid_field",
        "every_ms",
    );
    let above = json!({"every_ms": 1000, "task": {"module": "echo", "limits": {"timeout_ms": 1e15 as u64}}});
    put(client, "s", &above).expect(400);
    let unknown = json!({"every_ms": 1000, "task": {"module": "nothing"}});
    put(client, "s", &unknown).expect_problem(404, "module_not_found");
    put(client, "S", &json!({"every_ms": 1000, "task": task})).expect(400);
    let none = client.get("/v1/schedules").expect(200).json();
    assert_eq!(none["items"], json!([]));
}

#[test]
fn a_page_of_schedules_ends_where_their_tasks_are_long() {
    let host = host("");
    let client = &host.client;
    let task = json!({"module": "echo", "input": "x".repeat(60_000)});
    for number in 10..70 {
        let body = json!({"every_ms": 3_600_000, "task": task});
        put(client, &format!("s{number}"), &body).expect(201);
    }
    let page = |query: &str| {
        let listed = client.get(&format!("/v1/schedules?limit=1000{query}"));
        let listed = listed.expect(200).json();
        let names = listed["items"].as_array().unwrap().iter();
        let names: Vec<String> = names.map(|it| it["name"].to_string()).collect();
        (names, listed["next_cursor"].as_str().map(str::to_owned))
    };
    let (first, cursor) = page("");
    let (second, end) = page(&format!("&cursor={}", cursor.unwrap()));
    assert_eq!((first.len(), second.len(), end), (50, 10, None));
    assert_eq!((&*first[49], &*second[0]), ("\"s59\"", "\"s60\""));
}

#[test]
fn an_instant_while_the_last_task_goes_on_is_as_the_schedule_says() {
    let host = host("");
    let client = &host.client;
    let task = json!({"module": "sleep", "limits": {"timeout_ms": 600_000}});
    let body = json!({"every_ms": 1000, "overlap": "skip", "task": task});
    put(client, "skips", &body).expect(201);
    let skipped = when(client, "skips", |it| it["last"]["outcome"] == "skipped");
    let first = skipped["last"]["task_id"].as_str().unwrap();
    assert_eq!(instants(client).len(), 1);
    client.delete(&format!("/v1/tasks/{first}"));
    client.final_task(first);
    when(client, "skips", |it| {
        it["last"]["outcome"] == "submitted" && it["last"]["task_id"] != *first
    });
    client.delete("/v1/schedules/skips").expect(204);

    let body = json!({"every_ms": 1000, "overlap": "cancel", "task": task});
    put(client, "cancels", &body).expect(201);
    let first = when(client, "cancels", |it| it["last"]["outcome"] == "submitted");
    let first = first["last"]["task_id"].as_str().unwrap();
    assert_eq!(client.final_task(first)["status"], "cancelled");
    when(client, "cancels", |it| it["last"]["task_id"] != *first);
}

#[test]
fn a_schedule_submits_a_workflow() {
    let host = host("");
    let client = &host.client;
    let waits = json!({"nodes": [{"id": "a", "wait": {"signal": "go"}}]});
    let cycle = json!({"nodes": [{"id": "a", "module": "echo"}], "edges": [["a", "a"]]});
    let refused = put(client, "w", &json!({"every_ms": 1000, "workflow": cycle}));
    refused.expect_problem(400, "invalid_workflow");
    let body = json!({"every_ms": 1000, "overlap": "skip", "workflow": waits});
    let made = put(client, "w", &body).expect(201).json();
    assert_eq!((&made["workflow"], &made["task"]), (&waits, &Value::Null));
    let skipped = when(client, "w", |it| it["last"]["outcome"] == "skipped");
    let first = skipped["last"]["workflow_id"].as_str().unwrap().to_owned();
    let listed = client.get("/v1/workflows").expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    client.delete(&format!("/v1/workflows/{first}")).expect(202);
    let next = when(client, "w", |it| {
        it["last"]["outcome"] == "submitted" && it["last"]["workflow_id"] != *first
    });
    assert_eq!(next["last"]["task_id"], Value::Null);
    let run = client.post("/v1/schedules/w/run", &json!({})).expect(202);
    let run = run.json();
    assert_eq!(
        (&run["status"], &run["task_id"]),
        (&json!("running"), &Value::Null),
        "{run}"
    );
}

#[test]
fn a_task_that_cannot_be_submitted_is_told_with_its_reason() {
    let host = host("");
    let client = &host.client;
    let body = json!({"every_ms": 1000, "task": {"module": "echo"}});
    put(client, "broken", &body).expect(201);
    client.delete("/v1/modules/echo").expect(204);
    let told = when(client, "broken", |it| it["last"]["outcome"] == "refused");
    let why = told["last"]["error"].as_str().unwrap();
    assert!(why.contains("echo"), "{told}");
    assert_eq!(told["last"]["task_id"], Value::Null);
    // It goes on as soon as it can.
    client
        .put_module("echo", &guests::wat("echo.wat"))
        .expect(201);
    when(client, "broken", |it| it["last"]["outcome"] == "submitted");
}

#[test]
fn what_was_missed_while_nobody_was_there_is_made_up_for() {
    let mut host = host("");
    let task = json!({"module": "echo"});
    let body = json!({"every_ms": 1000, "catch_up": "all", "task": task});
    put(&host.client, "all", &body).expect(201);
    when(&host.client, "all", |it| {
        it["last"]["outcome"] == "submitted"
    });
    host.kill();
    // Instants pass, which is what this is about.
    thread::sleep(Duration::from_secs(3));
    host.restart();
    let restarted = jiff::Timestamp::now().to_string();
    when(&host.client, "all", |it| {
        it["last"]["at"].as_str().is_some_and(|at| at > &*restarted)
    });
    let instants = instants(&host.client);
    assert!(instants.len() >= 4, "{instants:?}");
    assert_without_gaps(&instants);
}

#[test]
fn an_instant_is_fired_once_over_all_hosts() {
    let database = Database::fresh();
    let url = database.url();
    let config = format!(
        "[storage]\nurl = {url:?}\n[queue]\nheartbeat_interval_ms = 300\ndead_after_ms = 1500\n"
    );
    let first = host(&config);
    let mut dies = Host::with_config(&config);
    let third = Host::with_config(&config);
    let body = json!({"every_ms": 1000, "catch_up": "all", "task": {"module": "echo"}});
    put(&dies.client, "shared", &body).expect(201);
    when(&third.client, "shared", |_| {
        instants(&third.client).len() >= 3
    });
    dies.kill();
    when(&first.client, "shared", |_| {
        instants(&first.client).len() >= 6
    });
    first.client.delete("/v1/schedules/shared").expect(204);
    assert_without_gaps(&instants(&third.client));
}

#[test]
fn schedules_are_changed_from_the_command_line() {
    let host = host("");
    let done = |args: &[&str]| {
        let mut all = vec!["--server", &host.client.base];
        all.extend(args);
        let output = cofferdam(&all, b"");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let zone = ["--time-zone", "Europe/Berlin", "--input", "[1]"];
    let put = ["schedule", "put", "nightly", "echo", "--cron", "0 3 * * *"];
    let told = done(&[&put[..], &zone].concat());
    assert!(
        told.starts_with("nightly ") && told.contains("0 3 * * * (Europe/Berlin), next 2"),
        "{told}"
    );
    assert_eq!(done(&["schedule", "list"]).lines().count(), 1);
    let task = done(&["schedule", "run", "nightly"]);
    let task = host.client.final_task(task.trim());
    assert_eq!(task["status"], "completed", "{task}");
    let shown: Value =
        serde_json::from_str(&done(&["--json", "schedule", "show", "nightly"])).unwrap();
    assert_eq!(shown["task"], json!({"module": "echo", "input": [1]}));
    done(&["schedule", "rm", "nightly"]);
    assert_eq!(done(&["schedule", "list"]), "");
}
