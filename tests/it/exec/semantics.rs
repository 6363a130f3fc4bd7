//! Users' expectations of code.

use serde_json::{Value, json};

use super::{exec, javascript, python, ready};

#[test]
fn the_last_expression_or_the_variable_result_is_the_value() {
    let host = ready("");
    let value = |answer: Value| {
        assert_eq!(answer["status"], "completed", "{answer}");
        answer["result"].clone()
    };
    assert_eq!(value(python(&host, "x = 6\nx * 7")), 42);
    assert_eq!(
        value(python(&host, "result = {'a': [1, None]}")),
        json!({"a": [1, null]})
    );
    assert_eq!(value(python(&host, "x = 1")), Value::Null);
    assert_eq!(value(python(&host, "")), Value::Null);
    assert_eq!(value(javascript(&host, "const x = 6; x * 7")), 42);
    assert_eq!(
        value(javascript(&host, "const result = [1, {a: null}];")),
        json!([1, {"a": null}])
    );
    assert_eq!(
        value(javascript(&host, "await Promise.resolve('late')")),
        "late"
    );
}

#[test]
fn streams_stay_apart_and_input_is_read() {
    let host = ready("");
    let answer = exec(
        &host,
        &json!({
            "language": "python",
            "code": "import sys\nprint(input(), sys.stdin.read(), sys.argv[1:])\nprint('é', file=sys.stderr)",
            "stdin": "one\ntwo", "args": ["a", "b c"],
        }),
    );
    assert_eq!(answer["stdout"], "one two ['a', 'b c']\n");
    assert_eq!(answer["stderr"], "é\n");
    let answer = exec(
        &host,
        &json!({
            "language": "javascript",
            "code": "console.log(require('fs').readFileSync(0, 'utf8'), process.argv.slice(2).join()); console.error('e')",
            "stdin": "in", "args": ["a", "b"],
        }),
    );
    assert_eq!(answer["stdout"], "in a,b\n", "{answer}");
    assert_eq!(answer["stderr"], "e\n");
}

#[test]
fn tracebacks_name_the_users_lines_only() {
    let host = ready("");
    let answer = python(&host, "def f():\n    raise ValueError('no')\n\nf()");
    assert_eq!(answer["status"], "failed");
    assert_eq!(answer["exit_code"], 1);
    let error = &answer["error"];
    assert_eq!(error["kind"], "guest_error");
    assert_eq!(error["type"], "ValueError");
    let traceback = error["traceback"].as_str().unwrap();
    assert!(traceback.contains("line 4, in <module>"), "{traceback}");
    assert!(traceback.contains("line 2, in f"), "{traceback}");
    assert_eq!(traceback.matches("File ").count(), 2, "{traceback}");

    let answer = javascript(&host, "function f() {\n  throw new Error('no');\n}\nf();");
    let traceback = answer["error"]["traceback"].as_str().unwrap();
    assert!(traceback.contains("main.js:2"), "{traceback}");
    assert!(!traceback.contains("cofferdam"), "{traceback}");

    let answer = python(&host, "x = 1\ndef f(:");
    assert_eq!(answer["error"]["type"], "SyntaxError");
    assert!(
        answer["error"]["traceback"]
            .as_str()
            .unwrap()
            .contains("line 2")
    );
    assert_eq!(
        javascript(&host, "let a = ;")["error"]["type"],
        "SyntaxError"
    );
}

#[test]
fn a_script_chooses_its_exit_code() {
    let host = ready("");
    let answer = python(&host, "import sys\nprint('out')\nsys.exit(3)");
    assert_eq!(
        (&answer["status"], &answer["exit_code"]),
        (&json!("failed"), &json!(3))
    );
    assert_eq!(answer["error"]["kind"], "exit");
    assert_eq!(answer["stdout"], "out\n");
    assert_eq!(python(&host, "raise SystemExit")["status"], "completed");
    assert_eq!(javascript(&host, "process.exit(4)")["exit_code"], 4);
}

