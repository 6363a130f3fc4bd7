//! A process for one run: who has one, what it looks like from outside, and what the host learns of modules
//! that does not ask for one.

use std::time::Duration;

use serde_json::{Value, json};

use super::await_that;
use crate::cli::{cofferdam, text};
use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::Client;

/// How far a limit may be overrun.
const SLACK: Duration = Duration::from_millis(20);

fn host(config: &str) -> Host {
    let host = Host::with_config(config);
    for name in ["echo", "compute", "leave-and-spin"] {
        let wat = guests::wat(&format!("{name}.wat"));
        host.client.put_module(name, &wat).expect(201);
    }
    host
}

/// Where a run took place that is to end well.
fn place(client: &Client, target: &str, input: &str) -> String {
    let answer = client.run(target, "text/plain", input.as_bytes());
    answer.expect(200).header("cofferdam-isolation").to_owned()
}

/// A figure of `guest_processes`.
fn processes(client: &Client, name: &str) -> u64 {
    let ready = client.get("/readyz").json();
    ready["guest_processes"][name].as_u64().expect("a number")
}

#[test]
fn a_run_that_may_compute_for_long_has_a_process_for_itself() {
    let host = host("[sandbox]\ndedicated_above_ms = 5000\n");
    let client = &host.client;
    for (query, expected) in [
        ("isolation=process&cpu_ms=5000", "process"),
        ("isolation=process&cpu_ms=5001", "dedicated"),
        ("isolation=shared&cpu_ms=5001", "shared"),
        ("isolation=dedicated&cpu_ms=100", "dedicated"),
        ("isolation=dedicated&fuel=1000000000", "dedicated"),
        ("cpu_ms=5001", "shared"),
    ] {
        assert_eq!(
            place(client, &format!("compute?{query}"), "0"),
            expected,
            "{query}"
        );
    }
    // The two that ran without checks did so one after the other.
    assert!(processes(client, "live") >= 3);
    assert_eq!(processes(client, "unchecked"), 1);
    let metrics = client.get("/metrics").expect(200).text();
    assert!(
        metrics.contains("\ncofferdam_guest_processes_unchecked 1\n"),
        "{metrics}"
    );
    let task = json!({
        "module": "compute", "isolation": "dedicated", "content_type": "text/plain", "input_base64": "MA==",
    });
    let task = client.submit_and_wait(&task);
    assert_eq!(
        (&task["status"], &task["isolation"]),
        (&json!("completed"), &json!("dedicated"))
    );
}

#[test]
fn a_guest_that_is_ended_with_its_process_is_told_as_any_other() {
    let host = host("");
    let client = &host.client;
    let mut overrun = Vec::new();
    for _ in 0..10 {
        for (limits, kind) in [
            ("timeout_ms=200", "timeout"),
            ("cpu_ms=200&timeout_ms=60000", "cpu_exhausted"),
        ] {
            let target = format!("leave-and-spin?isolation=dedicated&{limits}");
            let problem = client.run(&target, "text/plain", b"");
            let problem = problem.expect_problem(422, kind);
            assert_eq!(problem["isolation"], "dedicated");
            assert_eq!(
                (&problem["stdout"], &problem["stderr"]),
                (&json!("left"), &json!("left"))
            );
            let usage = &problem["usage"];
            assert_eq!(
                (&usage["disk_bytes"], &usage["peak_memory_bytes"]),
                (&json!(4), &json!(196_608))
            );
            let spent = if kind == "timeout" {
                "duration_us"
            } else {
                "cpu_us"
            };
            let spent = Duration::from_micros(usage[spent].as_u64().expect("a number"));
            overrun.push(spent.saturating_sub(Duration::from_millis(200)));
        }
    }
    overrun.sort();
    // On a busy machine some are late.
    assert!(overrun[overrun.len() / 2] < SLACK, "{overrun:?}");

    let id = client.submit(&json!({
        "module": "leave-and-spin", "isolation": "dedicated", "limits": {"timeout_ms": 60_000, "cpu_ms": 60_000},
    }));
    client.task_when(&id, |task| task["status"] == "running");
    await_that("its process is there", || {
        processes(client, "unchecked") > 0
    });
    client.delete(&format!("/v1/tasks/{id}"));
    let task = client.final_task(&id);
    assert_eq!(task["status"], "cancelled", "{task}");

    let metrics = client.get("/metrics").expect(200).text();
    assert!(
        metrics.contains("\ncofferdam_guest_processes_died 0\n"),
        "{metrics}"
    );
    await_that("the last is replaced", || {
        processes(client, "unchecked") > 0
    });
    assert_eq!(place(client, "echo?isolation=dedicated", "on"), "dedicated");
}

#[test]
fn modules_whose_runs_are_long_have_a_process_from_then_on() {
    let host = host("");
    let client = &host.client;
    let places = |target: &str, inputs: &str| -> Vec<String> {
        let each = inputs
            .chars()
            .map(|input| place(client, target, &input.to_string()));
        each.collect()
    };
    assert_eq!(places("echo", "00000"), ["shared"; 5]);
    assert_eq!(places("compute", "00000"), ["shared"; 5]);
    // Two long ones are enough, and two short ones for the way back.
    assert_eq!(places("compute", "111"), ["shared", "shared", "process"]);
    assert_eq!(places("compute?isolation=shared", "0"), ["shared"]);
    assert_eq!(places("compute", "00"), ["process", "shared"]);
    assert_eq!(places("compute", "111"), ["shared", "shared", "process"]);
    // What says that it computes for long does so without checks.
    assert_eq!(places("compute?cpu_ms=20000", "1"), ["dedicated"]);
    let task = json!({"module": "compute", "content_type": "text/plain", "input_base64": "MQ=="});
    assert_eq!(client.submit_and_wait(&task)["isolation"], Value::Null);
    assert_eq!(places("echo", "0"), ["shared"]);
}

#[test]
fn an_operator_who_wants_no_processes_has_none() {
    let host = host("[sandbox]\nisolation = \"shared\"\n");
    for _ in 0..5 {
        assert_eq!(place(&host.client, "compute", "1"), "shared");
    }
}

#[test]
fn a_run_without_a_server_may_have_one() {
    let guest = guests::root().join("tests/guests/compute.wat");
    let guest = guest.to_str().expect("a path");
    let done = cofferdam(&["run", "--isolation", "dedicated", guest], b"1");
    assert!(done.status.success(), "{}", text(&done.stderr));
}
