//! Callbacks through the real binary: the end of a task is told to a receiver, at least once, whatever
//! receivers answer and whoever dies.

mod answers;
mod batches;
pub(crate) mod receiver;
mod refused;
mod senders;
mod workflows;

use serde_json::{Value, json};

use self::receiver::Receiver;
use crate::cli::{cofferdam, text};
use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::Client;

/// What an operator lists so that a receiver of this machine is told, with short waits.
fn config(receiver: &Receiver, more: &str) -> String {
    let port = receiver.port();
    format!(
        "[egress]\nallow_private = [\"127.0.0.1\"]\n[callbacks]\n\
         allow = [\"127.0.0.1:{port}\", \"127.0.0.3:{port}\", \"localhost:{port}\"]\n\
         retry_base_ms = 20\nretry_max_ms = 200\ntimeout_ms = 2000\n{more}\n"
    )
}

fn host(receiver: &Receiver, more: &str) -> Host {
    let host = Host::with_config(&config(receiver, more));
    put_modules(&host.client);
    host
}

fn put_modules(client: &Client) {
    for name in ["echo", "trap", "spin"] {
        let wat = guests::wat(&format!("{name}.wat"));
        client.put_module(name, &wat).expect(201);
    }
}

/// A task whose end is told at this path.
fn told(receiver: &Receiver, path: &str) -> Value {
    json!({
        "module": "echo", "input": {"a": [1, 2.50]}, "metadata": {"order": 7},
        "callback": {"url": receiver.url(path)},
    })
}

fn is(status: &str) -> impl Fn(&Value) -> bool {
    move |task| task["callback"]["status"] == status
}

