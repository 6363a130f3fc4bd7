//! Large bytes that several hosts share: what one was given another runs, and both answer for it.

use cofferdam_test_bucket::Bucket;
use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::{Answer, Client};

/// One slot for each host, and a bucket that is reached there if there is one.
fn config(database: &Database, bucket: Option<(&Bucket, String)>) -> String {
    let blobs = bucket.map(|(bucket, endpoint)| {
        format!(
            "blobs = {:?}\nblobs_endpoint = {endpoint:?}\nblobs_access_key_id = \"key\"\n\
             blobs_secret_access_key = \"secret\"\n",
            bucket.url()
        )
    });
    format!(
        "[storage]\nurl = {:?}\n{}[queue]\nslots = 1\n[http]\ninline_body_bytes = 1024\n",
        database.url(),
        blobs.unwrap_or_default()
    )
}

fn sales() -> String {
    "tea 1.5\n".repeat(100_000)
}

fn submit(client: &Client, rest: &str) -> Answer {
    try_submit(client, rest).expect("the host answers")
}

fn try_submit(client: &Client, rest: &str) -> Result<Answer, ureq::Error> {
    client.try_send(
        "POST",
        &format!("/v1/tasks?module=report&arg=Sales{rest}"),
        &[("content-type", "text/plain")],
        sales().as_bytes(),
    )
}

/// The first host takes a large input while a guest has its only slot, so the second runs it.
fn a_large_input_runs_elsewhere(config: &str) {
    let busy = Host::with_config(config);
    for (name, wasm) in [
        ("sleep", guests::wat("sleep.wat")),
        ("report", guests::built("report")),
    ] {
        busy.client.put_module(name, &wasm).expect(201);
    }
    let sleeping = busy
        .client
        .submit(&json!({"module": "sleep", "limits": {"timeout_ms": 300_000, "cpu_ms": 300_000}}));
    let sleeps = busy
        .client
        .task_when(&sleeping, |task| task["status"] == "running");
    let idle = Host::with_config(config);
    let task = submit(&busy.client, "&wait_ms=60000").expect(200).json();
    assert_eq!(task["status"], "completed", "{task}");
    assert_ne!(task["worker_id"], sleeps["worker_id"]);
    let id = task["task_id"].as_str().unwrap();
    let artifacts = [&busy, &idle].map(|host| artifacts(&host.client, id));
    assert!(!artifacts[0].is_empty());
    assert_eq!(artifacts[0], artifacts[1]);
    // What was kept goes with its task, at every host.
    busy.client
        .delete(&format!("/v1/tasks/{id}?purge=true"))
        .expect(204);
    for host in [&busy, &idle] {
        host.client
            .get(&format!("/v1/tasks/{id}/artifacts"))
            .expect(404);
    }
}

/// The files that a task left, each with its bytes.
fn artifacts(client: &Client, id: &str) -> Vec<(String, Vec<u8>)> {
    let list = client
        .get(&format!("/v1/tasks/{id}/artifacts"))
        .expect(200)
        .json();
    let items = list["items"].as_array().unwrap();
    let read = |item: &Value| {
        let path = item["path"].as_str().unwrap().to_owned();
        let bytes = client.get(&format!("/v1/tasks/{id}/artifacts/{path}"));
        (path, bytes.expect(200).body)
    };
    items.iter().map(read).collect()
}

#[test]
fn a_large_input_runs_at_any_host_of_a_database() {
    let database = Database::fresh();
    a_large_input_runs_elsewhere(&config(&database, None));
    let parts = database.run("SELECT count(*) FROM cofferdam.blob_part");
    assert_ne!(parts.trim(), "0");
}

#[test]
fn a_large_input_runs_at_any_host_that_shares_a_bucket() {
    let (database, bucket) = (Database::fresh(), Bucket::fresh());
    let config = config(&database, Some((&bucket, bucket.endpoint())));
    a_large_input_runs_elsewhere(&config);
    assert_ne!(bucket.objects(), [""; 0]);
}

#[test]
fn while_the_bucket_fails_a_large_input_is_refused_and_other_work_goes_on() {
    let (database, bucket) = (Database::fresh(), Bucket::fresh());
    let proxy = bucket.proxy();
    let host = Host::with_config(&config(&database, Some((&bucket, proxy.endpoint()))));
    for name in ["echo", "report"] {
        host.client
            .put_module(name, &guests::built(name))
            .expect(201);
    }
    let first = submit(&host.client, "&delay_ms=1").expect(202).json();
    host.client.final_task(first["task_id"].as_str().unwrap());
    proxy.fail(true);
    let refused = submit(&host.client, "&arg=other");
    // The same bytes are there already, so nobody needs the bucket for them.
    refused.expect(202);
    let other = sales().replace("tea", "milk");
    let send = || {
        let headers = [("content-type", "text/plain")];
        let path = "/v1/tasks?module=report&arg=Sales";
        host.client.send("POST", path, &headers, other.as_bytes())
    };
    let refused = send();
    assert_ne!(refused.header("retry-after"), "");
    refused.expect_problem(503, "blobs_unavailable");
    assert!(!host.log().contains("secret"), "{}", host.log());
    let task = host
        .client
        .submit_and_wait(&json!({"module": "echo", "input": 7}));
    assert_eq!(task["status"], "completed", "{task}");
    proxy.fail(false);
    let task = send().expect(202).json();
    let task = host.client.final_task(task["task_id"].as_str().unwrap());
    assert_eq!(task["status"], "completed", "{task}");
}

#[test]
fn a_host_killed_while_it_puts_an_object_leaves_nothing_that_is_believed() {
    let (database, bucket) = (Database::fresh(), Bucket::fresh());
    let proxy = bucket.proxy();
    let config = config(&database, Some((&bucket, proxy.endpoint())));
    let mut host = Host::with_config(&config);
    let report = guests::built("report");
    host.client.put_module("report", &report).expect(201);
    proxy.hold(true);
    let client = host.client.clone();
    let submits = std::thread::spawn(move || try_submit(&client, ""));
    proxy.await_held();
    host.kill();
    assert!(submits.join().unwrap().is_err());
    proxy.hold(false);
    let host = Host::with_config(&config);
    let tasks = host.client.get("/v1/tasks").expect(200).json();
    assert_eq!(tasks["items"], json!([]), "{tasks}");
    // The same bytes are not taken for stored.
    let task = submit(&host.client, "&wait_ms=60000").expect(200).json();
    assert_eq!(task["status"], "completed", "{task}");
}

#[test]
fn a_bucket_without_a_shared_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(crate::support::host::program())
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path())
        .env("COFFERDAM_STORAGE_BLOBS", "s3://bucket")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("storage.url"), "{said}");
}

#[test]
fn check_config_shows_no_secret() {
    let output = std::process::Command::new(crate::support::host::program())
        .arg("check-config")
        .env("COFFERDAM_STORAGE_BLOBS_SECRET_ACCESS_KEY", "hunter2")
        .env("AWS_SECRET_ACCESS_KEY", "hunter2")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("blobs_secret_access_key = \"***\""), "{said}");
    assert!(!said.contains("hunter2"));
}
