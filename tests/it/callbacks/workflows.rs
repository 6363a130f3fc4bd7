//! Ends of whole workflows are told: one for each run, whatever becomes of their nodes.

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{config, host, put_modules};
use crate::support::host::Host;

fn submit(receiver: &Receiver, host: &Host, nodes: &Value, path: &str, on: &Value) -> String {
    let callback = json!({"url": receiver.url(path), "on": on});
    let workflow = json!({
        "name": "w", "on_failure": "continue", "nodes": nodes, "callback": callback,
    });
    let stored = host.client.post("/v1/workflows", &workflow).expect(202);
    stored.json()["workflow_id"].as_str().unwrap().to_owned()
}

fn a_workflow_is_told(receiver: &Receiver, host: &Host) {
    let client = &host.client;
    let echo = json!({"id": "a", "module": "echo", "input": 1});
    let nodes = json!([echo, {"id": "b", "wait": {"signal": "go"}}, {"id": "c", "module": "trap"}]);
    let id = submit(receiver, host, &nodes, "/flow", &Value::Null);
    let path = format!("/v1/workflows/{id}");
    let redeliver = format!("{path}/callback/redeliver");
    client
        .post(&redeliver, &Value::Null)
        .expect_problem(409, "callback_not_due");
    let shown = client.get(&path).expect(200).json();
    assert_eq!(shown["callback"]["url"], receiver.url("/flow"), "{shown}");
    client.post(&format!("{path}/signals/go"), &json!(1));
    let message = &receiver.await_messages("/flow", 1)[0];
    let end = message.json();
    let event = format!("end_{}_1", id.replace('-', ""));
    assert_eq!(message.header("webhook-id"), event);
    let is = |end: &Value, wanted: &[(&str, Value)]| {
        for (field, value) in wanted {
            assert_eq!(end[field], *value, "{field} in {end}");
        }
    };
    is(
        &end,
        &[
            ("type", json!("workflow.failed")),
            ("event_id", json!(event)),
            ("sequence", json!(1)),
            ("workflow_id", json!(id)),
            ("name", json!("w")),
            ("status", json!("failed")),
            ("run", json!(1)),
        ],
    );
    assert_eq!(end["timestamp"], end["finished_at"], "{end}");
    while client.get(&path).json()["callback"]["status"] != "delivered" {}
    assert_eq!(receiver.messages("/flow").len(), 1);
    // It is sent again by hand, and another run has another end.
    client.post(&redeliver, &Value::Null).expect(202);
    receiver.await_messages("/flow", 2);
    client
        .post(&format!("{path}/retry"), &json!({"from": ["a"]}))
        .expect(202);
    let messages = receiver.await_messages("/flow", 3);
    is(
        &messages[2].json(),
        &[
            ("type", json!("workflow.failed")),
            ("sequence", json!(2)),
            ("run", json!(2)),
        ],
    );
    // One that ends otherwise than is asked for is not told.
    let quiet = submit(receiver, host, &json!([echo]), "/quiet", &json!(["failed"]));
    submit(
        receiver,
        host,
        &json!([echo]),
        "/done",
        &json!(["completed"]),
    );
    receiver.await_messages("/done", 1);
    while client.get(&format!("/v1/workflows/{quiet}")).json()["status"] == "running" {}
    assert_eq!(receiver.messages("/quiet").len(), 0);
    let unlisted = json!({"nodes": [echo], "callback": {"url": "https://unlisted.example/"}});
    client
        .post("/v1/workflows", &unlisted)
        .expect_problem(400, "callback_refused");
}

#[test]
fn the_end_of_a_workflow_is_told_on_sqlite() {
    let receiver = Receiver::start();
    a_workflow_is_told(&receiver, &host(&receiver, ""));
}

#[test]
fn the_end_of_a_workflow_is_told_on_postgres() {
    let receiver = Receiver::start();
    let database = Database::fresh();
    let url = database.url();
    let host = host(&receiver, &format!("[storage]\nurl = {url:?}"));
    a_workflow_is_told(&receiver, &host);
}

/// What is to be told when the host dies is told by the next one.
#[test]
fn an_end_outlives_its_host() {
    let receiver = Receiver::start();
    let mut host = Host::with_config(&config(&receiver, ""));
    put_modules(&host.client);
    let nodes = json!([{"id": "a", "module": "echo", "input": 1}]);
    receiver.answer("/late", 503);
    let id = submit(&receiver, &host, &nodes, "/late", &Value::Null);
    receiver.await_messages("/late", 1);
    host.kill();
    host.restart();
    receiver.answer("/late", 204);
    let path = format!("/v1/workflows/{id}");
    while host.client.get(&path).expect(200).json()["callback"]["status"] != "delivered" {}
}
