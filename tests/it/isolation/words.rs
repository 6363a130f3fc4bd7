//! The word `isolation`, at every entry point that takes it.

use serde_json::{Value, json};

use crate::cli::{cofferdam, text};
use crate::support::guests;
use crate::support::host::Host;

fn host() -> Host {
    let host = Host::start();
    let echo = guests::wat("echo.wat");
    host.client.put_module("echo", &echo).expect(201);
    host
}

#[test]
fn a_task_says_how_it_is_isolated_wherever_it_came_from() {
    let mut host = host();
    let client = host.client.clone();
    let task = |isolation: Value| json!({"module": "echo", "input": 7, "isolation": isolation});
    let mut asked = vec![
        (client.submit(&task(json!("process"))), json!("process")),
        (client.submit(&task(json!("shared"))), json!("shared")),
        (client.submit(&task(Value::Null)), Value::Null),
    ];
    let id = |answer: &Value| answer.as_str().expect("an id").to_owned();
    let raw = client.send(
        "POST",
        "/v1/tasks?module=echo&isolation=process",
        &[("content-type", "application/octet-stream")],
        b"7",
    );
    let raw = raw.expect(202).json();
    asked.push((id(&raw["task_id"]), json!("process")));
    let batch = json!({"tasks": [task(json!("process")), task(Value::Null)]});
    let batch = client.post("/v1/tasks/batch", &batch).expect(202).json();
    asked.push((id(&batch["task_ids"][0]), json!("process")));
    asked.push((id(&batch["task_ids"][1]), Value::Null));
    let submit = ["--server", &client.base, "task", "submit", "echo"];
    let flags = ["--data", "7", "--isolation", "process"];
    let submitted = cofferdam(&[&submit[..], &flags].concat(), b"");
    let line = text(&submitted.stdout);
    asked.push((line.trim().to_owned(), json!("process")));

    for (id, isolation) in &asked {
        let task = client.final_task(id);
        assert_eq!(task["status"], "completed", "{task}");
        assert_eq!(task["isolation"], *isolation, "{task}");
    }
    host.kill();
    host.restart();
    for (id, isolation) in &asked {
        assert_eq!(host.client.task(id)["isolation"], *isolation);
    }
    let listed = host.client.get("/v1/tasks").expect(200).json();
    let listed = listed["items"].as_array().expect("a list").iter();
    let in_processes = listed.filter(|task| task["isolation"] == "process");
    assert_eq!(in_processes.count(), 4);
}

#[test]
fn a_run_at_once_takes_the_word_from_its_query_or_a_header() {
    let host = host();
    let client = &host.client;
    for (query, header) in [
        ("?isolation=process", None),
        ("", Some("process")),
        ("?isolation=process", Some("shared")),
        ("?isolation=shared", None),
    ] {
        let word = header.map(|word| ("cofferdam-isolation", word));
        let headers: Vec<_> = word
            .into_iter()
            .chain([("content-type", "text/plain")])
            .collect();
        let answer = client.send("POST", &format!("/v1/run/echo{query}"), &headers, b"hello");
        assert_eq!(answer.expect(200).body, b"hello");
    }
    client
        .run("echo?isolation=container", "text/plain", b"")
        .expect_problem(400, "invalid_parameter");
    let headers = [("cofferdam-isolation", "Process")];
    let refused = client.send("POST", "/v1/run/echo", &headers, b"");
    let refused = refused.expect_problem(400, "invalid_header");
    assert_eq!(refused["field"], "cofferdam-isolation");
}

#[test]
fn another_word_is_refused_by_its_field() {
    let host = host();
    let wrong = json!("container");
    for (path, body) in [
        ("/v1/tasks", json!({"module": "echo", "isolation": wrong})),
        (
            "/v1/tasks/batch",
            json!({"tasks": [{"module": "echo", "isolation": wrong}]}),
        ),
        (
            "/v1/exec",
            json!({"language": "python", "code": "1", "isolation": wrong}),
        ),
    ] {
        let problem = host.client.post(path, &body);
        let problem = problem.expect_problem(400, "invalid_field");
        let field = problem["field"].as_str().expect("a field");
        assert!(field.ends_with("isolation"), "{problem}");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains("shared, process or dedicated"), "{problem}");
    }
}
