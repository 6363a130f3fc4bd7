//! A guest that commits a fault: its process dies, or gets an error number of the kernel, and nothing else
//! happens to anybody.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{await_that, guest_processes};
use crate::support::guests;
use crate::support::host::{Host, Slack};
use crate::support::http::{Answer, Client};

/// Faults that end the process, as `host/sandbox/src/faults.rs` numbers them, and what is told of each.
const FATAL: [(&str, &str, &str); 5] = [
    ("00", "an address that nothing is mapped at", "SIGSEGV"),
    ("01", "an abort", "SIGABRT"),
    ("02", "a stack that is used up", "SIG"),
    ("04", "an end as if all were well", "exit status: 0"),
    ("05", "nonsense to whatever is open", "spoke of"),
];
/// Memory that is never given back.
const HOARD: &str = "06";
/// A file that is written to for ever, past the quota.
const FLOOD: &str = "07";
/// A loop that never gives its thread back.
const SPIN: &str = "03";

const EPERM: i64 = 1;
const EACCES: i64 = 13;
/// What a process may not ask the kernel for, and the error that it gets.
const REFUSED: [(&str, &str, i64); 15] = [
    ("10", "open a file of the host", EACCES),
    ("11", "a socket of the network", EPERM),
    ("12", "a socket of this machine", EPERM),
    ("13", "kill its parent", EPERM),
    ("14", "start a program", EPERM),
    ("15", "trace its parent", EPERM),
    ("16", "make a child", EPERM),
    ("17", "read its parent's memory", EPERM),
    ("18", "make a directory", EACCES),
    ("19", "remove a file of the host", EACCES),
    ("20", "go to another directory", EPERM),
    ("21", "leave its namespaces", EPERM),
    ("22", "load a program into the kernel", EPERM),
    ("23", "make a ring of the kernel's", EPERM),
    ("24", "make memory with a descriptor", EPERM),
];

/// Deaths that a host survives without being larger.
const DEATHS: usize = 100;

fn host() -> Host {
    let host = Host::start();
    for name in ["echo", "fault"] {
        let wat = guests::wat(&format!("{name}.wat"));
        host.client.put_module(name, &wat).expect(201);
    }
    host
}

fn commit(client: &Client, fault: &str, query: &str) -> Answer {
    let path = format!("fault?isolation=process{query}");
    client.run(&path, "text/plain", fault.as_bytes())
}

/// The same as a task, which may be lost once.
fn submit(client: &Client, fault: &str) -> String {
    client.submit(&json!({
        "module": "fault", "isolation": "process", "content_type": "text/plain",
        "input_base64": STANDARD.encode(fault),
        "retry": {"max_lost": 1, "base_ms": 1},
    }))
}

/// Runs `work` while other clients run an innocent guest in this process, in a jailed one and as a task, of
/// which none may fail. Returns how many did.
fn beside_others(client: &Client, work: impl FnOnce()) -> u64 {
    let (over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let again = |one: &dyn Fn()| {
        while !over.load(Ordering::Acquire) {
            one();
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let end = Over(&over);
        for isolation in ["shared", "process"] {
            let path = format!("echo?isolation={isolation}");
            let again = &again;
            scope.spawn(move || {
                again(&|| {
                    let answer = client.run(&path, "text/plain", b"tweet");
                    assert_eq!(answer.expect(200).body, b"tweet");
                });
            });
        }
        scope.spawn(|| {
            again(&|| {
                let task = json!({"module": "echo", "input": 1, "isolation": "process"});
                assert_eq!(client.submit_and_wait(&task)["status"], "completed");
            });
        });
        work();
        drop(end);
    });
    served.into_inner()
}

/// Ends the others even if the test has failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_fault_ends_its_own_process_and_nothing_else() {
    let host = host();
    let client = &host.client;
    let served = beside_others(client, || {
        for (fault, what, told) in FATAL {
            let lost = commit(client, fault, "").expect_problem(422, "lost");
            let why = lost["detail"].as_str().expect("a reason");
            assert!(why.contains(told), "{what}: {why}");
            // The next one has a process again.
            let refused = commit(client, "10", "").expect_problem(422, "exit");
            assert_eq!(refused["exit_code"], EACCES, "{refused}");
        }
    });
    println!("{served} others were served");
    assert!(served > 0);
}

#[test]
fn what_a_process_may_not_do_is_refused_by_the_kernel() {
    let host = host();
    let before = guest_processes(&host);
    for (fault, what, errno) in REFUSED {
        let refused = commit(&host.client, fault, "").expect_problem(422, "exit");
        assert_eq!(refused["exit_code"], errno, "{what}: {refused}");
    }
    // None of them ended a process.
    let after = guest_processes(&host);
    assert!(before.is_subset(&after), "{before:?} {after:?}");
    // A guest in the host's own process is not obeyed.
    let here = host.client.run("fault", "text/plain", b"01");
    assert_eq!(here.expect_problem(422, "exit")["exit_code"], 125);
}

