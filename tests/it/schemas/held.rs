//! Schemas are enforced, whichever way a value comes in or goes out.

use serde_json::{Value, json};

use crate::support::guests;
use crate::support::host::{Host, program};

/// A host with an echo of these schemas.
fn host(input: Option<&Value>, output: Option<&Value>) -> Host {
    let host = Host::with_config("[http]\ninline_body_bytes = 65536\n");
    let (input, output) = (input.map(Value::to_string), output.map(Value::to_string));
    let module = guests::described(input.as_deref(), output.as_deref());
    host.client.put_module("m", &module).expect(201);
    host
}

#[test]
fn keywords_may_name_a_document_and_properties() {
    let schema = json!({
        "$id": "https://example.com/m",
        "type": "object",
        "properties": {
            "$ref": {"type": "integer"}, "$id": {"type": "integer"},
            "$anchor": {"type": "integer"}, "definitions": {"$ref": "#/properties/$ref"},
        },
    });
    let host = host(Some(&schema), None);
    for name in ["$ref", "$id", "$anchor", "definitions"] {
        let run = |value: Value| {
            let body = json!({ name: value }).to_string();
            host.client.run("m", "application/json", body.as_bytes())
        };
        run(json!(1)).expect(200);
        let problem = run(json!("1")).expect_problem(422, "invalid_input");
        assert!(
            problem["detail"].as_str().unwrap().contains(name),
            "{problem}"
        );
    }
}

#[test]
fn every_content_type_and_a_missing_input_are_checked() {
    let host = host(Some(&json!({"type": "integer"})), None);
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/vnd.example+json",
        "text/plain",
        "application/x-www-form-urlencoded",
    ] {
        host.client.run("m", kind, b"7").expect(200);
        host.client
            .run("m", kind, b"\"7\"")
            .expect_problem(422, "invalid_input");
        let raw = |body: &[u8]| {
            let headers = [("content-type", kind)];
            let client = &host.client;
            client.send("POST", "/v1/tasks?module=m&wait_ms=60000", &headers, body)
        };
        // JSON itself is a task's description, not its input.
        if !kind.to_ascii_lowercase().starts_with("application/json") {
            raw(b"7").expect(200);
            raw(b"{}").expect_problem(422, "invalid_input");
        }
    }
    let submit = |task: Value| host.client.post("/v1/tasks", &task);
    for task in [
        json!({"module": "m"}),
        json!({"module": "m", "input": null}),
        json!({"module": "m", "input": "7"}),
        json!({"module": "m", "input": [7], "content_type": "application/x+json"}),
        json!({"module": "m", "input_base64": "e30="}),
    ] {
        submit(task).expect_problem(422, "invalid_input");
    }
    let execute = json!({"task_id": "00000000-0000-7000-8000-000000000001", "task_type": "m",
        "payload": {"a": 1}, "priority": "normal"});
    host.client
        .post("/execute", &execute)
        .expect_problem(422, "invalid_input");
    // The module itself checks bytes that are neither JSON nor declared as JSON.
    host.client.run("m", "image/png", b"\x89PNG").expect(200);
    host.client
        .run("m", "application/json", b"\x89PNG")
        .expect_problem(422, "invalid_input");
}

#[test]
fn an_output_must_fit_the_modules_schema() {
    let promise = json!({"type": "object", "required": ["n"]});
    let host = host(Some(&json!({})), Some(&promise));
    let run = |body: &[u8]| host.client.run("m", "application/json", body);
    run(br#"{"n": 1}"#).expect(200);
    let problem = run(b"{}").expect_problem(422, "guest_error");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("output schema") && detail.contains("\"n\""),
        "{problem}"
    );
    assert!(problem["usage"]["duration_us"].is_u64());

    let wait = |input: Value| {
        host.client
            .submit_and_wait(&json!({"module": "m", "input": input}))
    };
    assert_eq!(wait(json!({"n": 1}))["status"], "completed");
    let failed = wait(json!([]));
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["error"]["kind"], "guest_error");

    let session = crate::mcp::Session::begin(&host);
    let call = |arguments: Value| {
        session.ask(
            "tools/call",
            &json!({"name": "m", "arguments": {"input": arguments}}),
        )
    };
    let good = call(json!({"n": 1}))["result"].clone();
    assert_eq!(good["structuredContent"], json!({"n": 1}), "{good}");
    let bad = call(json!({}))["result"].clone();
    assert_eq!(bad["isError"], true, "{bad}");
    assert!(
        bad["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("output schema")
    );
}

