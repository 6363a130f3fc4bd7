//! A copy of a data directory, made while a host uses it, and a host over the copy.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{cofferdam, text};
use crate::support::guests;
use crate::support::host::Host;

/// Tasks that are submitted while the copy is made.
const MEANWHILE: usize = 200;

#[test]
fn a_host_over_a_backup_knows_what_the_first_one_knew() {
    let host = Host::start();
    for name in ["report", "echo"] {
        let built = guests::built(name);
        host.client.put_module(name, &built).expect(201);
    }
    let sales = guests::sample("report/data/sales.txt");
    let headers = [("content-type", "text/plain")];
    let path = "/v1/tasks?module=report&arg=Sales&wait_ms=60000";
    let done = host
        .client
        .send("POST", path, &headers, &sales)
        .expect(200)
        .json();
    let id = done["task_id"].as_str().expect("an id");
    let later = host
        .client
        .submit(&json!({"module": "echo", "input": 1, "delay_ms": 3_600_000}));
    // Input that is kept in a separate file.
    let large = vec![b'x'; 6 << 20];
    let path = "/v1/tasks?module=echo&delay_ms=3600000";
    let spooled = host
        .client
        .send("POST", path, &headers, &large)
        .expect(202)
        .json();

    let folder = TempDir::new().expect("a temporary directory");
    let to = folder.path().join("copy");
    let (data, to_text) = (host.data().display().to_string(), to.display().to_string());
    let backup = ["backup", "--data", &data, &to_text];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..MEANWHILE {
                host.client
                    .submit(&json!({"module": "echo", "input": number}));
            }
        });
        let copied = cofferdam(&backup, b"");
        assert!(copied.status.success(), "{}", text(&copied.stderr));
    });
    let again = cofferdam(&backup, b"");
    assert_eq!(again.status.code(), Some(2), "nothing is overwritten");
    assert!(text(&again.stderr).contains("already exists"));
    let nothing = cofferdam(&["backup", "--data", "/nowhere", "/tmp/never"], b"");
    assert_eq!(nothing.status.code(), Some(2), "{}", text(&nothing.stderr));

    let inner = TempDir::new_in(folder.path()).expect("a directory");
    std::fs::remove_dir(inner.path()).expect("it is empty");
    std::fs::rename(&to, inner.path()).expect("a new name");
    let restored = Host::over(inner, "[interpreters]\ndir = \"/nowhere\"\n");
    assert_eq!(restored.client.task(id), done);
    for rest in [
        "result",
        "artifacts",
        "artifacts/report.csv",
        "logs?stream=stderr",
    ] {
        let path = format!("/v1/tasks/{id}/{rest}");
        let (kept, copied) = (host.client.get(&path), restored.client.get(&path));
        assert_eq!(kept.expect(200).body, copied.expect(200).body, "{rest}");
    }
    assert_eq!(restored.client.task(&later)["label"], "scheduled");
    let spooled = spooled["task_id"].as_str().expect("an id");
    assert_eq!(restored.client.task(spooled)["label"], "scheduled");
    let echoed = restored
        .client
        .submit_and_wait(&json!({"module": "echo", "input": "still"}));
    assert_eq!(echoed["status"], "completed");
    await_completion(&restored, &[&later, spooled]);
}

/// Waits until every task of the host except these has completed.
fn await_completion(host: &Host, except: &[&str]) {
    let all: Value = host.client.get("/v1/tasks?limit=1000").expect(200).json();
    for task in all["items"].as_array().expect("a list") {
        let id = task["task_id"].as_str().expect("an id");
        if !except.contains(&id) {
            assert_eq!(host.client.final_task(id)["status"], "completed");
        }
    }
}
