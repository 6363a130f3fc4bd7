//! Scripts as modules.

use serde_json::json;

use super::ready;
use crate::support::host::Host;

pub(super) fn put(
    host: &Host,
    name: &str,
    kind: &str,
    source: &str,
) -> crate::support::http::Answer {
    let header = [("content-type", kind)];
    host.client.send(
        "PUT",
        &format!("/v1/modules/{name}"),
        &header,
        source.as_bytes(),
    )
}

#[test]
fn a_script_is_a_module_like_any_other() {
    let host = ready("");
    let source = "\"\"\"Doubles.\"\"\"\nINPUT_SCHEMA = {\"type\": \"object\", \"required\": [\"n\"]}\ndef run(input):\n    print('seen')\n    return {'twice': input['n'] * 2}\n";
    let module = put(&host, "team/double", "text/x-python", source)
        .expect(201)
        .json();
    assert_eq!(module["kind"], "task");
    assert_eq!(module["size_bytes"], source.len());
    assert_eq!(module["descriptor"]["summary"], "Doubles.");
    put(&host, "team/double", "text/x-python", source).expect(200);
    let bytes = host.client.get("/v1/modules/team/double/wasm").expect(200);
    assert_eq!(bytes.body, source.as_bytes());
    assert_eq!(bytes.header("content-type"), "text/x-python");

    let run = |body: &str| {
        host.client
            .run("team/double", "application/json", body.as_bytes())
    };
    assert_eq!(run(r#"{"n": 4}"#).expect(200).json(), json!({"twice": 8}));
    run("{}").expect_problem(422, "invalid_input");
    let problem = run(r#"{"n": null}"#).expect_problem(422, "guest_error");
    assert!(
        problem["backtrace"]
            .as_str()
            .unwrap()
            .contains("line 5, in run"),
        "{problem}"
    );
    host.client
        .run("team/double?fuel=1000", "application/json", b"{\"n\":1}")
        .expect(400);

    let task = host
        .client
        .submit_and_wait(&json!({"module": "team/double", "input": {"n": 5}}));
    assert_eq!(task["status"], "completed", "{task}");
    let id = task["task_id"].as_str().unwrap();
    assert_eq!(
        host.client
            .get(&format!("/v1/tasks/{id}/result"))
            .expect(200)
            .json(),
        json!({"twice": 10})
    );
    assert_eq!(
        host.client
            .get(&format!("/v1/tasks/{id}/logs"))
            .expect(200)
            .text(),
        "seen\n"
    );
}

#[test]
fn python_scripts_say_what_they_take_in_any_form() {
    let host = ready("");
    let described = |source: &str| {
        let module = put(&host, "described", "text/x-python", source);
        let answer = module.json();
        assert!([200, 201].contains(&module.status), "{source}: {answer}");
        answer["descriptor"]["input_schema"].clone()
    };
    for source in [
        "INPUT_SCHEMA: dict = {'type': 'object'}",
        "INPUT_SCHEMA = {'type': 'object'}",
        "from typing import Any\nINPUT_SCHEMA: dict[str, Any] = {'type': 'object'}",
        "OUTPUT_SCHEMA = INPUT_SCHEMA = {'type': 'object'}",
        "\u{feff}INPUT_SCHEMA = {'type': 'object'}",
        "```python\nINPUT_SCHEMA = {'type': 'object'}\n```",
    ] {
        assert_eq!(described(source), json!({"type": "object"}), "{source}");
    }
    assert_eq!(described("INPUT_SCHEMA: dict"), json!(null));
    for (source, place) in [
        ("x = 1\nINPUT_SCHEMA = dict()", "line 2"),
        ("INPUT_SCHEMA = {**{}}", "line 1"),
        ("if True:\n    INPUT_SCHEMA = {}", "line 2"),
        ("INPUT_SCHEMA, a = {}, 1", "line 1"),
        ("from a import INPUT_SCHEMA", "line 1"),
        ("INPUT_SCHEMA = {}\nINPUT_SCHEMA = {}", "line 2"),
        ("INPUT_SCHEMA = {'enum': {1, 2}}", ""),
    ] {
        let problem = put(&host, "refused", "text/x-python", source);
        let problem = problem.expect_problem(422, "module_refused");
        let detail = problem["detail"].as_str().unwrap().to_ascii_lowercase();
        assert!(detail.contains("input_schema"), "{source}: {problem}");
        assert!(detail.contains(place), "{source}: {problem}");
    }
}

#[test]
fn javascript_scripts_export_run_or_are_run_as_a_whole() {
    let host = ready("");
    put(
        &host,
        "inc",
        "text/javascript",
        "export function run(input) { return input.n + 1 }",
    )
    .expect(201);
    put(&host, "whole", "application/javascript", "input.length").expect(201);
    let run = |name: &str, body: &str| {
        host.client
            .run(name, "application/json", body.as_bytes())
            .expect(200)
            .json()
    };
    assert_eq!(run("inc", r#"{"n": 4}"#), 5);
    assert_eq!(run("whole", "[1,2,3]"), 3);
}

#[test]
fn javascript_scripts_say_what_they_take() {
    let host = ready("");
    let source = r#"#!/usr/bin/env node
/**
 * Doubles.
 *
 * Twice as much.
 */
import fs from "node:fs";
export const INPUT_SCHEMA = {
  type: "object", required: ["n"], additionalProperties: false,
  properties: { "n": { type: 'integer', minimum: -2, description: `any`, "default": 1.5 } },
};
const OUTPUT_SCHEMA = { type: ["object", "null"] }, unrelated = Math.random();
export function run({ n }) { return { twice: n * 2 } }
"#;
    let module = put(&host, "double", "text/javascript", source)
        .expect(201)
        .json();
    assert_eq!(
        module["descriptor"],
        json!({
            "summary": "Doubles.\n\nTwice as much.",
            "input_schema": {
                "type": "object", "required": ["n"], "additionalProperties": false,
                "properties": {"n":
                    {"type": "integer", "minimum": -2, "description": "any", "default": 1.5}},
            },
            "output_schema": {"type": ["object", "null"]},
        })
    );
    let run = |input: &str| {
        host.client
            .run("double", "application/json", input.as_bytes())
    };
    assert_eq!(run(r#"{"n": 4}"#).expect(200).json(), json!({"twice": 8}));
    run(r#"{"n": "4"}"#).expect_problem(422, "invalid_input");
    run(r#"{"n": -3}"#).expect_problem(422, "invalid_input");

    let plain = put(&host, "plain", "text/javascript", "// Not a summary.\n1").expect(201);
    assert_eq!(
        plain.json()["descriptor"],
        json!({"summary": "", "input_schema": null, "output_schema": null})
    );
    // The script has not run when its schema is read.
    let shadowing = "const INPUT_SCHEMA = {};\nfunction Object() {}\nfunction JSON() {}";
    let shadowing = put(&host, "shadowing", "text/javascript", shadowing).expect(201);
    assert_eq!(shadowing.json()["descriptor"]["input_schema"], json!({}));
    for (computed, says) in [
        (
            "const a = 1;\nconst INPUT_SCHEMA = {\n  type: a };",
            "line 3",
        ),
        ("const INPUT_SCHEMA = JSON.parse('{}')", "INPUT_SCHEMA"),
        ("const OUTPUT_SCHEMA = {...{}}", "OUTPUT_SCHEMA"),
        ("const INPUT_SCHEMA = {type: 7}", ""),
    ] {
        let problem =
            put(&host, "bad", "text/javascript", computed).expect_problem(422, "module_refused");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{computed}: {problem}");
    }
}

#[test]
fn an_invalid_script_is_refused_with_the_place() {
    let host = ready("");
    let problem = put(&host, "bad", "text/x-python", "x = 1\ndef f(:\n")
        .expect_problem(422, "module_refused");
    assert!(
        problem["traceback"].as_str().unwrap().contains("line 2"),
        "{problem}"
    );
    put(&host, "bad", "text/javascript", "let a = ;").expect_problem(422, "module_refused");
    put(&host, "bad", "text/x-python", "INPUT_SCHEMA = {'type': 7}")
        .expect_problem(422, "module_refused");
    put(&host, "interpreters/python", "text/x-python", "1")
        .expect_problem(400, "invalid_module_name");
    host.client
        .delete("/v1/modules/interpreters/python")
        .expect_problem(400, "invalid_module_name");
}

#[test]
fn files_in_out_are_artifacts_and_the_working_directory_is_scratch() {
    let host = ready("");
    let python = "def run(input):\n    open('/out/a.txt', 'w').write('out')\n    open('scratch', 'w').write('x')\n";
    let javascript = "const fs = require('fs'); fs.writeFileSync('/out/a.txt', 'out'); fs.writeFileSync('scratch', 'x');";
    put(&host, "py", "text/x-python", python).expect(201);
    put(&host, "js", "text/javascript", javascript).expect(201);
    for module in ["py", "js"] {
        let task = host.client.submit_and_wait(&json!({"module": module}));
        assert_eq!(task["status"], "completed", "{task}");
        let id = task["task_id"].as_str().unwrap();
        let artifacts = format!("/v1/tasks/{id}/artifacts");
        let listed = host.client.get(&artifacts).expect(200).json();
        let expected = json!([{"path": "a.txt", "size_bytes": 3}]);
        assert_eq!(listed["items"], expected, "{module}");
        assert_eq!(listed["left_out"], json!({}));
        let content = host.client.get(&format!("{artifacts}/a.txt")).expect(200);
        assert_eq!(content.text(), "out");
    }
}
