//! Modules that fail again and again are held back: their runs are refused, their tasks wait, and everybody
//! sees why, until one attempt that is tried ends well or somebody says that it is mended.

use serde_json::{Value, json};

use crate::cli::{cofferdam, text};
use crate::exec::{exec, ready};
use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::Client;

fn host(recovery_ms: u64) -> Host {
    let host = Host::with_config(&format!(
        "[breaker]\nthreshold = 3\nrecovery_ms = {recovery_ms}\n"
    ));
    for name in ["echo", "trap", "task-fails"] {
        let wat = guests::wat(&format!("{name}.wat"));
        host.client.put_module(name, &wat).expect(201);
    }
    host
}

fn run(client: &Client, module: &str, input: &str) -> u16 {
    client.run(module, "text/plain", input.as_bytes()).status
}

fn submit(client: &Client) -> String {
    client.submit(&json!({"module": "trap"}))
}

fn held(client: &Client) -> Value {
    let module = client.get("/v1/modules/trap").expect(200).json();
    module["held"].clone()
}

#[test]
fn a_module_that_traps_again_and_again_is_refused_until_it_is_reset() {
    let host = host(3_600_000);
    let client = &host.client;
    for _ in 0..3 {
        assert_eq!(held(client), Value::Null);
        assert_eq!(run(client, "trap", ""), 422);
    }
    let refused = client.run("trap", "text/plain", b"");
    let wait = refused.header("retry-after").parse::<u64>();
    assert!(wait.is_ok_and(|wait| wait > 3_500), "{refused:?}");
    let refused = refused.expect_problem(503, "module_held");
    assert_eq!(refused["failures"], 3);
    let told = held(client);
    assert_eq!(
        (&told["state"], &told["failures"]),
        (&json!("open"), &json!(3))
    );
    let reason = told["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("trap: "), "{told}");
    let metrics = client.send("GET", "/metrics", &[("accept", "text/plain")], b"");
    assert!(metrics.text().contains("\ncofferdam_modules_held 1\n"));
    // Others run, and tasks of the module are counted apart.
    assert_eq!(run(client, "echo", "on"), 200);
    let task = client.final_task(&submit(client));
    assert_eq!(task["error"]["kind"], "trap");

    let reset = ["--server", &client.base, "module", "reset", "trap"];
    let reset = cofferdam(&reset, b"");
    assert!(reset.status.success(), "{}", text(&reset.stderr));
    assert_eq!(held(client), Value::Null);
    assert_eq!(run(client, "trap", ""), 422);
    client
        .post("/v1/modules/nothing/reset", &json!({}))
        .expect_problem(404, "module_not_found");
}

#[test]
fn tasks_of_a_module_that_fails_wait_and_one_is_tried_at_a_time() {
    let host = host(1500);
    let client = &host.client;
    for _ in 0..3 {
        let task = client.final_task(&submit(client));
        assert_eq!(task["error"]["kind"], "trap", "{task}");
    }
    let (fourth, fifth) = (submit(client), submit(client));
    let waits = |task: &Value| task["status"] == "pending" && task["held"]["failures"] == 3;
    let told = client.task_when(&fourth, waits);
    let reason = told["held"]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("trap: "), "{told}");
    // Whichever is tried fails, so that the other waits again.
    let four_failures = |task: &Value| task["status"] == "failed" || task["held"]["failures"] == 4;
    let tasks = [&fourth, &fifth].map(|id| client.task_when(id, four_failures));
    assert!(
        tasks.iter().any(|task| task["status"] == "pending"),
        "{tasks:?}"
    );
    for id in [&fourth, &fifth] {
        let task = client.final_task(id);
        // Waiting used up no attempt.
        assert_eq!(
            (&task["attempt"], &task["lost"]),
            (&json!(1), &json!(0)),
            "{task}"
        );
    }
    // Other modules' tasks did not wait.
    let task = client.submit_and_wait(&json!({"module": "echo", "input": 1}));
    assert_eq!(task["status"], "completed");
}

#[test]
fn what_a_module_or_code_says_itself_holds_nobody_back() {
    let host = host(3_600_000);
    for _ in 0..5 {
        assert_eq!(run(&host.client, "task-fails", "1 is permanent"), 422);
    }
    assert_eq!(run(&host.client, "task-fails", "1 is permanent"), 422);
    let code = ready("[breaker]\nthreshold = 2\n");
    for _ in 0..5 {
        let failed = exec(
            &code,
            &json!({"language": "javascript", "code": "throw new Error('no')"}),
        );
        assert_eq!(failed["status"], "failed", "{failed}");
    }
}