#[test]
fn the_end_of_a_task_is_told_with_its_result() {
    let receiver = Receiver::start();
    let host = host(&receiver, "");
    let client = &host.client;
    let id = client.submit(&told(&receiver, "/hook?order=7"));
    let message = &receiver.await_messages("/hook?order=7", 1)[0];
    assert_eq!(message.header("content-type"), "application/json");
    assert!(message.header("user-agent").starts_with("cofferdam/"));
    assert_eq!(message.header("webhook-signature"), "");
    let seconds: u64 = message.header("webhook-timestamp").parse().unwrap();
    assert!(seconds > 1_700_000_000, "{seconds}");
    let end = message.json();
    let event = format!("end_{}_1", id.replace('-', ""));
    assert_eq!(message.header("webhook-id"), event);
    for (field, value) in [
        ("type", json!("task.completed")),
        ("event_id", json!(event)),
        ("sequence", json!(1)),
        ("task_id", json!(id)),
        ("status", json!("completed")),
        ("module", json!("echo")),
        ("attempt", json!(1)),
        ("metadata", json!({"order": 7})),
        ("error", Value::Null),
        ("content_type", json!("application/json")),
        ("result_url", json!(format!("/v1/tasks/{id}/result"))),
    ] {
        assert_eq!(end[field], value, "{field} in {end}");
    }
    assert_eq!(end["result"], json!({"a": [1, 2.5]}), "{end}");
    let task = client.task_when(&id, is("delivered"));
    let callback = &task["callback"];
    assert_eq!(callback["url"], receiver.url("/hook?order=7"));
    assert_eq!(
        (&callback["attempts"], &callback["last_status"]),
        (&json!(1), &json!(204))
    );
    assert_eq!(
        (&callback["next_at"], &callback["last_error"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(end["finished_at"], task["finished_at"]);
    let request = client.get(&format!("/v1/tasks/{id}/request")).json()["request"].clone();
    let all = json!(["completed", "failed", "cancelled"]);
    let asked = json!({"url": receiver.url("/hook?order=7"), "secret_name": null, "on": all});
    assert_eq!(request["callback"], asked);
    // A long result is fetched by whoever wants it.
    let mut long = told(&receiver, "/long");
    long["input"] = json!("x".repeat(200_000));
    let id = client.submit(&long);
    let message = &receiver.await_messages("/long", 1)[0];
    assert!(message.body.len() < 2_000, "{}", message.body.len());
    let end = message.json();
    assert_eq!(end["result"], Value::Null, "{end}");
    assert_eq!(end["result_url"], format!("/v1/tasks/{id}/result"), "{end}");
    // Others have none.
    let other = client.submit_and_wait(&json!({"module": "echo", "input": 1}));
    assert_eq!(other["callback"], Value::Null);
}

#[test]
fn every_end_is_told_and_none_that_was_not_asked_for() {
    let receiver = Receiver::start();
    let host = host(&receiver, "");
    let client = &host.client;
    let submit = |module: &str, path: &str, on: Value| {
        let mut task = json!({"module": module, "callback": {"url": receiver.url(path)}});
        if !on.is_null() {
            task["callback"]["on"] = on;
        }
        client.submit(&task)
    };
    submit("trap", "/failed", json!(["failed"]));
    let failed = receiver.await_messages("/failed", 1)[0].json();
    assert_eq!(failed["type"], "task.failed");
    assert_eq!(failed["error"]["kind"], "trap", "{failed}");
    let running = submit("spin", "/cancelled", json!(["cancelled", "failed"]));
    client.task_when(&running, |task| task["status"] == "running");
    client.delete(&format!("/v1/tasks/{running}")).expect(202);
    let cancelled = receiver.await_messages("/cancelled", 1)[0].json();
    assert_eq!(cancelled["type"], "task.cancelled");
    let waiting = client.submit(&json!({
        "module": "echo", "delay_ms": 3_600_000, "callback": {"url": receiver.url("/waiting")},
    }));
    assert_eq!(client.task(&waiting)["callback"]["status"], Value::Null);
    client.delete(&format!("/v1/tasks/{waiting}")).expect(202);
    receiver.await_messages("/waiting", 1);
    // Tried again, it ends again.
    client
        .post(&format!("/v1/tasks/{waiting}/retry"), &Value::Null)
        .expect(202);
    let messages = receiver.await_messages("/waiting", 2);
    let ends: Vec<_> = messages
        .iter()
        .map(|it| (it.json()["type"].clone(), it.json()["sequence"].clone()))
        .collect();
    assert_eq!(ends[0], (json!("task.cancelled"), json!(1)));
    assert_eq!(ends[1], (json!("task.completed"), json!(2)));
    let unwanted = submit("echo", "/unwanted", json!(["failed"]));
    let task = client.final_task(&unwanted);
    assert_eq!(task["callback"]["status"], Value::Null, "{task}");
    let again = client.post(
        &format!("/v1/tasks/{unwanted}/callback/redeliver"),
        &Value::Null,
    );
    again.expect_problem(409, "callback_not_due");
    assert_eq!(receiver.messages("/unwanted").len(), 0);
}

#[test]
fn every_form_of_a_submission_may_have_a_callback() {
    let receiver = Receiver::start();
    let host = host(&receiver, "");
    let client = &host.client;
    let batch = json!({"tasks": [told(&receiver, "/batch"), told(&receiver, "/batch")]});
    client.post("/v1/tasks/batch", &batch).expect(202);
    let query = format!(
        "/v1/tasks?module=echo&callback_url={}&callback_on=completed",
        receiver.url("/raw").replace(':', "%3A").replace('/', "%2F")
    );
    client
        .send("POST", &query, &[("content-type", "text/plain")], b"hello")
        .expect(202);
    let pool = json!({"task_id": "job-17", "task_type": "echo", "payload": {"n": 1}, "callback_url": receiver.url("/pool")});
    client.post("/execute", &pool).expect(200);
    let url = receiver.url("/cli");
    let args = [
        "--server",
        &client.base,
        "task",
        "submit",
        "echo",
        "--data",
        "1",
        "--callback",
        &url,
        "--callback-on",
        "completed",
    ];
    let submitted = cofferdam(&args, b"");
    assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    receiver.await_messages("/batch", 2);
    assert_eq!(
        receiver.await_messages("/raw", 1)[0].json()["result"],
        "hello"
    );
    let pooled = receiver.await_messages("/pool", 1)[0].json();
    assert_eq!(
        (&pooled["metadata"]["pool_task_id"], &pooled["result"]),
        (&json!("job-17"), &json!({"n": 1}))
    );
    receiver.await_messages("/cli", 1);
}
