//! Ends from outside: a process that stands still or is killed, and a host that dies.

use std::io::Read;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{await_that, guest_processes, lives, stands_still};
use crate::exec::{python, ready};
use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::Client;

/// How much later than its limit a run may be answered whose process does nothing any more.
const GRACE: Duration = Duration::from_secs(2);

fn host() -> Host {
    let host = Host::start();
    for name in ["echo", "drip"] {
        let wat = guests::wat(&format!("{name}.wat"));
        host.client.put_module(name, &wat).expect(201);
    }
    host
}

fn signal(pids: impl IntoIterator<Item = u32>, signal: Signal) {
    for pid in pids {
        let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
        // One may be gone.
        let _gone = kill_process(pid, signal);
    }
}

/// Submits a task that writes for ever and waits until it has, so that it surely runs in a process.
fn write_for_ever(client: &Client, timeout_ms: u64) -> String {
    let id = client.submit(&json!({
        "module": "drip", "isolation": "process", "retry": {"base_ms": 1},
        "limits": {"timeout_ms": timeout_ms, "cpu_ms": 60_000},
    }));
    let (status, mut events) = client.open(&format!("/v1/tasks/{id}/events"), &[]);
    assert_eq!(status, 200);
    let (mut heard, mut piece) = (String::new(), [0; 256]);
    while !heard.contains("event: stdout") {
        let bytes = events.read(&mut piece).expect("events go on");
        assert!(bytes > 0, "the events end without output: {heard}");
        heard.push_str(&String::from_utf8_lossy(&piece[..bytes]));
    }
    id
}

#[test]
fn a_deadline_is_kept_though_the_process_stands_still() {
    let host = host();
    let limit = Duration::from_millis(1500);
    let began = Instant::now();
    let id = write_for_ever(&host.client, 1500);
    signal(guest_processes(&host), Signal::STOP);
    let task = host.client.final_task(&id);
    let took = began.elapsed();
    assert_eq!(task["error"]["kind"], "timeout", "{task}");
    assert!(took >= limit && took < limit + GRACE, "{took:?}: {task}");
    // The process that stood still is gone.
    let others = host
        .client
        .run("echo?isolation=process", "text/plain", b"on");
    assert_eq!(others.expect(200).body, b"on");
    await_that("no process stands still", || {
        !guest_processes(&host).iter().any(|pid| stands_still(*pid))
    });
}

#[test]
fn a_process_that_is_killed_loses_its_runs_and_is_replaced() {
    let host = host();
    let client = &host.client;
    let id = write_for_ever(client, 60_000);
    let killed = guest_processes(&host);
    signal(killed.iter().copied(), Signal::KILL);
    let task = client.task_when(&id, |task| {
        task["attempt"] == 2 && task["status"] == "running"
    });
    assert_eq!(
        (&task["lost"], &task["max_attempts"]),
        (&json!(1), &json!(2))
    );
    let attempts = client.get(&format!("/v1/tasks/{id}/attempts"));
    let first = &attempts.expect(200).json()["items"][0];
    assert_eq!(first["error"]["kind"], "lost", "{first}");
    let why = first["error"]["message"].as_str().expect("a reason");
    assert!(why.contains("KILL"), "{why}");
    await_that("its second attempt has a process", || {
        !guest_processes(&host).is_empty()
    });
    assert!(guest_processes(&host).is_disjoint(&killed));
    client.delete(&format!("/v1/tasks/{id}")).expect(202);
    assert_eq!(client.final_task(&id)["status"], "cancelled");
    // The host went on, with its other guests.
    let answer = client.run("echo", "text/plain", b"here");
    assert_eq!(answer.expect(200).body, b"here");
}

#[test]
fn a_host_that_is_killed_leaves_no_process() {
    let mut host = ready("");
    let drip = guests::wat("drip.wat");
    host.client.put_module("drip", &drip).expect(201);
    assert_eq!(python(&host, "1 + 1")["result"], 2);
    write_for_ever(&host.client, 60_000);
    let all = guest_processes(&host);
    assert!(all.len() >= 2, "{all:?}");
    host.kill();
    await_that("no process is left", || !all.iter().any(|pid| lives(*pid)));
}

#[test]
fn a_host_that_ends_by_itself_leaves_no_process() {
    let mut host = host();
    let answer = host
        .client
        .run("echo?isolation=process", "text/plain", b"on");
    assert_eq!(answer.expect(200).body, b"on");
    let all = guest_processes(&host);
    assert!(!all.is_empty());
    assert!(host.stop().success());
    assert!(!all.iter().any(|pid| lives(*pid)), "{all:?}");
}
