//! The processes that code runs in: they are jailed, they are replaced when they die, and none outlives its
//! host.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{exec, python, ready};
use crate::support::host::Host;

/// The longest wait for something that takes a moment.
const SOON: Duration = Duration::from_secs(20);

/// The processes that a host started.
fn children(host: &Host) -> Vec<Pid> {
    let parent = host.pid().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which is in brackets: the state and the parent.
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        after.split(' ').nth(1) == Some(&*parent)
    };
    all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(is_child)
        .filter_map(Pid::from_raw)
        .collect()
}

fn exists(pid: Pid) -> bool {
    // A zombie that nobody has waited for yet is gone as well.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < until, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn code_whose_process_is_killed_is_lost_and_the_next_runs() {
    let host = ready("[sandbox]\nprocesses = 1\n");
    let readiness = host.client.get("/readyz").expect(200).json();
    let processes = &readiness["guest_processes"];
    assert_eq!(processes["live"], 2, "{readiness}");
    let made = host
        .client
        .post("/v1/sessions", &json!({"language": "python"}))
        .expect(201);
    let path = format!("{}/exec", made.header("location"));
    let call = json!({"code": "x = 1"});
    host.client.post(&path, &call).expect(200);
    let readiness = host.client.get("/readyz").expect(200).json();
    let processes = &readiness["guest_processes"];
    assert_eq!(
        (&processes["landlock"], &processes["seccomp"]),
        (&json!(true), &json!(true))
    );

    let endless = json!({"language": "python", "code": "open('a', 'w').close()\nwhile True: pass",
                         "timeout_ms": 60_000, "cpu_ms": 60_000});
    std::thread::scope(|scope| {
        let running = scope.spawn(|| exec(&host, &endless));
        // The session has one directory, the code another.
        await_that("the code runs", || host.footprint().scratch() > 6);
        let killed = children(&host);
        for pid in &killed {
            kill_process(*pid, Signal::KILL).unwrap();
        }
        let ended = running.join().unwrap();
        assert_eq!(ended["error"]["kind"], "lost", "{ended}");
        let message = ended["error"]["message"].as_str().unwrap();
        assert!(message.contains("SIGKILL"), "{message}");
    });
    assert_eq!(python(&host, "6 * 7")["result"], 42);
    // The session died with its process.
    let ended = host.client.post(&path, &call).expect(200).json();
    assert_eq!(ended["error"]["kind"], "lost", "{ended}");
    assert_eq!(ended["session"], "ended", "{ended}");
    // The answer does not wait until the process is gone.
    await_that("both deaths are counted", || {
        let metrics = host.client.get("/metrics").expect(200).text();
        metrics.contains("cofferdam_guest_processes_died 2\n")
    });
}

#[test]
fn no_process_outlives_its_host() {
    let mut host = ready("");
    let endless = json!({"language": "python", "code": "open('a', 'w').close()\nwhile True: pass",
                         "timeout_ms": 60_000, "cpu_ms": 60_000});
    host.client
        .post("/v1/exec?async=true", &endless)
        .expect(202);
    host.await_scratch(true);
    let left = children(&host);
    assert!(!left.is_empty());
    host.kill();
    await_that("its processes end", || !left.iter().any(|pid| exists(*pid)));

    let mut host = ready("");
    let left = children(&host);
    assert!(!left.is_empty());
    assert!(host.stop().success());
    await_that("its processes end", || !left.iter().any(|pid| exists(*pid)));
}