#[test]
fn a_run_without_a_server_is_checked_as_well() {
    let (takes, gives) = (json!({"type": "array"}), json!({"minItems": 1}));
    let module = guests::described(Some(&takes.to_string()), Some(&gives.to_string()));
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("m.wat");
    std::fs::write(&file, module).unwrap();
    let input = dir.path().join("input.json");
    let run = |text: &str| {
        std::fs::write(&input, text).unwrap();
        let mut command = std::process::Command::new(program());
        command.env("XDG_CACHE_HOME", dir.path());
        command.arg("run").arg("--input").arg(&input).arg(&file);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), output.stdout, said)
    };
    let (code, stdout, said) = run("[1]");
    assert_eq!(
        (code, stdout.as_slice()),
        (Some(0), b"[1]".as_slice()),
        "{said}"
    );
    let (code, _, said) = run("{}");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("invalid_input") && said.contains("must be an array"),
        "{said}"
    );
    let (code, _, said) = run("[]");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("output schema"), "{said}");
}

#[test]
fn a_wrapped_schema_keeps_its_meaning() {
    let tree = json!({"type": "array", "items": {"$ref": "#"}});
    let host = host(Some(&tree), None);
    let session = crate::mcp::Session::begin(&host);
    let list = session.ask("tools/list", &json!({}));
    let schema = &list["result"]["tools"][0]["inputSchema"];
    assert_eq!(
        schema["properties"]["input"]["items"],
        json!({"$ref": "#/properties/input"})
    );
    let call = |input: Value| {
        let call = json!({"name": "m", "arguments": {"input": input}});
        session.ask("tools/call", &call)["result"].clone()
    };
    assert_eq!(call(json!([[], [[]]]))["content"][0]["text"], "[[],[[]]]");
    assert_eq!(call(json!([1]))["isError"], true);
}

#[test]
fn inputs_that_go_to_disk_are_held_too() {
    let config = "[http]\ninline_body_bytes = 65536\n\
                  [sandbox]\nschema_check_memory_bytes = 4194304\n";
    let host = Host::with_config(config);
    let schema = json!({"properties": {"n": {"type": "integer"}}, "maxItems": 1_000_000});
    let module = guests::described(Some(&schema.to_string()), None);
    host.client.put_module("m", &module).expect(201);
    let submit = |kind: &str, body: &str| {
        let target = "/v1/tasks?module=m&delay_ms=600000";
        let headers = [("content-type", kind)];
        host.client.send("POST", target, &headers, body.as_bytes())
    };
    let with = |n: &str, bytes: usize| format!(r#"{{"text": "{}", "n": {n}}}"#, "x".repeat(bytes));
    let many = |item: &str, times: usize| format!("[{}]", vec![item; times].join(","));
    for kind in ["application/json", "application/octet-stream", "text/plain"] {
        submit(kind, &with("7", 200_000)).expect(202);
        let unfit = submit(kind, &with("7.5", 200_000)).expect_problem(422, "invalid_input");
        assert!(unfit["detail"].as_str().unwrap().contains("/n"), "{unfit}");
        // Too long a text, and too large a value.
        for large in [with("7", 1_100_000), many("{}", 100_000)] {
            let problem = submit(kind, &large).expect_problem(413, "schema_check_too_large");
            assert_eq!(problem["limit_bytes"], 4_194_304, "{problem}");
        }
    }
    // What is not JSON is the module's own affair, unless it says that it is.
    for text in [
        "x".repeat(200_000),
        "x".repeat(1_100_000),
        "[".repeat(200_000),
    ] {
        submit("text/plain", &text).expect(202);
        submit("application/json", &text).expect_problem(422, "invalid_input");
    }
    // Nothing is left of what was refused.
    let spooled = std::fs::read_dir(host.data().join("spool")).unwrap();
    assert_eq!(spooled.count(), 6);
}
