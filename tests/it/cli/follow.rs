//! A task from the command line, from its submission to the files it left.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{cofferdam, text};
use crate::support::guests;
use crate::support::host::Host;

#[test]
fn a_task_can_be_followed_to_its_end_and_beyond() {
    let host = Host::start();
    for (name, module) in [
        ("report", guests::built("report")),
        ("trap", guests::wat("trap.wat")),
    ] {
        host.client.put_module(name, &module).expect(201);
    }
    let run = |args: &[&str], stdin: &[u8]| {
        let server = ["--server", host.client.base.as_str(), "task"];
        let output = cofferdam(&[&server, args].concat(), stdin);
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    // The id is printed before the wait, separately from the result.
    let sales = guests::sample("report/data/sales.txt");
    let submit = [
        "submit",
        "report",
        "--content-type",
        "text/plain",
        "--input",
        "-",
        "--wait",
    ];
    let words = ["--", "--top", "3", "Sales"];
    let (code, out, err) = run(&[&submit[..], &words].concat(), &sales);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("Sales"), "{out}");
    let id = err
        .strip_prefix("task ")
        .expect("the id comes first")
        .trim()
        .to_owned();
    // An unknown word is not silently passed to the guest.
    assert_eq!(
        run(&[&submit[..], &["--top", "3"]].concat(), &sales).0,
        Some(2)
    );

    let folder = TempDir::new().expect("a temporary directory");
    let into = folder.path().display().to_string();
    let listed = run(&["artifacts", &id, "--out", &into], b"").1;
    assert!(listed.contains("report.csv"), "{listed}");
    let fetched = std::fs::read(folder.path().join("report.csv")).expect("it was fetched");
    let kept = host
        .client
        .get(&format!("/v1/tasks/{id}/artifacts/report.csv"));
    assert_eq!(fetched, kept.expect(200).body);
    assert!(run(&["attempts", &id], b"").1.contains("completed"));
    assert_eq!(run(&["logs", "--follow", &id], b"").1, out);
    let events = run(&["events", &id], b"").1;
    assert!(events.ends_with("result   completed\n"), "{events}");

    let failed = host.client.submit_and_wait(&json!({"module": "trap"}));
    let id = failed["task_id"].as_str().expect("an id");
    assert_eq!(run(&["retry", id], b"").1, "pending\n");
    assert_eq!(run(&["wait", id], b"").0, Some(1));
    assert_eq!(run(&["attempts", id], b"").1.lines().count(), 2);
    assert_eq!(run(&["cancel", id], b"").0, Some(1), "it is final");
}

#[test]
fn output_of_a_task_is_shown_as_it_arrives() {
    let host = Host::start();
    let module = guests::wat("drip.wat");
    host.client.put_module("drip", &module).expect(201);
    let id = host
        .client
        .submit(&json!({"module": "drip", "limits": {"timeout_ms": 3000}}));
    let run = |args: &[&str]| {
        let server = ["--server", host.client.base.as_str()];
        text(&cofferdam(&[&server, args].concat(), b"").stdout)
    };
    let followed = run(&["task", "logs", "--follow", &id]);
    assert!(!followed.is_empty());
    assert_eq!(host.client.task(&id)["error"]["kind"], "timeout");
    assert!(run(&["task", "logs", &id]).starts_with(&followed));
    let told = run(&["--json", "task", "events", &id]);
    let last: Value = serde_json::from_str(told.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        (&last["event"], &last["data"]["status"]),
        (&json!("result"), &json!("failed"))
    );
}
