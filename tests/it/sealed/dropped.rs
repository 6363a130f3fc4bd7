//! A key that is dropped, or the first one that comes: what a task and a workflow need to go on is there with the new
//! key alone, wherever it is kept.

use cofferdam_test_bucket::Bucket;
use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use super::{KEYS, collect, has};
use crate::support::guests::{built, wat};
use crate::support::host::Host;

const SAID: &str = "mark-of-the-input-at-rest 1.5\n";

fn config(keys: &[&str], elsewhere: &str) -> String {
    format!(
        "[http]\ninline_body_bytes = 1024\n[storage]\nencryption_keys = {keys:?}\n{elsewhere}\n"
    )
}

/// A task with a large input, as it is submitted.
fn submit(host: &Host, more: &str) -> String {
    let path = format!("/v1/tasks?module=report&arg=Sales{more}");
    let headers = [("content-type", "text/plain")];
    let body = SAID.repeat(20_000);
    let answer = host.client.send("POST", &path, &headers, body.as_bytes());
    answer.expect(202).json()["task_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn report_of(host: &Host, task: &str) -> Vec<u8> {
    let ended = host.client.final_task(task);
    assert_eq!(ended["status"], "completed", "{ended}");
    let path = format!("/v1/tasks/{task}/artifacts/report.csv");
    host.client.get(&path).expect(200).body
}

/// A node that waits, one behind it, and one that waits for a signal that is there already.
fn workflow(host: &Host) -> String {
    let nodes = json!([
        {"id": "a", "wait": {"signal": "go"}},
        {"id": "b", "module": "echo", "input": {"x": {"$from": "a"}}},
        {"id": "c", "wait": {"signal": "later"}},
    ]);
    let workflow = json!({"nodes": nodes, "edges": [["a", "b"], ["b", "c"]]});
    let made = host.client.post("/v1/workflows", &workflow).expect(202);
    let id = made.json()["workflow_id"].as_str().unwrap().to_owned();
    let later = format!("/v1/workflows/{id}/signals/later");
    host.client.post(&later, &json!({"kept": true})).expect(202);
    id
}

fn ends(host: &Host, workflow: &str) {
    let path = format!("/v1/workflows/{workflow}");
    host.client
        .post(&format!("{path}/signals/go"), &json!(7))
        .expect(202);
    let mut seen = host.client.get(&path).expect(200).json();
    while seen["status"] == "running" {
        seen = host.client.get(&path).expect(200).json();
    }
    assert_eq!(seen["status"], "completed", "{seen}");
    let nodes = seen["nodes"].as_array().unwrap();
    let last = nodes.iter().find(|node| node["id"] == "c").unwrap();
    let result = format!("/v1/tasks/{}/result", last["task_id"].as_str().unwrap());
    let given = host.client.get(&result).expect(200).json();
    assert_eq!(given, json!({"kept": true}));
}

/// A host that has these keys, one set after the other, goes on with what it had with the first.
fn goes_on(keys: &[&[&str]], elsewhere: &str) {
    let mut host = Host::with_config(&config(keys[0], elsewhere));
    let client = &host.client;
    client.put_module("echo", &wat("echo.wat")).expect(201);
    client.put_module("report", &built("report")).expect(201);
    let done = submit(&host, "");
    let report = report_of(&host, &done);
    let later = submit(&host, "&delay_ms=3600000");
    host.client
        .delete(&format!("/v1/tasks/{later}"))
        .expect(202);
    let waiting = workflow(&host);
    for keys in &keys[1..] {
        host.stop();
        host.restart_with(&format!(
            "{}[interpreters]\ndir = \"/nowhere\"\n",
            config(keys, elsewhere)
        ));
        for what in ["values", "files"] {
            host.await_log(&format!("{what} are sealed with the first key"), 1);
        }
        assert!(
            !host.log().contains("cannot be sealed anew"),
            "{}",
            host.log()
        );
    }
    let (mut spooled, spool) = (Vec::new(), host.data().join("spool"));
    // Hosts that share a database keep inputs there.
    if spool.exists() {
        collect(&spool, &mut spooled);
    }
    let is_plain = |(_, bytes): &(_, Vec<u8>)| has(bytes, SAID);
    assert!(!spooled.iter().any(is_plain), "an input is plain");
    assert_eq!(report_of(&host, &done), report);
    let retry = format!("/v1/tasks/{later}/retry");
    host.client.post(&retry, &Value::Null).expect(202);
    assert_eq!(report_of(&host, &later), report);
    ends(&host, &waiting);
}

const CHANGED: [&[&str]; 3] = [&[KEYS[0]], &[KEYS[1], KEYS[0]], &[KEYS[1]]];

#[test]
fn work_goes_on_with_the_first_key_on_sqlite() {
    goes_on(&[&[], &[KEYS[0]]], "");
}

#[test]
fn work_goes_on_without_the_old_key_on_sqlite() {
    goes_on(&CHANGED, "");
}

#[test]
fn work_goes_on_without_the_old_key_on_postgres() {
    let database = Database::fresh();
    goes_on(&CHANGED, &format!("url = {:?}\n", database.url()));
}

#[test]
fn work_goes_on_without_the_old_key_with_a_bucket() {
    let (database, bucket) = (Database::fresh(), Bucket::fresh());
    let elsewhere = format!(
        "url = {:?}\nblobs = {:?}\nblobs_endpoint = {:?}\nblobs_access_key_id = \"key\"\n\
         blobs_secret_access_key = \"secret\"\n",
        database.url(),
        bucket.url(),
        bucket.endpoint()
    );
    goes_on(&CHANGED, &elsewhere);
    assert_ne!(bucket.objects(), [""; 0]);
}
