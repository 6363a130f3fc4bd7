//! Sessions: the state kept between calls, the ends of sessions, and their isolation.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ready;
use crate::support::host::Host;

/// A session as its caller sees it.
pub(super) struct Session<'a> {
    host: &'a Host,
    path: String,
}

impl<'a> Session<'a> {
    fn new(host: &'a Host, request: &Value) -> Session<'a> {
        let made = host.client.post("/v1/sessions", request).expect(201);
        let path = made.header("location").to_owned();
        assert_eq!(made.json()["state"], "idle");
        Session { host, path }
    }

    fn python(host: &'a Host) -> Session<'a> {
        Session::new(host, &json!({"language": "python"}))
    }

    pub(super) fn javascript(host: &'a Host) -> Session<'a> {
        Session::new(host, &json!({"language": "javascript"}))
    }

    fn send(&self, request: &Value) -> Value {
        let path = format!("{}/exec", self.path);
        self.host.client.post(&path, request).expect(200).json()
    }

    pub(super) fn run(&self, code: &str) -> Value {
        self.send(&json!({"code": code}))
    }

    fn get(&self, below: &str) -> crate::support::http::Answer {
        self.host.client.get(&format!("{}{below}", self.path))
    }
}

#[test]
fn python_keeps_variables_imports_and_functions() {
    let host = ready("");
    let session = Session::python(&host);
    let first = session.run("import math\nx = [1]\ndef double(n):\n    return 2 * n\nx");
    assert_eq!(
        (&first["result"], &first["session"]),
        (&json!([1]), &json!("idle"))
    );
    assert_eq!(
        session.run("x.append(double(3)); x")["result"],
        json!([1, 6])
    );
    assert_eq!(session.run("math.floor(2.5)")["result"], 2);
    // An error leaves everything as it was.
    let failed = session.run("y = 1\nx.append(1 / 0)");
    assert_eq!(failed["error"]["type"], "ZeroDivisionError");
    assert_eq!(failed["session"], "idle");
    assert_eq!(session.run("[x, y]")["result"], json!([[1, 6], 1]));
    assert_eq!(session.run("import sys; sys.exit(3)")["exit_code"], 3);
    assert_eq!(session.run("len(x)")["result"], 2);
    let info = session.get("").expect(200).json();
    assert_eq!(
        (&info["calls"], &info["state"]),
        (&json!(7), &json!("idle"))
    );
    let metrics = host.client.get("/metrics").expect(200).text();
    for line in [
        "cofferdam_sessions 1",
        r#"cofferdam_runs_total{kind="none"} 5"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn each_call_has_its_own_streams_and_tracebacks_quote_the_right_call() {
    let host = ready("");
    let session = Session::python(&host);
    session.run("def fail(n):\n    raise ValueError(n)");
    let answer = session.send(
        &json!({"code": "print(input())\nimport sys\nsys.argv[1:]", "stdin": "a\n", "args": ["b"]}),
    );
    assert_eq!(
        (&answer["stdout"], &answer["result"]),
        (&json!("a\n"), &json!(["b"]))
    );
    assert_eq!(session.run("print('c')")["stdout"], "c\n");
    let traceback = session.run("\nfail(7)")["error"]["traceback"].to_string();
    for part in [
        "main-4.py\\\", line 2",
        "fail(7)",
        "main.py\\\", line 2",
        "raise ValueError(n)",
    ] {
        assert!(traceback.contains(part), "{part}: {traceback}");
    }
    assert_eq!(session.run("result = 5")["result"], 5);
    assert_eq!(session.run("other = 6")["result"], Value::Null);
}

#[test]
fn a_call_is_answered_with_what_it_assigned_itself() {
    let host = ready("");
    let session = Session::python(&host);
    for (code, value) in [
        ("result = 10", json!(10)),
        ("results = [1]\nprint(result)", Value::Null),
        ("if False:\n    result = 10", Value::Null),
        ("if results is None:\n    result = 10", Value::Null),
        ("result = 10", json!(10)),
        ("for result in [10]:\n    pass", json!(10)),
        ("result += 0", json!(10)),
        (
            "def f():\n    global result\n    result = 10\nf()\nx = 1",
            json!(10),
        ),
        ("x = result", Value::Null),
        (
            "import io\nwith io.StringIO('a') as result:\n    result = result.read()",
            json!("a"),
        ),
        ("result = [1]", json!([1])),
        ("result.append(2)\nx = 3", Value::Null),
        ("exec('result = 4')\nx = 1", json!(4)),
        ("del result", Value::Null),
        ("def result():\n    pass\nx = result = None", Value::Null),
    ] {
        assert_eq!(session.run(code)["result"], value, "{code}");
    }
}

#[test]
fn javascript_keeps_what_it_declared_and_may_declare_it_again() {
    let host = ready("");
    let session = Session::javascript(&host);
    session.run("const a = 1; let b = [2]; class C { d() { return a } } function f() { return b }");
    assert_eq!(
        session.run("b.push(new C().d()); f()")["result"],
        json!([2, 1])
    );
    assert_eq!(
        session.run("const a = 'again'; let { length } = b; `${a} ${length}`")["result"],
        "again 2"
    );
    let failed = session.run("throw new TypeError('no')");
    assert_eq!(
        (&failed["error"]["type"], &failed["session"]),
        (&json!("TypeError"), &json!("idle"))
    );
    assert_eq!(
        session.run(
            "import { basename } from 'path'; const n = await Promise.resolve(basename('/x/y')); n"
        )["result"],
        "y"
    );
    assert_eq!(session.run("process.exit(4)")["exit_code"], 4);
    assert_eq!(session.run("n + a")["result"], "yagain");
}

#[test]
fn only_what_a_call_itself_assigns_to_result_is_its_value() {
    let host = ready("");
    let session = Session::javascript(&host);
    for (code, value) in [
        ("var result = 10", json!(10)),
        ("const results = [1]; console.log(results)", Value::Null),
        ("// the result of yesterday\nvar other = 1", Value::Null),
        ("result + 1", json!(11)),
        ("function again() { result = 12 }", Value::Null),
        ("again()", json!(12)),
        ("const result = 13", json!(13)),
        ("let x = 1", Value::Null),
        ("result", json!(13)),
    ] {
        assert_eq!(session.run(code)["result"], value, "{code}");
    }
}

#[test]
fn files_stay_and_can_be_read_listed_and_kept_as_a_snapshot() {
    let host = ready("");
    let session = Session::new(
        &host,
        &json!({"language": "python", "files": {"in/a.txt": "first"}}),
    );
    let answer = session.send(&json!({
        "code": "open('b.bin', 'wb').write(open('in/c.bin', 'rb').read() * 2)\nopen('in/a.txt').read()",
        "files": {"in/c.bin": {"base64": "AP8="}, "new/dir/d": "d"},
    }));
    assert_eq!(answer["result"], "first");
    assert_eq!(answer["files"]["b.bin"]["size_bytes"], 4, "{answer}");
    let listed = session.get("/files").expect(200).json();
    let names: Vec<_> = listed["files"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["b.bin", "in/a.txt", "in/c.bin", "new/dir/d"]);
    assert_eq!(
        session.get("/files/b.bin").expect(200).body,
        [0, 255, 0, 255]
    );
    session
        .get("/files/nothing")
        .expect_problem(404, "artifact_not_found");
    session
        .get("/files/../../etc/passwd")
        .expect_problem(400, "invalid_path");

    let snapshot = host
        .client
        .post(&format!("{}/snapshot", session.path), &json!({}))
        .expect(201)
        .json();
    session.run("open('b.bin', 'wb').close()");
    host.client.delete(&session.path).expect(204);
    let id = snapshot["snapshot"].as_str().unwrap();
    let url = snapshot["files"]["b.bin"]["url"].as_str().unwrap();
    assert_eq!(host.client.get(url).expect(200).body, [0, 255, 0, 255]);
    let request =
        json!({"language": "javascript", "snapshot": id, "files": {"in/a.txt": "second"}});
    let restored = Session::new(&host, &request);
    let code = "const fs = require('fs'); [fs.readFileSync('in/a.txt', 'utf8'), fs.readFileSync('b.bin').length]";
    assert_eq!(restored.run(code)["result"], json!(["second", 4]));
    let unknown = json!({"language": "python", "snapshot": "0190f0c2-7a3b-7def-8123-456789abcdef"});
    host.client
        .post("/v1/sessions", &unknown)
        .expect_problem(404, "snapshot_not_found");
}

#[test]
fn a_limit_ends_the_session_and_its_files_remain() {
    let host = ready("");
    let session = Session::new(&host, &json!({"language": "python", "memory_limit_mb": 96}));
    session.run("open('kept.txt', 'w').write('here')\nx = 1");
    let ended = session.send(&json!({"code": "print('before')\nwhile True: pass", "cpu_ms": 200}));
    assert_eq!(ended["error"]["kind"], "cpu_exhausted", "{ended}");
    assert_eq!(
        (&ended["session"], &ended["stdout"]),
        (&json!("ended"), &json!("before\n"))
    );
    let info = session.get("").expect(200).json();
    assert_eq!(
        (&info["state"], &info["error"]["kind"]),
        (&json!("ended"), &json!("cpu_exhausted"))
    );
    let path = format!("{}/exec", session.path);
    let gone = host
        .client
        .post(&path, &json!({"code": "x"}))
        .expect_problem(410, "session_ended");
    assert_eq!(gone["failure"], "cpu_exhausted");
    assert_eq!(session.get("/files/kept.txt").expect(200).text(), "here");

    // Running out of memory is an exception; the session goes on.
    let session = Session::new(&host, &json!({"language": "python", "memory_limit_mb": 96}));
    let bomb = session.run("y = 1\nx = 'x'\nwhile True: x += x");
    assert_eq!(bomb["error"]["kind"], "memory_exceeded", "{bomb}");
    assert_eq!(session.run("del x\ny")["result"], 1);
    // A full disk too.
    let session = Session::new(&host, &json!({"language": "python", "disk_bytes": 65536}));
    let full = session.run("open('big', 'wb').write(bytes(10**6))");
    assert_eq!(full["error"]["type"], "OSError", "{full}");
    assert_eq!(session.run("2")["result"], 2);
}

#[test]
fn one_session_sees_nothing_of_another() {
    let host = ready("");
    let (a, b) = (Session::python(&host), Session::python(&host));
    a.run("import builtins, json\nbuiltins.leak = 1\njson.leak = 2\nopen('leak.txt', 'w').write('3')\nsecret = 4");
    let seen = b.run("import builtins, json, os\n[hasattr(builtins, 'leak'), hasattr(json, 'leak'), os.listdir('.'), 'secret' in globals()]");
    assert_eq!(seen["result"], json!([false, false, [], false]));
    assert_ne!(
        a.run("import random; random.random()")["result"],
        b.run("import random; random.random()")["result"]
    );
    assert_ne!(a.path, b.path);
    assert_eq!(
        super::python(&host, "import builtins; hasattr(builtins, 'leak')")["result"],
        false
    );
}

#[test]
fn calls_are_taken_one_after_the_other_and_deleting_ends_what_runs() {
    let host = ready("");
    let session = Session::python(&host);
    session.run("n = 0");
    let client = &host.client;
    let path = format!("{}/exec", session.path);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                client
                    .post(
                        &path,
                        &json!({"code": "m = n\nfor _ in range(20000): pass\nn = m + 1"}),
                    )
                    .expect(200)
            });
        }
    });
    assert_eq!(session.run("n")["result"], 8);
    std::thread::scope(|scope| {
        let endless = scope.spawn(|| {
            client.post(
                &path,
                &json!({"code": "while True: pass", "timeout_ms": 60000, "cpu_ms": 60000}),
            )
        });
        while client.get(&session.path).expect(200).json()["state"] != "running" {
            std::thread::yield_now();
        }
        client.delete(&session.path).expect(204);
        let answer = endless.join().unwrap().expect(200).json();
        assert_eq!(
            (&answer["error"]["kind"], &answer["session"]),
            (&json!("cancelled"), &json!("ended"))
        );
    });
    client
        .get(&session.path)
        .expect_problem(404, "session_not_found");
    client
        .post(&path, &json!({"code": "1"}))
        .expect_problem(404, "session_not_found");
    assert_eq!(
        client.get("/v1/sessions").expect(200).json()["items"],
        json!([])
    );
}

