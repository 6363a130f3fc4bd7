//! `/mcp` as the protocol's official client sees it, with sessions and without.

use std::process::Command;

use serde_json::{Value, json};

use super::PATIENT;
use crate::exec::ready;
use crate::support::guests;
use crate::support::host::Host;

/// The Python of the peers, which has the client.
fn python() -> std::path::PathBuf {
    let python = guests::root().join("target/peers-venv/bin/python");
    let has_client = Command::new(&python).args(["-c", "import mcp"]).status();
    assert!(
        has_client.is_ok_and(|status| status.success()),
        "{} has no mcp; `cargo xtask peers` installs it",
        python.display()
    );
    python
}

/// Uploads a script of a language under a name.
fn put_script(host: &Host, name: &str, kind: &str, source: &str) {
    let path = format!("/v1/modules/{name}");
    let headers = [("content-type", kind)];
    host.client
        .send("PUT", &path, &headers, source.as_bytes())
        .expect(201);
}

/// The official client's view of a host with modules of every kind.
fn seen(mode: &str) -> Value {
    let host = ready(PATIENT);
    host.client
        .put_module("math/primes", &guests::built("primes"))
        .expect(201);
    host.client
        .put_module("plain", &guests::built("probe-wasip1"))
        .expect(201);
    let source = "\"\"\"Counts.\"\"\"\nINPUT_SCHEMA = {'type': 'array'}\ndef run(input):\n    return len(input)\n";
    put_script(&host, "length", "text/x-python", source);
    let output = Command::new(python())
        .arg(guests::root().join("tests/it/mcp_client.py"))
        .arg(format!("{}/mcp", host.client.base))
        .arg(host.data().join("scratch"))
        .arg(mode)
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn the_official_client_finds_and_calls_tools_in_a_session() {
    let seen = seen("legacy");
    assert_eq!(seen["protocol"], "2025-11-25");
    assert_eq!(seen["changed"], "ToolListChangedNotification");
    check(&seen);
}

#[test]
fn the_official_client_finds_and_calls_tools_without_a_session() {
    let seen = seen("auto");
    assert_eq!(seen["protocol"], "2026-07-28");
    assert_eq!(seen["changed"], "ToolsListChanged");
    check(&seen);
}

fn check(seen: &Value) {
    println!("{seen:#}");
    check_tools(&seen["tools"]);
    assert_eq!(seen["pages"], 1);
    let result = &seen["result"];
    assert_eq!(result["isError"], false, "{result}");
    assert_eq!(result["_meta"]["cofferdam/status"], "completed");
    assert!(result.get("structuredContent").is_none(), "{result}");
    assert_eq!(result["content"][0]["text"], "out\nresult: {\"sum\": 45}");
    assert_eq!(result["content"][1]["resource"]["text"], "left");
    assert_eq!(result["content"][1]["resource"]["mimeType"], "text/plain");

    let exception = &seen["exception"];
    assert_eq!(exception["isError"], true);
    assert_eq!(exception["_meta"]["cofferdam/error"]["kind"], "guest_error");
    let text = exception["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("ZeroDivisionError") && text.contains("line 2, in f"),
        "{text}"
    );
    // Each result occurs once.
    let whole = exception.to_string();
    assert_eq!(whole.matches("line 2, in f").count(), 1, "{whole}");

    let javascript = &seen["javascript"]["content"][0]["text"];
    assert_eq!(javascript, "42\nresult: [1,2]");
    let long = seen["long"]["content"][0]["text"].as_str().unwrap();
    assert!(long.contains("left out; all of it: http://"), "{long}");
    check_modules(seen);
    assert_eq!(seen["after"]["content"][0]["text"], "result: 2");
}

fn check_tools(tools: &Value) {
    let names: Vec<&str> = tools
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        ["length", "mathSprimes", "run_javascript", "run_python"]
    );
    let primes = &tools["mathSprimes"];
    assert_eq!(primes["title"], "math/primes");
    assert_eq!(primes["inputSchema"]["required"], json!(["from", "to"]));
    assert_eq!(primes["outputSchema"]["type"], "object");
    assert_eq!(tools["length"]["description"], "Counts.");
    assert_eq!(tools["length"]["inputSchema"]["required"], json!(["input"]));
    assert_eq!(
        tools["run_python"]["inputSchema"]["required"],
        json!(["code"])
    );
}

fn check_modules(seen: &Value) {
    let module = &seen["module"]["structuredContent"];
    assert_eq!(module["count"], 216_816, "{module}");
    let progress = seen["progress"].as_array().unwrap();
    let fractions: Vec<f64> = progress
        .iter()
        .map(|told| told[0].as_f64().unwrap())
        .collect();
    assert!(fractions.is_sorted_by(|a, b| a < b), "{fractions:?}");
    assert_eq!(fractions.last(), Some(&1.0), "{fractions:?}");
    assert!(progress[0][2].as_str().unwrap().starts_with("below "));
    assert_eq!(seen["script"]["content"][0]["text"], "3");

    let misfit = &seen["misfit"];
    assert_eq!(misfit["isError"], true);
    let text = misfit["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("schema") && text.contains("to"), "{text}");
    let failed = &seen["failed"];
    assert_eq!(failed["isError"], true);
    assert_eq!(failed["_meta"]["cofferdam/error"]["kind"], "invalid_input");
    assert!(failed["_meta"]["cofferdam/usage"]["duration_us"].is_u64());
    assert_eq!(seen["unknown"]["code"], -32602, "{}", seen["unknown"]);
}
