//! The example `fetch`, which sends one request, as a task.

use serde_json::{Value, json};

use super::allowing;
use super::server::Server;
use crate::cli::{cofferdam, text};
use crate::support::guests::built;
use crate::support::host::Host;

/// Where guests run.
const PLACES: [&str; 2] = ["shared", "process"];

fn host(server: &Server, more: &str) -> Host {
    let host = Host::with_config(&allowing(server, more));
    let module = host.client.put_module("fetch", &built("fetch"));
    assert_eq!(module.expect(201).json()["needs"], json!(["http"]));
    host
}

fn fetch(host: &Host, isolation: &str, input: &Value, http: &Value) -> Value {
    host.client.submit_and_wait(&json!({
        "module": "fetch", "input": input, "grants": {"http": http}, "isolation": isolation,
    }))
}

fn answer_of(host: &Host, task: &Value) -> Value {
    assert_eq!(task["status"], "completed", "{task}");
    let id = task["task_id"].as_str().unwrap();
    let result = host.client.get(&format!("/v1/tasks/{id}/result"));
    result.expect(200).json()
}

fn message(task: &Value) -> &str {
    assert_eq!(task["status"], "failed", "{task}");
    task["error"]["message"].as_str().unwrap()
}

#[test]
fn a_module_gets_the_answer_to_what_it_was_granted() {
    let server = Server::start();
    let host = host(&server, "");
    let grants = json!([server.place()]);
    for isolation in PLACES {
        let get = |path: &str| {
            let task = fetch(&host, isolation, &json!({"url": server.url(path)}), &grants);
            answer_of(&host, &task)
        };
        assert_eq!(get("/hello")["beginning"], "hello");
        assert_eq!(get("/missing")["status"], 404);
        assert_eq!(get("/chunked")["beginning"], "abc");
        // Nothing is unpacked.
        assert_eq!(get("/packed")["body_bytes"], 3);
        // A redirect is not followed.
        let redirected = get("/redirect");
        assert_eq!(redirected["status"], 302);
        assert_eq!(redirected["location"], server.url("/hello"));
        let input = json!({"url": server.url("/echo"), "method": "POST", "body_bytes": 200_000});
        let task = fetch(&host, isolation, &input, &grants);
        let echoed = answer_of(&host, &task);
        let beginning = echoed["beginning"].as_str().unwrap();
        assert!(
            beginning.starts_with("POST /echo HTTP/1.1\n"),
            "{beginning}"
        );
        assert!(
            beginning.contains(&format!("host: {}\n", server.place())),
            "{beginning}"
        );
        assert!(echoed["body_bytes"].as_u64().unwrap() > 200_000);
        let usage = &task["usage"];
        assert_eq!(usage["egress_requests"], 1, "{task}");
        assert!(usage["egress_out_bytes"].as_u64().unwrap() > 200_000);
        assert!(usage["egress_in_bytes"].as_u64().unwrap() > 200_000);
        let id = task["task_id"].as_str().unwrap();
        let attempts = host
            .client
            .get(&format!("/v1/tasks/{id}/attempts"))
            .expect(200)
            .json();
        assert_eq!(attempts["items"][0]["usage"], *usage, "{attempts}");
    }
}

/// Holds that the audit trail names the tasks that tried what they were not granted, and what they tried. Those
/// that were granted nothing at all had no way out on which they could have tried it.
#[track_caller]
fn assert_noted(host: &Host) {
    // Its entry is behind those of what was refused before.
    host.client.delete("/v1/modules/nothing");
    let path = "/v1/audit?actor=guest&order=oldest";
    let entries = host.client.get(path).expect(200).json();
    let entries = entries["items"].as_array().unwrap();
    let codes: Vec<_> = entries.iter().map(|entry| &entry["detail"]).collect();
    let of_each = ["denied", "denied", "prohibited"];
    assert_eq!(codes, [of_each, of_each].concat(), "{entries:#?}");
    for entry in entries {
        assert_eq!(entry["outcome"], "refused");
        assert_eq!(entry["action"], "refused_egress");
        let of = entry["resource"].as_str().unwrap();
        assert!(of.starts_with("/v1/tasks/"), "{of}");
        assert!(entry["from"].as_str().unwrap().starts_with("GET 127.0.0."));
    }
}

#[test]
fn a_module_reaches_nothing_that_it_was_not_granted() {
    let server = Server::start();
    let host = host(&server, "");
    let port = server.port();
    for isolation in PLACES {
        for (url, grants, says) in [
            (server.url("/hello"), json!([]), "grants.http"),
            (
                server.url("/hello"),
                json!([format!("localhost:{port}")]),
                "grants.http",
            ),
            (
                server.url("/hello"),
                json!([{"host": server.place(), "methods": ["POST"]}]),
                "grants.http",
            ),
            // It is granted and allowed, but its address is not one that the operator lists.
            (
                format!("http://127.0.0.3:{port}/hello"),
                json!([format!("127.0.0.3:{port}")]),
                "not reached from here",
            ),
        ] {
            let task = fetch(&host, isolation, &json!({"url": url}), &grants);
            assert!(message(&task).contains(says), "{isolation} {url}: {task}");
            assert_eq!(task["error"]["kind"], "guest_error");
            let id = task["task_id"].as_str().unwrap();
            let log = host
                .client
                .get(&format!("/v1/tasks/{id}/logs?stream=log"))
                .expect(200)
                .text();
            assert!(log.contains("\"level\":\"warn\""), "{log}");
        }
    }
    assert_eq!(server.connections(), 0);
    assert_noted(&host);
    // Where a grant exists, its use is counted and the host's log tells of a refused one.
    assert!(
        host.log()
            .contains("a request to another machine was refused"),
        "{}",
        host.log()
    );
    let refused = json!({
        "module": "fetch", "input": {"url": "http://a.test/"}, "grants": {"http": ["a.test"]},
    });
    let problem = host
        .client
        .post("/v1/tasks", &refused)
        .expect_problem(400, "grant_refused");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("reach a.test") && detail.contains("[egress] allow"),
        "{detail}"
    );
}