#[test]
fn a_value_that_json_cannot_represent_is_shown() {
    let host = ready("");
    let answer = python(&host, "{1, 2} and object");
    assert_eq!(answer["result"], Value::Null);
    assert!(
        answer["result_repr"].as_str().unwrap().contains("class"),
        "{answer}"
    );
    let answer = javascript(&host, "new Map([[1, 2]])");
    assert!(
        answer["result_repr"].as_str().unwrap().contains("Map"),
        "{answer}"
    );
}

#[test]
fn every_run_is_fresh() {
    let host = ready("");
    let code =
        "import random, os, uuid, time\n[random.random(), os.urandom(8).hex(), str(uuid.uuid4())]";
    let (a, b) = (python(&host, code), python(&host, code));
    for place in 0..3 {
        assert_ne!(a["result"][place], b["result"][place]);
    }
    let code = "[Math.random(), crypto.randomUUID()]";
    let (a, b) = (javascript(&host, code), javascript(&host, code));
    assert_ne!(a["result"][0], b["result"][0]);
    assert_ne!(a["result"][1], b["result"][1]);
    python(
        &host,
        "import builtins, json\nbuiltins.leak = 1\njson.dumps = None\nopen('f','w').close()",
    );
    let answer = python(
        &host,
        "import builtins, json, os\n[hasattr(builtins, 'leak'), json.dumps(1), os.listdir()]",
    );
    assert_eq!(answer["result"], json!([false, "1", []]));
    let now = python(&host, "import time\ntime.time()")["result"]
        .as_f64()
        .unwrap();
    assert!(now > 1.7e9, "{now}");
}

#[test]
fn an_absent_package_names_the_available_ones() {
    let host = ready("");
    let message = python(&host, "import numpy")["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("numpy is not available here"), "{message}");
    let message = python(&host, "import tkinter")["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("tkinter"), "{message}");
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let host = ready("");
    let refused = |body: Value, field: &str| {
        let problem = host
            .client
            .post("/v1/exec", &body)
            .expect_problem(400, "invalid_field");
        assert!(
            problem["detail"].as_str().unwrap().contains(field),
            "{problem}"
        );
    };
    refused(json!({"language": "ruby", "code": ""}), "language");
    refused(json!({"language": "python", "code": 1}), "code");
    refused(json!({"language": "python"}), "code");
    refused(
        json!({"language": "python", "code": "", "timeout": 1}),
        "timeout",
    );
    refused(
        json!({"language": "python", "code": "", "timeout_ms": 0}),
        "timeout_ms",
    );
    refused(
        json!({"language": "python", "code": "", "files": {"../x": ""}}),
        "files",
    );
    refused(
        json!({"language": "python", "code": "", "files": {"a": "", "a/b": ""}}),
        "files",
    );
    let twice = br#"{"language": "python", "code": "", "files": {"a": "1", "a": "2"}}"#;
    let header = [("content-type", "application/json")];
    let answer = host.client.send("POST", "/v1/exec", &header, twice);
    assert_eq!(
        answer.expect_problem(400, "invalid_field")["field"],
        "files"
    );
    refused(
        json!({"language": "python", "code": "", "packages": ["numpy"]}),
        "numpy",
    );
    host.client
        .post(
            "/v1/exec",
            &json!({"language": "python", "code": "", "memory_limit_mb": 999_999}),
        )
        .expect_problem(400, "limit_above_ceiling");
}

#[test]
fn a_host_without_interpreters_says_so_and_does_the_rest() {
    let host = crate::support::host::Host::with_config("[interpreters]\ndir = \"/nowhere\"\n");
    let ready = host.client.get("/readyz").expect(200).json();
    assert_eq!(ready["interpreters"]["python"], "not_installed");
    let problem = host
        .client
        .post("/v1/exec", &json!({"language": "python", "code": ""}))
        .expect_problem(501, "interpreter_not_installed");
    // The message says what is missing and which key sets it, without a path of the host.
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("python"), "{detail}");
    assert!(!detail.contains("/nowhere"), "{detail}");
}