#[test]
fn a_task_whose_process_dies_is_retried_and_then_failed_with_the_reason() {
    let host = host();
    for (fault, what, told) in FATAL {
        let task = host.client.final_task(&submit(&host.client, fault));
        assert_eq!(task["status"], "failed", "{what}: {task}");
        assert_eq!(task["error"]["kind"], "lost", "{what}: {task}");
        let why = task["error"]["message"].as_str().expect("a reason");
        assert!(why.contains(told), "{what}: {why}");
        assert_eq!((&task["attempt"], &task["lost"]), (&json!(2), &json!(1)));
        let id = task["task_id"].as_str().expect("an id");
        let attempts = host.client.get(&format!("/v1/tasks/{id}/attempts"));
        let attempts = attempts.expect(200).json();
        for attempt in attempts["items"].as_array().expect("a list") {
            assert_eq!(attempt["error"]["kind"], "lost", "{attempt}");
        }
    }
}

#[test]
fn a_process_that_never_yields_is_ended_in_time() {
    let host = host();
    let began = Instant::now();
    let late = commit(&host.client, SPIN, "&timeout_ms=300").expect_problem(422, "timeout");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}: {late}");
    assert_eq!(commit(&host.client, "10", "").status, 422);
}

#[test]
fn many_deaths_leave_the_host_as_it_was() {
    let host = host();
    let die = |times: usize| {
        for death in 0..times {
            let (fault, ..) = FATAL[death % FATAL.len()];
            commit(&host.client, fault, "").expect_problem(422, "lost");
        }
        let answer = host
            .client
            .run("echo?isolation=process", "text/plain", b"on");
        assert_eq!(answer.expect(200).body, b"on");
    };
    die(FATAL.len());
    let (before, processes) = (host.footprint(), guest_processes(&host).len());
    die(DEATHS);
    host.await_footprint(&before, &Slack::default());
    let mut now = BTreeSet::new();
    await_that("there are no more processes than before", || {
        now = guest_processes(&host);
        now.len() <= processes
    });
}

#[test]
fn a_process_that_grew_ends_between_its_runs_and_does_not_count_as_dead() {
    let host = host();
    let client = &host.client;
    // The guest ends well, and its process keeps what it took.
    commit(client, HOARD, "").expect(200);
    await_that("the process is retired", || {
        figure(client, "retired") == Some(1)
    });
    assert_eq!(figure(client, "died"), Some(0));
    commit(client, "10", "").expect_problem(422, "exit");
}

#[test]
fn a_process_that_fills_the_disk_past_its_quota_is_killed() {
    let host = Host::with_config("[limits]\ndisk_bytes = 1048576\n");
    let wat = guests::wat("fault.wat");
    host.client.put_module("fault", &wat).expect(201);
    let began = Instant::now();
    let lost = commit(&host.client, FLOOD, "&timeout_ms=20000").expect_problem(422, "lost");
    let why = lost["detail"].as_str().expect("a reason");
    assert!(why.contains("more on disk than its runs may have"), "{why}");
    assert!(began.elapsed() < Duration::from_secs(10), "{lost}");
    await_that("its death is counted", || {
        figure(&host.client, "died") == Some(1)
    });
    host.await_scratch(false);
}

/// How many guest processes met such an end.
fn figure(client: &Client, end: &str) -> Option<u64> {
    let headers = [("accept", "text/plain")];
    let metrics = client.send("GET", "/metrics", &headers, b"").text();
    let name = format!("cofferdam_guest_processes_{end} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&*name))?;
    line.parse().ok()
}

#[test]
fn only_tests_turn_faults_on() {
    const FEATURE: &str = "fault-injection";
    let crates = std::fs::read_dir(guests::root().join("host")).expect("crates");
    for folder in crates.flatten() {
        let manifest = folder.path().join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).expect("a manifest");
        let (built, _for_tests) = text
            .split_once("[dev-dependencies]")
            .unwrap_or((text.as_str(), ""));
        // The sandbox has the feature, but not by default.
        let named = usize::from(folder.file_name() == "sandbox");
        assert_eq!(
            built.matches(FEATURE).count(),
            named,
            "{}",
            manifest.display()
        );
    }
}

#[test]
fn the_host_says_that_a_process_died() {
    let host = host();
    commit(&host.client, "01", "").expect_problem(422, "lost");
    // The answer does not wait until the process is gone.
    await_that("its death is counted", || {
        figure(&host.client, "died") == Some(1)
    });
    let ready: Value = host.client.get("/readyz").expect(200).json();
    let confined = &ready["guest_processes"];
    assert_eq!(confined["landlock"], true, "{ready}");
    assert_eq!(confined["seccomp"], true, "{ready}");
}
