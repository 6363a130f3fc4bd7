//! Tenants that are removed with all that they have.

use serde_json::{Value, json};

use super::cli::done;
use super::site::{ADMIN, Site};
use crate::support::guests;
use crate::support::http::Answer;

/// Removes a tenant, however many requests that takes.
fn purged(site: &Site, name: &str) {
    let path = format!("/v1/tenants/{name}?purge=true");
    while site.send(ADMIN, "DELETE", &path, &Value::Null).status != 204 {}
}

const SCOPES: [&str; 3] = ["run", "read", "modules"];

fn submit(site: &Site, key: &str, task: &Value) -> Value {
    let path = "/v1/tasks?wait_ms=60000";
    site.send(key, "POST", path, task).expect(200).json()
}

/// Modules, a task that left an artifact, one that waits and a batch of two more; gives the id of the first.
fn filled(site: &Site, key: &str) -> String {
    for name in ["echo", "sleep"] {
        site.put_module(key, name, &guests::wat(&format!("{name}.wat")));
    }
    let wasm = [("x-api-key", key), ("content-type", "application/wasm")];
    let report = guests::built("report");
    site.host
        .client
        .send("PUT", "/v1/modules/report", &wasm, &report)
        .expect(201);
    let report = json!({
        "module": "report", "args": ["Sales"], "content_type": "text/plain",
        "input_base64": "dGVhIDEK",
    });
    let report = submit(site, key, &report);
    let later = json!({"module": "echo", "input": 7, "delay_ms": 3_600_000});
    site.send(key, "POST", "/v1/tasks", &later).expect(202);
    let batch = json!({"tasks": [later, later], "parallelism": 1});
    site.send(key, "POST", "/v1/tasks/batch", &batch)
        .expect(202);
    report["task_id"].as_str().unwrap().to_owned()
}

fn what_a_tenant_has_goes_with_it(site: &Site) {
    let keys = ["a", "b"].map(|tenant| site.key(tenant, &SCOPES));
    let reports = keys.each_ref().map(|key| filled(site, key));
    let long = json!({"module": "sleep", "input": 7, "limits": {"timeout_ms": 60_000}});
    let running = site
        .send(&keys[0], "POST", "/v1/tasks", &long)
        .expect(202)
        .json();
    let running = format!("/v1/tasks/{}", running["task_id"].as_str().unwrap());
    while site.send(&keys[0], "GET", &running, &Value::Null).json()["status"] != "running" {}
    let tasks = |tenant: &str| {
        let path = format!("/v1/tasks?tenant={tenant}");
        let tasks = site
            .send(ADMIN, "GET", &path, &Value::Null)
            .expect(200)
            .json();
        tasks["items"].as_array().unwrap().len()
    };
    assert_eq!((tasks("a"), tasks("b")), (5, 4));
    let remove = |path: &str| site.send(ADMIN, "DELETE", path, &Value::Null);
    let problem = remove("/v1/tenants/a").expect_problem(409, "tenant_not_empty");
    assert_eq!(problem["modules"], 3, "{problem}");
    remove("/v1/tenants/default?purge=true").expect_problem(409, "tenant_default");
    remove("/v1/tenants/nobody?purge=true").expect_problem(404, "tenant_not_found");
    purged(site, "a");
    remove("/v1/tenants/a?purge=true").expect_problem(404, "tenant_not_found");
    let refused: Answer = site.send(&keys[0], "GET", "/v1/tasks", &Value::Null);
    refused.expect_problem(401, "key_revoked");
    // The other's are all there, and one of the same name begins with nothing.
    assert_eq!((tasks("a"), tasks("b")), (0, 4));
    let artifacts = |key: &str, task: &str| {
        let path = format!("/v1/tasks/{task}/artifacts");
        site.send(key, "GET", &path, &Value::Null)
    };
    let theirs = artifacts(&keys[1], &reports[1]).expect(200).json();
    assert_ne!(theirs["items"], json!([]), "{theirs}");
    site.send(&keys[1], "POST", "/v1/run/echo", &json!("a"))
        .expect(200);
    site.send(
        ADMIN,
        "PUT",
        "/v1/tenants/a",
        &json!({"storage_bytes": 10_000}),
    )
    .expect(201);
    let key = site.key("a", &SCOPES);
    assert_eq!(tasks("a"), 0);
    artifacts(&key, &reports[0]).expect(404);
    site.send(&key, "GET", "/v1/modules/echo", &Value::Null)
        .expect(404);
    site.put_module(&key, "echo", &guests::wat("echo.wat"));
    let echo = submit(site, &key, &json!({"module": "echo", "input": 7}));
    assert_eq!(echo["status"], "completed", "{echo}");
}

#[test]
fn what_a_tenant_has_goes_with_it_on_sqlite() {
    let site = Site::start("");
    what_a_tenant_has_goes_with_it(&site);
    // From the command line too, and nothing is left beside the database.
    done(&site, &["tenant", "rm", "a", "--purge"]);
    done(&site, &["tenant", "rm", "b", "--purge"]);
    let artifacts = std::fs::read_dir(site.host.data().join("artifacts")).unwrap();
    assert_eq!(artifacts.count(), 0);
}

#[test]
fn what_a_tenant_has_goes_with_it_on_postgres() {
    what_a_tenant_has_goes_with_it(&Site::on_postgres(""));
}
