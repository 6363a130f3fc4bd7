//! Commits whose fate their host was not told, and what a crash of the server makes of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use cofferdam_test_postgres::{Server, Stop};
use serde_json::json;

use super::cluster::Cluster;
use super::proxy::{Commit, Fate, Proxy};
use super::storm;
use crate::support::guests;
use crate::support::host::Host;

#[test]
fn a_commit_whose_answer_is_cut_off_happens_once() {
    let server = Server::start("");
    let is_armed = Arc::new(AtomicBool::new(false));
    let (armed, mut commits) = (Arc::clone(&is_armed), 0_u32);
    let proxy = Proxy::before(server.socket(), move |_either| {
        commits += 1;
        match commits % 8 {
            3 if armed.load(Ordering::SeqCst) => Fate::Silence,
            6 if armed.load(Ordering::SeqCst) => Fate::Withhold,
            _ => Fate::Pass,
        }
    });
    let cluster = Cluster::through(&proxy.url(), server);
    storm(cluster, 300, |_, clients| {
        clients.await_acknowledged(20);
        is_armed.store(true, Ordering::SeqCst);
        clients.await_acknowledged(280);
        is_armed.store(false, Ordering::SeqCst);
    });
}

/// Nothing is written until it must be, and nobody is in a hurry.
const FORGETFUL: &str = "wal_writer_delay = 10s\nautovacuum = off\nsynchronous_commit = off";

fn unhurried(url: &str) -> String {
    format!(
        "[storage]\nurl = {url:?}\n[queue]\npoll_interval_ms = 60000\nheartbeat_interval_ms = 60000\n\
         dead_after_ms = 600000\n"
    )
}

/// Gives numbers of transactions to one after another until `number` is given, all of which commit. So
/// fast that the host hardly gets one between them.
fn give_numbers_up_to(server: &Server, number: u64) {
    server.run(&format!(
        "DO $$ BEGIN
            WHILE pg_current_xact_id()::text::int8 < {number} LOOP COMMIT; END LOOP;
         END $$"
    ));
}

#[test]
fn a_commit_is_not_taken_for_done_because_another_got_its_number() {
    let mut paddings = (0..WAL_PAGE_BYTES).step_by(1024);
    assert!(paddings.any(a_number_is_given_again));
}

/// Full pages of the log of changes are written before anybody waits for them.
const WAL_PAGE_BYTES: usize = 8192;

/// Whether a crash forgot the number of a submit's commit and another transaction got it. That depends on
/// whether the submit begins in a page of the log that is written before the crash, so `padding` bytes
/// are put in front of it.
fn a_number_is_given_again(padding: usize) -> bool {
    let mut server = Server::start(FORGETFUL);
    let (is_armed, (held, is_held)) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
    let (release, released) = mpsc::channel();
    let armed = Arc::clone(&is_armed);
    let proxy = Proxy::before(server.socket(), move |commit| {
        match commit == Commit::Durable && armed.swap(false, Ordering::SeqCst) {
            false => Fate::Pass,
            true => {
                held.send(()).expect("the test waits");
                let _or_over = released.recv();
                Fate::Withhold
            }
        }
    });
    // It goes before the proxy, which would otherwise wait for ever where this test fails.
    let release = release;
    let host = Host::with_config(&unhurried(&proxy.url()));
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let task = json!({"module": "echo", "input": 7});
    server.run(&format!(
        "SELECT pg_logical_emit_message(false, 'padding', repeat('x', {padding}))"
    ));
    is_armed.store(true, Ordering::SeqCst);
    let submit = thread::spawn({
        let client = host.client.clone();
        let task = task.to_string();
        move || {
            let headers = [
                ("content-type", "application/json"),
                ("idempotency-key", "one"),
            ];
            client.send("POST", "/v1/tasks", &headers, task.as_bytes())
        }
    });
    is_held.recv().expect("a commit comes");
    let its_own = server.run("SELECT max(backend_xid::text::int8) FROM pg_stat_activity");
    let its_own: u64 = its_own.trim().parse().expect("a transaction goes on");
    server.restart(Stop::Immediate);
    give_numbers_up_to(&server, its_own);
    // The server has forgotten that transaction and given its number to another.
    let status = format!("SELECT pg_xact_status('{its_own}'::xid8)");
    if server.run(&status).trim() != "committed" {
        return false;
    }
    release.send(()).expect("the proxy waits");
    let answer = submit.join().expect("an answer");
    if answer.status != 503 {
        let id = answer.json()["task_id"].as_str().expect("an id").to_owned();
        let found = host.client.get(&format!("/v1/tasks/{id}"));
        assert_eq!(found.status, 200, "{} {}", answer.status, found.text());
    }
    assert_eq!(host.client.submit_and_wait(&task)["status"], "completed");
    true
}

#[test]
fn changes_after_a_crash_are_told_to_who_follows_them() {
    let mut server = Server::start(FORGETFUL);
    let host = Host::with_config(&unhurried(&server.database().url()));
    host.client
        .put_module("spin", &guests::wat("spin.wat"))
        .expect(201);
    let limits = json!({"timeout_ms": 60_000, "cpu_ms": 60_000});
    let later = json!({"module": "spin", "limits": limits, "delay_ms": 3_600_000});
    let waits = host.client.submit(&later);
    let soon = json!({"module": "spin", "limits": limits, "delay_ms": 2000});
    let runs = host.client.submit(&soon);
    // A crash forgets all of this: numbers that were given away, and the claim that follows.
    for _ in 0..20 {
        server.run("SET synchronous_commit = off; SELECT pg_current_xact_id()");
    }
    host.client
        .task_when(&runs, |task| task["status"] == "running");
    let list = host.client.get("/v1/tasks?since=c0").expect(200).json();
    let since = list["as_of"].as_str().expect("a number").to_owned();
    server.restart(Stop::Immediate);
    let cancelled = host.client.delete(&format!("/v1/tasks/{waits}"));
    cancelled.expect(202);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let path = format!("/v1/tasks?since={since}");
        let list = host.client.get(&path).expect(200).json();
        let items = list["items"].as_array().expect("a list").iter();
        let mut ids = items.map(|task| &task["task_id"]);
        if ids.any(|id| *id == json!(waits)) {
            return;
        }
        assert!(Instant::now() < deadline, "since {since}: {list}");
        thread::sleep(Duration::from_millis(20));
    }
}