#[test]
fn answers_have_an_end() {
    let server = Server::start();
    let host = host(
        &server,
        "in_bytes = 1000000\nout_bytes = 100000\nrequest_timeout_ms = 500",
    );
    let grants = json!([server.place()]);
    for isolation in PLACES {
        for (path, body_bytes) in [
            ("/endless", 0),
            ("/half", 0),
            ("/never", 0),
            ("/never", 300_000),
            ("/endless-head", 0),
            ("/drip", 0),
            ("/drip-head", 0),
        ] {
            let input = json!({"url": server.url(path), "body_bytes": body_bytes, "method": "PUT"});
            let task = fetch(&host, isolation, &input, &grants);
            assert_eq!(task["status"], "failed", "{isolation} {path}: {task}");
            let used = &task["usage"];
            assert!(
                used["egress_in_bytes"].as_u64().unwrap() < 1_100_000,
                "{task}"
            );
            assert!(
                used["egress_out_bytes"].as_u64().unwrap() <= 100_000,
                "{task}"
            );
        }
    }
    server.await_given_up(2);
}

#[test]
fn the_end_of_a_run_ends_its_requests() {
    let server = Server::start();
    let host = host(&server, "");
    for (number, isolation) in PLACES.into_iter().enumerate() {
        let id = host.client.submit(&json!({
            "module": "fetch", "input": {"url": server.url("/never")}, "isolation": isolation,
            "grants": {"http": [server.place()]}, "limits": {"timeout_ms": 300},
        }));
        let task = host.client.final_task(&id);
        assert_eq!(task["error"]["kind"], "timeout", "{task}");
        assert_eq!(task["usage"]["egress_requests"], 1, "{task}");
        server.await_given_up(number + 1);
    }
}

/// What is said of a tenant holds when its task is submitted, and again when it is run, wherever that is.
#[test]
fn a_tenants_list_holds_at_the_submit_and_at_the_run() {
    let server = Server::start();
    let host = host(&server, "");
    let put = |rules: &Value| {
        let json = [("content-type", "application/json")];
        let body = rules.to_string();
        host.client
            .send("PUT", "/v1/tenants/default", &json, body.as_bytes())
            .expect(200)
            .json()
    };
    let elsewhere = json!({"egress": ["*.example"]});
    assert_eq!(put(&elsewhere)["egress"], json!(["*.example"]));
    let task = json!({
        "module": "fetch", "input": {"url": server.url("/hello")}, "grants": {"http": [server.place()]},
    });
    let problem = host
        .client
        .post("/v1/tasks", &task)
        .expect_problem(400, "grant_refused");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("this tenant may not reach"),
        "{problem}"
    );
    put(&json!({"egress": [server.place()]}));
    assert_eq!(host.client.submit_and_wait(&task)["status"], "completed");
    let mut later = task.clone();
    later["delay_ms"] = json!(1500);
    let id = host.client.submit(&later);
    put(&elsewhere);
    let before = server.connections();
    let ended = host.client.final_task(&id);
    assert_eq!(ended["error"]["kind"], "invalid_input", "{ended}");
    assert!(
        message(&ended).contains("this tenant may not reach"),
        "{ended}"
    );
    assert_eq!(server.connections(), before);
    put(&json!({"egress": []}));
    host.client
        .post("/v1/tasks", &task)
        .expect_problem(400, "grant_refused");
    put(&json!({}));
    assert_eq!(host.client.submit_and_wait(&task)["status"], "completed");
}

#[test]
fn a_task_is_granted_hosts_from_the_command_line() {
    let server = Server::start();
    let host = host(&server, "");
    let input = json!({"url": server.url("/hello")}).to_string();
    let submit = |more: &[&str]| {
        let mut args = vec![
            "--server",
            &host.client.base,
            "task",
            "submit",
            "fetch",
            "--wait",
            "--data",
            &input,
        ];
        args.extend(more);
        cofferdam(&args, b"")
    };
    let granted = submit(&["--http", &server.place()]);
    assert!(
        text(&granted.stdout).contains("hello"),
        "{}",
        text(&granted.stderr)
    );
    assert_eq!(submit(&[]).status.code(), Some(1));
    assert_eq!(submit(&["--http", "a b"]).status.code(), Some(2));
    assert_eq!(server.connections(), 1);
}
