//! Many runs leave the host unchanged: memory, descriptors, threads, directories.
//!
//! The bounds are wide, because allocators keep what they once had; a run that leaked a single
//! page would still be far outside.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::support::guests;
use crate::support::host::{Host, Slack};

/// Runs of a module that touches nothing.
const SMALL_RUNS: usize = 20_000;
/// Runs of a command that reads its input and leaves a file.
const RUNS_WITH_FILES: usize = 300;
/// Runs before the host is first measured.
const WARM_UP: usize = 1_000;
/// Connections that ask for runs.
const CLIENTS: usize = 8;

#[test]
fn many_runs_leave_nothing_behind() {
    let host = Host::start();
    for name in ["echo", "report"] {
        host.client
            .put_module(name, &guests::built(name))
            .expect(201);
    }
    let small = || {
        let answer = host.client.run("echo", "text/plain", b"again").expect(200);
        assert_eq!(answer.body, b"again");
    };
    let with_files = || {
        let answer = host
            .client
            .run("report?arg=Sales", "text/plain", b"tea 1\ncoffee 2\n")
            .expect(200);
        assert!(answer.text().contains("coffee"));
    };
    repeat(WARM_UP, small);
    repeat(RUNS_WITH_FILES, with_files);
    let before = host.footprint();
    repeat(SMALL_RUNS, small);
    repeat(RUNS_WITH_FILES, with_files);
    host.await_footprint(&before, &Slack::default());
}

#[test]
fn tasks_that_leave_artifacts_leave_no_scratch() {
    let host = Host::start();
    host.client
        .put_module("report", &guests::built("report"))
        .expect(201);
    let some = || {
        repeat(RUNS_WITH_FILES / 3, || {
            let task = host.client.submit_and_wait(&json!({"module": "report",
                "content_type": "text/plain", "args": ["Sales"], "input_base64": "dGVhIDEK"}));
            assert_eq!(task["status"], "completed", "{task}");
        });
    };
    some();
    let before = host.footprint();
    some();
    some();
    host.await_footprint(&before, &Slack::default());
}

/// Does something often, on several connections at once.
fn repeat(times: usize, work: impl Fn() + Sync) {
    let left = AtomicUsize::new(times);
    let one_fewer = |left: usize| left.checked_sub(1);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_fewer)
                    .is_ok()
                {
                    work();
                }
            });
        }
    });
}
