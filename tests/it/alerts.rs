//! What a host says of its own condition, and what it does when its memory runs short.

mod rules;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::callbacks::receiver::Receiver;
use crate::support::guests;
use crate::support::host::Host;

/// How long a level of the guard, or the end of an alert, may be awaited.
const PATIENCE: Duration = Duration::from_secs(60);
/// Guests of 64 MiB that are too much together.
const HOLDERS: usize = 6;

fn alert(host: &Host, rule: &str) -> Value {
    let alerts = host.client.get("/v1/alerts").expect(200).json();
    let items = alerts["items"].as_array().unwrap();
    let found = items.iter().find(|item| item["rule"] == rule);
    found.unwrap_or_else(|| panic!("{alerts}")).clone()
}

#[track_caller]
fn becomes(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A guest that holds its memory until its caller goes away.
fn hold(host: &Host) -> TcpStream {
    let mut stream = host.connect();
    let head = "POST /v1/run/hold-memory?timeout_ms=120000 HTTP/1.1\r\nHost: localhost\r\n\
                Content-Length: 0\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// A host on which those guests are too much, whatever an idle one takes.
fn small_host(more: &str) -> Host {
    let host = Host::with_config(&format!(
        "[sandbox]\nisolation = \"shared\"\n[alerts]\nmemory_critical_bytes = 335544320\n\
         backlog_tasks = 2\nslow_task_ms = 0\n{more}"
    ));
    for (name, file) in [("hold-memory", "hold-memory.wat"), ("echo", "echo.wat")] {
        host.client.put_module(name, &guests::wat(file)).expect(201);
    }
    host
}

#[test]
fn a_host_that_runs_short_of_memory_refuses_work_and_recovers() {
    let receiver = Receiver::start();
    let url = receiver.url("/alerts");
    let egress = "[egress]\nallow_private = [\"127.0.0.1\"]";
    let host = small_host(&format!("url = \"{url}\"\nsecret = \"a secret\"\n{egress}"));
    let client = &host.client;
    let done = client.submit_and_wait(&json!({"module": "echo", "input": 1}));
    assert_eq!(alert(&host, "memory_critical")["state"], "ok");

    let holders: Vec<TcpStream> = (0..HOLDERS).map(|_| hold(&host)).collect();
    let run = || client.run("echo", "text/plain", b"x");
    becomes("it refuses work", || run().status == 503);
    let refused = run();
    assert_eq!(refused.header("retry-after"), "5");
    refused.expect_problem(503, "memory_short");
    let task = json!({"module": "echo", "input": 1});
    client
        .post("/v1/tasks", &task)
        .expect_problem(503, "memory_short");
    client.get("/readyz").expect_problem(503, "memory_short");
    // What it has is still there for its readers.
    let id = done["task_id"].as_str().unwrap();
    assert_eq!(client.task(id)["status"], "completed");
    let critical = alert(&host, "memory_critical");
    assert_eq!(critical["state"], "firing");
    assert_eq!(critical["threshold"], 335_544_320);
    assert!(critical["value"].as_u64().unwrap() >= 335_544_320);
    let alerts = client.get("/v1/alerts").expect(200).json();
    assert_eq!(alerts["memory"]["pressure"], "refuse");
    let metrics = client.get("/metrics").expect(200).text();
    for line in [
        "cofferdam_alert{rule=\"memory_critical\"} 1",
        "cofferdam_alert{rule=\"backlog\"} 0",
        "cofferdam_memory_pressure 3",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    let told = &receiver.await_messages("/alerts", 1)[0];
    assert!(told.header("webhook-signature").starts_with("v1,"));
    let message = told.json();
    assert_eq!(message["type"], "alerts");
    let rules = message["alerts"].as_array().unwrap();
    assert!(rules.iter().all(|rule| rule["state"] == "firing"));

    drop(holders);
    becomes("it takes work again", || run().status == 200);
    client.submit_and_wait(&task);
    becomes("the alert ends", || {
        alert(&host, "memory_critical")["state"] == "ok"
    });
    let told = |state: &str| {
        let messages = receiver.messages("/alerts");
        let alerts = messages
            .iter()
            .flat_map(|message| message.json()["alerts"].as_array().unwrap().clone());
        let mut of_rule = alerts.filter(|alert| alert["rule"] == "memory_critical");
        of_rule.any(|alert| alert["state"] == state)
    };
    becomes("it is told", || told("firing") && told("ok"));
}

#[test]
fn tasks_that_pile_up_are_an_alert_and_a_rule_can_be_switched_off() {
    let host = small_host("");
    let later = json!({"module": "echo", "input": 1, "delay_ms": 3_600_000});
    let ids = [host.client.submit(&later), host.client.submit(&later)];
    becomes("the backlog is told", || {
        alert(&host, "backlog")["state"] == "firing"
    });
    assert_eq!(alert(&host, "backlog")["value"], 2);
    assert_eq!(alert(&host, "slow_task")["state"], "off");
    for id in ids {
        host.client.delete(&format!("/v1/tasks/{id}")).expect(202);
    }
    becomes("the backlog has gone", || {
        alert(&host, "backlog")["state"] == "ok"
    });
}

#[test]
fn figures_of_the_last_while_are_kept_for_charts() {
    let host = small_host("");
    let client = &host.client;
    for _ in 0..3 {
        client.run("echo", "text/plain", b"x").expect(200);
    }
    client.submit_and_wait(&json!({"module": "echo", "input": 1}));
    let wat = guests::wat("trap.wat");
    client.put_module("trap", &wat).expect(201);
    client
        .run("trap", "text/plain", b"")
        .expect_problem(422, "trap");
    let series = || {
        client
            .get("/v1/stats/series?range=1h&step=5s")
            .expect(200)
            .json()
    };
    let sum = |values: &Value| -> u64 {
        let values = values.as_array().into_iter().flatten();
        values.filter_map(Value::as_u64).sum()
    };
    becomes("what ran is in a point", || {
        sum(&series()["completed"]) == 4
    });
    let series = series();
    assert_eq!(series["step_ms"], 5000);
    assert_eq!(sum(&series["failed"]["trap"]), 1);
    let points = series["at"].as_array().unwrap().len();
    for list in [
        &series["wait_us"]["p50"],
        &series["run_us"]["p99"],
        &series["slots"],
    ] {
        assert_eq!(list.as_array().unwrap().len(), points, "{series}");
    }
    assert!(sum(&series["run_us"]["p99"]) > 0 && sum(&series["memory_bytes"]) > 0);
    let coarse = client.get("/v1/stats/series?range=24h").expect(200).json();
    assert_eq!(coarse["step_ms"], 60_000);
    for bad in ["range=2h&step=5s", "range=25h", "step=7s", "range=1d"] {
        client
            .get(&format!("/v1/stats/series?{bad}"))
            .expect_problem(400, "invalid_parameter");
    }
}
