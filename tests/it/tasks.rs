//! Durable tasks over HTTP: submit, watch, cancel, retry, list.

mod filters;

use serde_json::{Value, json};

use crate::cli::cofferdam;
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
fn a_task_runs_and_leaves_its_result_and_figures() {
    let host = host_with(&["primes"]);
    let task = host.client.submit_and_wait(
        &json!({"module": "primes", "input": {"from": 1, "to": 1000}, "metadata": {"who": "me"}}),
    );
    assert_eq!(task["status"], "completed", "{task}");
    assert_eq!(
        (&task["attempt"], &task["max_attempts"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(task["error"], Value::Null);
    assert!(task["usage"]["duration_us"].as_u64().unwrap() > 0);
    assert!(task["usage"]["peak_memory_bytes"].as_u64().unwrap() > 0);
    assert!(task["digest"].as_str().unwrap().starts_with("sha256:"));
    for field in ["created_at", "started_at", "finished_at"] {
        let time = task[field]
            .as_str()
            .unwrap_or_else(|| panic!("{field}: {task}"));
        assert!(
            time.ends_with('Z') && time.len() == "2026-01-01T00:00:00.000Z".len(),
            "{time}"
        );
    }
    let id = task["task_id"].as_str().unwrap();
    let result = host
        .client
        .get(&format!("/v1/tasks/{id}/result"))
        .expect(200);
    assert_eq!(result.header("content-type"), "application/json");
    assert_eq!(result.json()["count"], 168);
    let attempts = host
        .client
        .get(&format!("/v1/tasks/{id}/attempts"))
        .expect(200)
        .json();
    assert_eq!(attempts["items"].as_array().unwrap().len(), 1, "{attempts}");
}

#[test]
fn a_repeated_submission_is_the_same_task() {
    let host = host_with(&["echo"]);
    let task = json!({"module": "echo", "input": 1});
    let key = [
        ("content-type", "application/json"),
        ("idempotency-key", "order-7"),
    ];
    let send = |body: &Value| {
        host.client
            .send("POST", "/v1/tasks", &key, body.to_string().as_bytes())
    };
    let first = send(&task).expect(202).json();
    assert_eq!(send(&task).expect(200).json()["task_id"], first["task_id"]);
    send(&json!({"module": "echo", "input": 2})).expect(409);

    let id = "0190d1f0-0000-7000-8000-000000000001";
    let own = json!({"module": "echo", "input": 1, "task_id": id});
    assert_eq!(
        host.client.post("/v1/tasks", &own).expect(202).json()["task_id"],
        id
    );
    assert_eq!(
        host.client.post("/v1/tasks", &own).expect(200).json()["task_id"],
        id
    );
    host.client
        .post("/v1/tasks", &json!({"module": "echo", "task_id": id}))
        .expect(409);

    let keyed = json!({"module": "echo", "input": 3, "dedup_key": "nightly"});
    let first = host.client.post("/v1/tasks", &keyed).expect(202).json();
    let other = json!({"module": "echo", "input": 4, "dedup_key": "nightly"});
    assert_eq!(
        host.client.post("/v1/tasks", &other).expect(200).json()["task_id"],
        first["task_id"]
    );
}

#[test]
fn nothing_misspelt_or_out_of_range_is_accepted() {
    let host = host_with(&["echo"]);
    let refused = |body: Value, names: &str| {
        let problem = host.client.post("/v1/tasks", &body).expect(400).json();
        assert!(
            problem["detail"].as_str().unwrap().contains(names),
            "{problem}"
        );
    };
    refused(json!({"module": "echo", "priorty": "high"}), "priorty");
    refused(
        json!({"module": "echo", "limits": {"timeout": 1}}),
        "timeout",
    );
    refused(
        json!({"module": "echo", "limits": {"timeout_ms": 0}}),
        "timeout_ms",
    );
    refused(
        json!({"module": "echo", "limits": {"timeout_ms": -5}}),
        "timeout_ms",
    );
    refused(
        json!({"module": "echo", "limits": {"memory_bytes": 1.5}}),
        "memory_bytes",
    );
    refused(
        json!({"module": "echo", "limits": {"timeout_ms": u64::MAX}}),
        "timeout_ms",
    );
    refused(
        json!({"module": "echo", "retry": {"max_attempts": 0}}),
        "max_attempts",
    );
    refused(
        json!({"module": "echo", "retry": {"max_attempts": 101}}),
        "max_attempts",
    );
    refused(json!({"module": "echo", "priority": "urgent"}), "priority");
    refused(
        json!({"module": "echo", "input": 1, "input_base64": "AA=="}),
        "input_base64",
    );
    refused(json!({"module": "echo", "task_id": "7"}), "task_id");
    refused(
        json!({"module": "echo", "grants": {"dirs": [{"name": "x", "at": "/x"}]}}),
        "x",
    );
    refused(json!({"input": 1}), "module");
    host.client
        .post("/v1/tasks", &json!({"module": "nobody"}))
        .expect(404);
    let bad = [("content-type", "application/json")];
    host.client
        .send("POST", "/v1/tasks", &bad, b"{\"module\": \"echo\",")
        .expect(400);
    host.client
        .send(
            "POST",
            "/v1/tasks",
            &bad,
            b"{\"module\": \"echo\", \"module\": \"echo\"}",
        )
        .expect(400);
    assert_eq!(
        host.client.get("/v1/tasks").expect(200).json()["items"],
        json!([])
    );
}

#[test]
fn a_delayed_task_waits_and_a_pending_one_is_cancelled_at_once() {
    let host = host_with(&["echo"]);
    let id = host
        .client
        .submit(&json!({"module": "echo", "delay_ms": 3_600_000}));
    let task = host.client.task(&id);
    assert_eq!(
        (&task["status"], &task["label"]),
        (&json!("pending"), &json!("scheduled"))
    );
    host.client
        .get(&format!("/v1/tasks/{id}/result"))
        .expect(202);
    host.client.delete(&format!("/v1/tasks/{id}")).expect(202);
    assert_eq!(host.client.task(&id)["status"], "cancelled");
    host.client.delete(&format!("/v1/tasks/{id}")).expect(409);
    host.client
        .post(&format!("/v1/tasks/{id}/retry"), &Value::Null);
    assert_eq!(host.client.final_task(&id)["status"], "completed");
}

#[test]
fn a_running_task_cleans_up_when_it_is_cancelled() {
    let host = host_with(&["optimise"]);
    let input = json!({"function": "rastrigin", "dimensions": 4, "iterations": 4_000_000_000_u64, "precision": 0.0, "seed": 1});
    let id = host
        .client
        .submit(&json!({"module": "optimise", "input": input,
        "limits": {"timeout_ms": 60_000, "cpu_ms": 60_000}}));
    host.client.task_when(&id, |task| {
        task["progress"].as_f64().is_some_and(|p| p > 0.0) || task["status"] == "failed"
    });
    host.client.delete(&format!("/v1/tasks/{id}")).expect(202);
    let task = host.client.final_task(&id);
    assert_eq!(task["status"], "cancelled", "{task}");
}

#[test]
fn tasks_are_listed_newest_first_and_by_what_changed() {
    let host = host_with(&["echo"]);
    let ids: Vec<String> = (0..5)
        .map(|n| host.client.submit(&json!({"module": "echo", "input": n})))
        .collect();
    for id in &ids {
        host.client.final_task(id);
    }
    let listed = |query: &str| -> (Vec<String>, Value) {
        let page = host
            .client
            .get(&format!("/v1/tasks?{query}"))
            .expect(200)
            .json();
        let items = page["items"].as_array().unwrap();
        (
            items
                .iter()
                .map(|t| t["task_id"].as_str().unwrap().to_owned())
                .collect(),
            page,
        )
    };
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(listed("limit=10").0, newest_first);
    let (first, page) = listed("limit=3");
    let cursor = page["next_cursor"].as_str().unwrap();
    let (rest, _) = listed(&format!("limit=3&cursor={cursor}"));
    assert_eq!([first, rest].concat(), newest_first);
    assert_eq!(listed("status=failed").0.len(), 0);
    assert_eq!(
        listed("status=completed&module=echo&priority=normal")
            .0
            .len(),
        5
    );

    let as_of = listed("since=2020-01-01T00:00:00Z").1["as_of"]
        .as_str()
        .unwrap()
        .to_owned();
    let late = host.client.submit(&json!({"module": "echo"}));
    host.client.final_task(&late);
    assert!(listed(&format!("since={as_of}")).0.contains(&late));
    host.client.get("/v1/tasks?since=yesterday").expect(400);
    host.client.get("/v1/tasks?status=done").expect(400);
}

#[test]
fn events_tell_the_story_to_its_end() {
    let host = host_with(&["optimise"]);
    let input =
        serde_json::from_slice::<Value>(&guests::sample("optimise/data/rastrigin.json")).unwrap();
    let id = host
        .client
        .submit(&json!({"module": "optimise", "input": input}));
    let events = host
        .client
        .get(&format!("/v1/tasks/{id}/events"))
        .expect(200);
    assert_eq!(events.header("content-type"), "text/event-stream");
    let text = events.text();
    assert!(
        text.contains("event: status") && text.contains("event: result"),
        "{text}"
    );
    let last = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .next_back()
        .expect("events have ids");
    let resumed = host
        .client
        .send(
            "GET",
            &format!("/v1/tasks/{id}/events"),
            &[("last-event-id", last)],
            b"",
        )
        .text();
    assert!(!resumed.contains("event: progress"), "{resumed}");
}

#[test]
fn artifacts_and_streams_are_kept() {
    let host = host_with(&["report"]);
    let text = String::from_utf8(guests::sample("report/data/sales.txt")).unwrap();
    let task = json!({"module": "report", "content_type": "text/plain", "args": ["--top", "3", "Sales"],
        "env": {"REPORT_UNIT": "EUR"}, "input_base64": base64(text.as_bytes())});
    let task = host.client.submit_and_wait(&task);
    assert_eq!(task["status"], "completed", "{task}");
    let id = task["task_id"].as_str().unwrap();
    let result = host
        .client
        .get(&format!("/v1/tasks/{id}/result"))
        .expect(200)
        .text();
    assert!(result.contains("EUR"), "{result}");
    let list = host
        .client
        .get(&format!("/v1/tasks/{id}/artifacts"))
        .expect(200)
        .json();
    let path = list["items"][0]["path"]
        .as_str()
        .unwrap_or_else(|| panic!("{list}"));
    let artifact = host
        .client
        .get(&format!("/v1/tasks/{id}/artifacts/{path}"))
        .expect(200);
    assert_eq!(artifact.body.len(), list["items"][0]["size_bytes"]);
    let artifact = |path: &str| host.client.get(&format!("/v1/tasks/{id}/artifacts/{path}"));
    for bad in [
        "../../cofferdam.toml",
        "%2e%2e/cofferdam.toml",
        "/etc/passwd",
    ] {
        artifact(bad).expect_problem(400, "invalid_path");
    }
    artifact("nothing").expect(404);
}

#[test]
fn a_task_on_raw_bytes_gets_the_whole_of_a_large_body() {
    let host = Host::with_config("[http]\ninline_body_bytes = 65536\n");
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let body: Vec<u8> = (0..1_000_003_u32).map(|n| n.to_le_bytes()[0]).collect();
    let target = "/v1/tasks?module=echo&wait_ms=60000";
    let headers = [("content-type", "application/octet-stream")];
    let task = host
        .client
        .send("POST", target, &headers, &body)
        .expect(200);
    let task = task.json();
    assert_eq!(task["status"], "completed", "{task}");
    let id = task["task_id"].as_str().unwrap();
    let result = host
        .client
        .get(&format!("/v1/tasks/{id}/result"))
        .expect(200);
    assert!(result.body == body, "{} bytes came back", result.body.len());
}

#[test]
fn a_large_input_is_spooled_and_seen_as_a_file() {
    let host = Host::with_config("[http]\ninline_body_bytes = 65536\n");
    host.client
        .put_module("transform", &guests::built("transform"))
        .expect(201);
    let rows: String = (0..20_000).map(|n| format!("{n},name {n}\\n")).collect();
    let body = format!(r#"{{"from": "csv", "to": "json", "text": "id,name\n{rows}"}}"#);
    let answer = host.client.send(
        "POST",
        "/v1/tasks?module=transform&wait_ms=60000",
        &[("content-type", "application/json; charset=utf-8")],
        body.as_bytes(),
    );
    let task = answer.expect(200).json();
    assert_eq!(task["status"], "completed", "{task}");
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn a_commands_output_is_its_standard_output_wherever_it_is_asked_for() {
    let host = host_with(&["report"]);
    let task = host
        .client
        .submit_and_wait(&json!({"module": "report", "input": "tea 2.50\n",
            "content_type": "text/plain", "args": ["Sales"]}));
    assert_eq!(task["status"], "completed", "{task}");
    let of = |path: &str| {
        let path = format!("/v1/tasks/{}/{path}", task["task_id"].as_str().unwrap());
        host.client.get(&path).expect(200)
    };
    assert!(of("result").text().contains("tea"));
    assert_eq!(of("logs").text(), of("result").text());
    assert_eq!(of("result").header("cofferdam-truncated"), "");

    // A cut output is not presented as the whole.
    host.client
        .put_module("flood", &guests::wat("flood-stdout.wat"))
        .expect(201);
    let cut = host.client.run("flood", "text/plain", b"").expect(200);
    assert_eq!(cut.header("cofferdam-truncated"), "stdout, stderr");
    let task = host
        .client
        .submit_and_wait(&json!({"module": "flood", "limits": {"output_bytes": 10}}));
    let path = format!("/v1/tasks/{}/result", task["task_id"].as_str().unwrap());
    let cut = host.client.get(&path).expect(200);
    assert_eq!(cut.header("cofferdam-truncated"), "stdout, stderr");
    assert_eq!(cut.body.len(), 10);
}

#[test]
fn a_page_ends_early_if_its_tasks_have_much_text() {
    let host = Host::start();
    host.client
        .put_module("echo", &guests::wat("echo.wat"))
        .expect(201);
    let text = "x".repeat(16_000);
    for _ in 0..200 {
        host.client
            .submit(&json!({"module": "echo", "delay_ms": 600_000,
            "metadata": {"text": text}}));
    }
    let (mut seen, mut pages, mut cursor) = (0, 0, String::new());
    loop {
        let answer = host.client.get(&format!("/v1/tasks?limit=1000{cursor}"));
        let answer = answer.expect(200);
        assert!(answer.body.len() < 4 << 20, "{} bytes", answer.body.len());
        let page = answer.json();
        seen += page["items"].as_array().unwrap().len();
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(seen == 200 && pages > 1, "{seen} tasks on {pages} pages");
    // The command line goes on to what was asked for.
    let list = ["--server", &host.client.base, "task", "list", "--limit"];
    for limit in [150, 300] {
        let output = cofferdam(&[&list[..], &[&limit.to_string()]].concat(), b"");
        let lines = output.stdout.split(|byte| *byte == b'\n').count() - 1;
        assert_eq!(lines, seen.min(limit));
    }
}
