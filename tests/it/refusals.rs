//! Refusals of the tasks API, and their messages: the name, the rule and what to do.

use serde_json::{Value, json};

use crate::support::guests;
use crate::support::host::Host;

fn host_with(names: &[&str]) -> Host {
    let host = Host::start();
    for name in names {
        host.client
            .put_module(name, &guests::built(name))
            .expect(201);
    }
    host
}

#[test]
fn metadata_that_would_spoil_the_list_for_others_is_refused() {
    let host = host_with(&["echo"]);
    let submit = |metadata: &str| {
        let body = format!(r#"{{"module": "echo", "metadata": {metadata}}}"#);
        let json = [("content-type", "application/json")];
        host.client
            .send("POST", "/v1/tasks", &json, body.as_bytes())
    };
    let nested = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    for bad in [
        r#"{"a": "\ud800"}"#,
        r#"{"a": 1e999}"#,
        "[]",
        &nested(32),
        &nested(5000),
    ] {
        let problem = submit(bad).expect_problem(400, "invalid_field");
        assert_eq!(problem["field"], "metadata", "{bad}");
    }
    submit(&nested(31)).expect(202);
    // A line break between its tokens stays inside the line of an event.
    let task = submit("{\n\n\"a\":\r\n1}").expect(202).json();
    let id = task["task_id"].as_str().unwrap();
    let events = host
        .client
        .get(&format!("/v1/tasks/{id}/events"))
        .expect(200);
    let last = events.text();
    let last = last.trim_end().lines().last().unwrap();
    let told: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(told["metadata"], json!({"a": 1}));
    assert_eq!(host.client.get("/v1/tasks").json()["items"][0], told);
}

#[test]
fn a_refusal_over_a_tasks_state_keeps_its_own_status() {
    let host = host_with(&["echo"]);
    let task = host.client.submit_and_wait(&json!({"module": "echo"}));
    let path = format!("/v1/tasks/{}", task["task_id"].as_str().unwrap());
    let problem = host.client.delete(&path).expect_problem(409, "task_final");
    assert_eq!(problem["task_status"], "completed");
    let retry = host.client.send("POST", &format!("{path}/retry"), &[], b"");
    let problem = retry.expect_problem(409, "task_not_failed");
    assert_eq!(problem["task_status"], "completed");
}

#[test]
fn a_refusal_repeats_what_a_caller_said_only_in_part() {
    let host = Host::start();
    let long = "\u{7f}".repeat(1 << 20);
    let bodies = [
        json!({"module": "echo", "priority": &long}),
        json!({"module": "echo", &long: 1}),
        json!({"module": "echo", "env": {&long: 1}}),
        json!({"module": "echo", "grants": {"dirs": [{"name": "a", "at": "/a", "access": &long}]}}),
    ];
    for body in bodies {
        let headers = [("content-type", "application/json")];
        let body = body.to_string();
        let answer = host
            .client
            .send("POST", "/v1/tasks", &headers, body.as_bytes());
        let problem = answer.expect_problem(400, "invalid_field");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.len() < 10_000, "{} bytes", detail.len());
        assert!(problem.to_string().len() < 100_000, "{}", problem["field"]);
    }
}

#[test]
fn refusals_name_the_field_and_the_remedy() {
    let host = Host::start();
    let refused = |body: &str| {
        let headers = [("content-type", "Application/JSON; charset=UTF-8")];
        let answer = host
            .client
            .send("POST", "/v1/tasks", &headers, body.as_bytes());
        let problem = answer.expect_problem(400, "invalid_field");
        problem["detail"].as_str().unwrap().to_owned()
    };
    let typo = refused(r#"{"module": "x", "inptu": 1}"#);
    assert!(typo.ends_with("did you mean `input`?"), "{typo}");
    let null = refused(r#"{"module": "x", "args": null}"#);
    assert!(
        null.starts_with("args: ") && null.contains("leave the field out"),
        "{null}"
    );
    let status = host
        .client
        .get("/v1/tasks?status=done")
        .expect_problem(400, "invalid_parameter");
    let detail = status["detail"].as_str().unwrap();
    assert!(
        detail.contains("status") && detail.contains("completed"),
        "{detail}"
    );
    let typo = host
        .client
        .get("/v1/tasks?stauts=failed")
        .expect_problem(400, "unknown_parameter");
    assert!(
        typo["detail"]
            .as_str()
            .unwrap()
            .ends_with("did you mean status?")
    );
}

#[expect(clippy::too_many_lines, reason = "a table of bodies, not a procedure")]
#[test]
fn a_list_is_no_object_wherever_it_stands() {
    let host = host_with(&["echo"]);
    let task = |more: Value| {
        let mut task = json!({"module": "echo", "input": 7});
        let more = more.as_object().unwrap().clone();
        task.as_object_mut().unwrap().extend(more);
        task
    };
    let code = |more: Value| {
        let mut code = json!({"language": "javascript", "code": "1"});
        let more = more.as_object().unwrap().clone();
        code.as_object_mut().unwrap().extend(more);
        code
    };
    let dirs = json!({"dirs": [["data", "/data"]]});
    let headers = json!({"http": [{"host": "a.example", "headers": {"X": ["token"]}}]});
    let retry = json!([3, 1, 1000]);
    for (method, path, body, field) in [
        (
            "POST",
            "/v1/tasks",
            task(json!({"limits": [5000]})),
            "limits",
        ),
        ("POST", "/v1/tasks", task(json!({"retry": retry})), "retry"),
        (
            "POST",
            "/v1/tasks",
            task(json!({"cache": [60000]})),
            "cache",
        ),
        (
            "POST",
            "/v1/tasks",
            task(json!({"callback": ["http://a.example/"]})),
            "callback",
        ),
        ("POST", "/v1/tasks", task(json!({"grants": [[]]})), "grants"),
        (
            "POST",
            "/v1/tasks",
            task(json!({"grants": dirs})),
            "grants.dirs[0]",
        ),
        (
            "POST",
            "/v1/tasks",
            task(json!({"grants": headers})),
            "grants.http",
        ),
        (
            "POST",
            "/v1/tasks/batch",
            json!({"tasks": [["echo"]]}),
            "tasks[0]",
        ),
        ("POST", "/v1/exec", code(json!({"grants": [[]]})), "grants"),
        (
            "POST",
            "/v1/exec",
            code(json!({"files": {"a": ["aGk="]}})),
            "files",
        ),
        (
            "POST",
            "/v1/sessions",
            json!({"language": "javascript", "grants": [[]]}),
            "grants",
        ),
        (
            "POST",
            "/v1/workflows",
            json!({"nodes": [["a", "echo"]]}),
            "nodes[0]",
        ),
        (
            "POST",
            "/v1/workflows",
            json!({"nodes": [{"id": "a", "wait": ["go"]}]}),
            "nodes[0].wait",
        ),
        (
            "PUT",
            "/v1/schedules/a",
            json!({"every_ms": 60000, "task": ["echo"]}),
            "task",
        ),
        (
            "PUT",
            "/v1/tenants/a",
            json!({"ceilings": [500]}),
            "ceilings",
        ),
        (
            "POST",
            "/v1/tasks/cancel",
            json!({"filter": [["pending"]]}),
            "filter",
        ),
    ] {
        let json = [("content-type", "application/json")];
        let answer = host
            .client
            .send(method, path, &json, body.to_string().as_bytes());
        assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
        let problem = answer.expect_problem(400, "invalid_field");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(field), "{path} {body}: {problem}");
    }
}