#[test]
fn the_list_of_sessions_gives_nobody_the_right_to_use_them() {
    let host = ready("");
    let session = Session::python(&host);
    let own = session.get("").expect(200).json();
    let id = own["session_id"].as_str().unwrap();
    assert!(session.path.ends_with(id));
    let answer = host.client.get("/v1/sessions").expect(200);
    assert!(!answer.text().contains(id), "{}", answer.text());
    let listed = &answer.json()["items"][0];
    // Its creator finds it again.
    assert_eq!(listed["handle"], own["handle"]);
    let handle = listed["handle"].as_str().unwrap();
    host.client
        .get(&format!("/v1/sessions/{handle}"))
        .expect_problem(404, "session_not_found");
    assert!(!host.log().contains(id), "{}", host.log());
}

#[test]
fn an_idle_session_ends_and_gives_everything_back() {
    let host = ready("[sessions]\nmax = 2\n");
    let _first = Session::javascript(&host);
    // This is long enough for the next two calls on a busy machine.
    let short = json!({"language": "python", "idle_timeout_ms": 4000});
    let session = Session::new(&host, &short);
    session.run("open('f', 'w').write('x')");
    let full = host
        .client
        .post("/v1/sessions", &short)
        .expect_problem(503, "sessions_full");
    let detail = full["detail"].to_string();
    assert!(detail.contains("there are 2 sessions"), "{full}");
    let until = Instant::now() + Duration::from_secs(30);
    while host.client.get(&session.path).status != 404 {
        assert!(Instant::now() < until, "the session is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    let third = Session::new(&host, &short);
    assert_eq!(third.run("1")["result"], 1);
    let long = json!({"language": "python", "idle_timeout_ms": 999_999_999});
    host.client
        .post("/v1/sessions", &long)
        .expect_problem(400, "limit_above_ceiling");
    let huge = json!({"language": "python", "memory_limit_mb": 900_000});
    host.client
        .post("/v1/sessions", &huge)
        .expect_problem(400, "limit_above_ceiling");
}

#[test]
fn a_host_can_be_told_to_keep_no_sessions() {
    let host = ready("[sessions]\nmax = 0\n");
    let request = json!({"language": "python"});
    host.client
        .post("/v1/sessions", &request)
        .expect_problem(501, "sessions_disabled");
}

#[test]
fn output_is_streamed_from_a_session_too() {
    let host = ready("");
    let session = Session::python(&host);
    session.run("word = 'kept'");
    let body = json!({"code": "print(word)\n7"}).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
    ];
    let path = format!("{}/exec", session.path);
    let text = host
        .client
        .send("POST", &path, &headers, body.as_bytes())
        .expect(200)
        .text();
    assert!(
        text.contains("event: stdout") && text.contains("kept"),
        "{text}"
    );
    assert!(
        text.contains("event: result") && text.contains("\"result\":7"),
        "{text}"
    );
}
