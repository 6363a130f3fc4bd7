//! Ends of whole batches, and of code that is a task; and ends that a rule keeps back as they are to be told.

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{config, host, put_modules};
use crate::access::site::{ADMIN, Site};
use crate::exec;
use crate::support::guests;
use crate::support::host::Host;

fn a_batch_is_told(receiver: &Receiver, host: &Host) {
    let client = &host.client;
    let echo = json!({"module": "echo", "input": 1});
    let batch = |tasks: &Value, path: &str, on: Value| {
        let callback = json!({"url": receiver.url(path), "on": on});
        let batch = json!({"tasks": tasks, "parallelism": 2, "callback": callback});
        let stored = client.post("/v1/tasks/batch", &batch).expect(202).json();
        stored["batch_id"].as_str().unwrap().to_owned()
    };
    let later = json!({"module": "echo", "delay_ms": 3_600_000});
    let mixed = json!([echo, {"module": "trap"}, echo, later]);
    let id = batch(&mixed, "/batch", Value::Null);
    let path = format!("/v1/batches/{id}");
    while client.get(&path).expect(200).json()["counts"]["pending"] != 1 {}
    while client.get(&path).json()["counts"]["running"] != 0 {}
    let shown = client.get(&path).json();
    assert_eq!(shown["callback"]["url"], receiver.url("/batch"), "{shown}");
    assert_eq!(shown["callback"]["status"], Value::Null, "{shown}");
    let redeliver = format!("{path}/callback/redeliver");
    client
        .post(&redeliver, &Value::Null)
        .expect_problem(409, "callback_not_due");
    client.delete(&path).expect(202);
    let message = &receiver.await_messages("/batch", 1)[0];
    let end = message.json();
    let event = format!("end_{}_1", id.replace('-', ""));
    assert_eq!(message.header("webhook-id"), event);
    for (field, value) in [
        ("type", json!("batch.failed")),
        ("event_id", json!(event)),
        ("sequence", json!(1)),
        ("batch_id", json!(id)),
        ("tasks", json!(4)),
        ("done", json!(true)),
    ] {
        assert_eq!(end[field], value, "{field} in {end}");
    }
    let counts = &end["counts"];
    assert_eq!(
        (&counts["completed"], &counts["failed"]),
        (&json!(2), &json!(1))
    );
    while client.get(&path).json()["callback"]["status"] != "delivered" {}
    assert_eq!(receiver.messages("/batch").len(), 1);
    client.post(&redeliver, &Value::Null).expect(202);
    receiver.await_messages("/batch", 2);
    // One that ends otherwise is not told, and one whose end is its own is told once.
    let quiet = batch(&json!([echo]), "/quiet", json!(["failed"]));
    batch(&json!([echo, echo]), "/done", json!(["completed"]));
    receiver.await_messages("/done", 1);
    while client.get(&format!("/v1/batches/{quiet}")).json()["done"] != true {}
    assert_eq!(receiver.messages("/quiet").len(), 0);
    let unlisted = json!({"tasks": [echo], "callback": {"url": "https://unlisted.example/"}});
    client
        .post("/v1/tasks/batch", &unlisted)
        .expect_problem(400, "callback_refused");
}

#[test]
fn the_end_of_a_batch_is_told_on_sqlite() {
    let receiver = Receiver::start();
    a_batch_is_told(&receiver, &host(&receiver, ""));
}

#[test]
fn the_end_of_a_batch_is_told_on_postgres() {
    let receiver = Receiver::start();
    let database = Database::fresh();
    let url = database.url();
    let host = host(&receiver, &format!("[storage]\nurl = {url:?}"));
    a_batch_is_told(&receiver, &host);
}

#[test]
fn the_end_of_code_that_is_a_task_is_told() {
    let receiver = Receiver::start();
    let host = exec::ready(&config(&receiver, ""));
    put_modules(&host.client);
    let callback = json!({"url": receiver.url("/code")});
    let code = json!({"language": "javascript", "code": "6 * 7", "callback": callback});
    host.client
        .post("/v1/exec", &code)
        .expect_problem(400, "invalid_field");
    host.client.post("/v1/exec?async=true", &code).expect(202);
    let end = receiver.await_messages("/code", 1)[0].json();
    assert_eq!(end["type"], "task.completed", "{end}");
    assert_eq!(end["result"]["result"], 42, "{end}");
}

/// However often it is tried, and for however many tasks.
#[test]
fn what_a_rule_keeps_back_is_in_the_audit_trail() {
    let receiver = Receiver::start();
    let port = receiver.port();
    let site = Site::start(&format!(
        "[callbacks]\nallow = [\"localhost:{port}\"]\nretry_base_ms = 20\nretry_max_ms = 20\n"
    ));
    let key = site.key("a", &["run", "read", "modules"]);
    site.put_module(&key, "echo", &guests::wat("echo.wat"));
    let url = format!("http://localhost:{port}/private");
    let task = json!({"module": "echo", "callback": {"url": url}});
    for _ in 0..3 {
        let submitted = site.send(&key, "POST", "/v1/tasks", &task).expect(202);
        let path = format!(
            "/v1/tasks/{}",
            submitted.json()["task_id"].as_str().unwrap()
        );
        let tries =
            || site.send(&key, "GET", &path, &Value::Null).json()["callback"]["attempts"].clone();
        while tries().as_u64().unwrap() < 3 {}
    }
    let path = "/v1/audit?actor=callback";
    let page = site
        .send(ADMIN, "GET", path, &Value::Null)
        .expect(200)
        .json();
    let entries = page["items"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{page}");
    for (field, value) in [
        ("tenant", json!("a")),
        ("action", json!("refused_egress")),
        ("outcome", json!("refused")),
        ("from", json!(format!("POST localhost:{port}"))),
    ] {
        assert_eq!(entries[0][field], value, "{field} in {page}");
    }
    let of = entries[0]["resource"].as_str().unwrap();
    assert!(of.starts_with("/v1/tasks/"), "{of}");
    assert_eq!(receiver.messages("/private").len(), 0);
}
