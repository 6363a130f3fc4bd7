//! Malicious scripts end with their own error, and the next run is clean.

use serde_json::{Value, json};

use super::{exec, javascript, python, ready};

#[test]
fn the_operating_system_cannot_be_reached() {
    let host = ready("");
    for code in [
        "import os\nos.system('id')",
        "import subprocess\nsubprocess.run(['id'])",
        "import os\nos.fork()",
        "import socket\nsocket.create_connection(('127.0.0.1', 80), 1)",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1/')",
        "import ctypes\nctypes.CDLL(None)",
        "open('/etc/passwd').read()",
        "open('/../../etc/passwd').read()",
        "import os\nos.symlink('/etc/passwd', 'l')\nopen('l').read()",
        "open('/in/x', 'w')",
        "import os\nos.kill(1, 9)",
    ] {
        let answer = python(&host, code);
        assert_eq!(answer["status"], "failed", "{code}: {answer}");
        assert_eq!(answer["error"]["kind"], "guest_error", "{code}: {answer}");
    }
    assert_eq!(
        python(&host, "import os\ndict(os.environ)")["result"],
        json!({"HOME": "/work"})
    );
    for code in [
        "require('child_process')",
        "require('net')",
        "require('fs').readFileSync('/etc/passwd')",
        "fetch('http://127.0.0.1/')",
    ] {
        let answer = javascript(&host, code);
        assert_eq!(answer["status"], "failed", "{code}: {answer}");
    }
}

#[test]
fn the_answers_shape_cannot_be_forged() {
    let host = ready("");
    let shape = |answer: Value| {
        let mut keys: Vec<String> = answer.as_object().unwrap().keys().cloned().collect();
        keys.retain(|key| key != "result_repr");
        assert_eq!(
            keys,
            [
                "error",
                "exit_code",
                "files",
                "result",
                "status",
                "stderr",
                "stdout",
                "truncated",
                "usage"
            ]
        );
        answer
    };
    let forged = shape(python(
        &host,
        r#"print('{"status":"completed","result":"forged"}')
import json, sys, builtins
json.JSONEncoder.encode = lambda *a: '"x","status":"forged"'
json.dumps = json.loads = None
builtins.print = builtins.isinstance = None
sys.stdout = None
'mine'"#,
    ));
    assert_ne!(forged["result"], "forged", "{forged}");
    let forged = shape(javascript(
        &host,
        "Object.prototype.status = 'forged'; Object.prototype.toJSON = () => 'p'; JSON.stringify = () => '1,\"a\":2'; Array.prototype.push = null; 'mine'",
    ));
    assert_eq!(forged["status"], "completed", "{forged}");
    for code in [
        "import gc\nfor o in gc.get_objects():\n    try: o.clear()\n    except Exception: pass",
        "import sys\nfor name in list(sys.modules):\n    sys.modules[name].__dict__.clear()",
        "import sys\nsys.settrace(lambda *a: 1/0)\nlen('')",
        "class E(Exception):\n    def __str__(self): raise SystemExit(9)\n    __repr__ = __str__\nraise E()",
        "raise Exception('x' * 100_000_000)",
    ] {
        let answer = exec(
            &host,
            &json!({"language": "python", "code": code, "timeout_ms": 20000}),
        );
        shape(answer);
        let clean = python(
            &host,
            "import json, sys, gc\n[json.dumps([1]), sum([1, 2])]",
        );
        assert_eq!(clean["result"], json!(["[1]", 3]), "after {code}: {clean}");
    }
}

#[test]
fn garbage_and_endless_generators_meet_the_same_limits() {
    let host = ready("");
    for (language, code) in [
        (
            "python",
            "import itertools\nsum(1 for _ in itertools.count())",
        ),
        ("python", "while True:\n    a = []; a.append(a)"),
        (
            "javascript",
            "function* g() { for (;;) yield 1 } let n = 0; for (const x of g()) n += x",
        ),
        ("javascript", "for (;;) { const a = {}; a.a = a }"),
        ("javascript", "/(a+)+$/.test('a'.repeat(40) + 'b')"),
    ] {
        let request = json!({"language": language, "code": code, "cpu_ms": 300});
        assert_eq!(
            exec(&host, &request)["error"]["kind"],
            "cpu_exhausted",
            "{code}"
        );
    }
}

#[test]
fn what_a_script_says_is_not_in_the_hosts_log() {
    let host = ready("");
    let code = "raise Exception('x\\n2026-01-01T00:00:00.000Z ERROR forged')";
    let body = json!({"language": "python", "code": code});
    let task = host
        .client
        .post("/v1/exec?async=true", &body)
        .expect(202)
        .json();
    host.client.final_task(task["task_id"].as_str().unwrap());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let log = loop {
        let log = host.log();
        if log.contains("the attempt failed") {
            break log;
        }
        assert!(std::time::Instant::now() < until, "{log}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert!(!log.contains("forged"), "{log}");
}

#[test]
fn a_scripts_forged_message_is_bounded_wherever_it_is_repeated() {
    let host = ready("");
    let code = "class E(Exception): pass\nE.__name__ = 'E' * 1000\nraise E('\\x1b[31m' * 700_000)";
    let body = json!({"language": "python", "code": code});
    let run = host.client.post("/v1/exec", &body).expect(200).json();
    let error = &run["error"];
    let length = |field: &str| error[field].as_str().map_or(0, str::len);
    assert!(length("message") < 5000, "{}", length("message"));
    assert!(length("traceback") < 20_000, "{}", length("traceback"));
    assert!(length("type") < 300, "{}", length("type"));
    let task = host
        .client
        .post("/v1/exec?async=true", &body)
        .expect(202)
        .json();
    host.client.final_task(task["task_id"].as_str().unwrap());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !host.log().contains("the attempt failed") {
        assert!(std::time::Instant::now() < until, "{}", host.log());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let log = host.log();
    assert!(
        log.len() < 20_000 && !log.contains('\u{1b}'),
        "{} bytes",
        log.len()
    );
    // JSON writes six characters for each of these.
    assert!(host.client.get("/v1/tasks").expect(200).body.len() < 150_000);
}
