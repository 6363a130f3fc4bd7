//! `/mcp`: code and modules as tools, as the protocol's official client sees them, and what no such
//! client would send.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::exec::ready;
use crate::support::guests;
use crate::support::host::{Host, Slack};
use crate::support::http::Answer;

/// Limits that no test meets, so that a run which ends was ended.
const PATIENT: &str = "[ceilings]\ncpu_ms = 600000\ntimeout_ms = 600000\n";

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

/// Puts a script of a language under a name.
fn put_script(host: &Host, name: &str, kind: &str, source: &str) {
    let path = format!("/v1/modules/{name}");
    let headers = [("content-type", kind)];
    host.client
        .send("PUT", &path, &headers, source.as_bytes())
        .expect(201);
}

/// What the official client sees of a host that has modules of every sort.
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
    check(&seen);
}

#[test]
fn the_official_client_finds_and_calls_tools_without_a_session() {
    let seen = seen("auto");
    assert_eq!(seen["protocol"], "2026-07-28");
    check(&seen);
}

fn check(seen: &Value) {
    println!("{seen:#}");
    check_tools(&seen["tools"]);
    assert_eq!(seen["pages"], 1);
    let result = &seen["result"];
    assert_eq!(result["isError"], false, "{result}");
    assert_eq!(result["structuredContent"]["status"], "completed");
    assert_eq!(result["structuredContent"]["result"], json!({"sum": 45}));
    assert_eq!(result["content"][0]["text"], "out\nresult: {\"sum\": 45}");
    assert_eq!(result["content"][1]["resource"]["text"], "left");
    assert_eq!(result["content"][1]["resource"]["mimeType"], "text/plain");

    let exception = &seen["exception"];
    assert_eq!(exception["isError"], true);
    assert_eq!(
        exception["structuredContent"]["error"]["kind"],
        "guest_error"
    );
    let text = exception["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("ZeroDivisionError") && text.contains("line 2, in f"),
        "{text}"
    );

    let javascript = &seen["javascript"]["structuredContent"];
    assert_eq!(javascript["result"], json!([1, 2]));
    assert_eq!(javascript["stdout"], "42\n");
    check_modules(seen);
    assert_eq!(seen["after"]["structuredContent"]["result"], 2);
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
    assert_eq!(
        failed["structuredContent"]["error"]["kind"],
        "invalid_input"
    );
    assert!(failed["structuredContent"]["usage"]["duration_us"].is_u64());
    assert_eq!(seen["unknown"]["code"], -32602, "{}", seen["unknown"]);
}

/// A client of the older, session-bound kind, byte by byte.
struct Session<'a> {
    host: &'a Host,
    id: String,
}

const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");
const JSON: (&str, &str) = ("content-type", "application/json");

fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "raw", "version": "0"},
    }})
}

fn post(host: &Host, headers: &[(&str, &str)], body: &str) -> Answer {
    host.client.send("POST", "/mcp", headers, body.as_bytes())
}

impl Session<'_> {
    fn begin(host: &Host) -> Session<'_> {
        let answer = post(host, &[ACCEPT, JSON], &initialize().to_string()).expect(200);
        let id = answer.header("mcp-session-id").to_owned();
        let session = Session { host, id };
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        session.send(&ready).expect(202);
        session
    }

    fn send(&self, message: &Value) -> Answer {
        let headers = [ACCEPT, JSON, ("mcp-session-id", self.id.as_str())];
        post(self.host, &headers, &message.to_string())
    }

    /// The answer to a request.
    fn ask(&self, method: &str, params: &Value) -> Value {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let events = self.send(&message).expect(200).text();
        let mut data = events.lines().filter_map(|line| line.strip_prefix("data:"));
        serde_json::from_str(data.next_back().expect("an event")).expect("a message")
    }
}

#[test]
fn what_is_no_message_is_refused_in_the_protocols_words() {
    let host = Host::with_config("[http]\ninline_body_bytes = 1024\n");
    let refused = |headers: &[(&str, &str)], body: &str, status: u16| {
        post(&host, headers, body).expect(status).text()
    };
    assert!(refused(&[ACCEPT, JSON], "{", 400).contains("-32700"));
    assert!(refused(&[ACCEPT, JSON], "[1]", 400).contains("-32600"));
    refused(
        &[JSON, ("accept", "text/html")],
        &initialize().to_string(),
        406,
    );
    refused(&[ACCEPT, ("content-type", "text/plain")], "{}", 415);
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    let stale = ("mcp-session-id", "6a0c8ed4-0000-4000-8000-000000000000");
    refused(&[ACCEPT, JSON, stale], &list, 404);
    let large = format!("\"{}\"", "x".repeat(2000));
    post(&host, &[ACCEPT, JSON], &large).expect_problem(413, "body_too_large");
    host.client
        .send("PUT", "/mcp", &[], b"")
        .expect_problem(405, "method_not_allowed");
}

#[test]
fn only_callers_on_this_machine_are_answered() {
    let host = Host::start();
    let body = initialize().to_string();
    let status = |header| post(&host, &[ACCEPT, JSON, header], &body).status;
    assert_eq!(status(("host", "cofferdam.example")), 403);
    assert_eq!(status(("host", "127.0.0.1.evil.example:8080")), 403);
    assert_eq!(status(("origin", "https://evil.example")), 403);
    assert_eq!(status(("origin", "null")), 403);
    assert_eq!(status(("origin", "http://localhost:3000")), 200);
    assert_eq!(status(("host", "localhost:8080")), 200);
    assert_eq!(status(("host", "[::1]:8080")), 200);
}

#[test]
fn a_session_lists_page_by_page_and_ends() {
    let host = Host::start();
    let session = Session::begin(&host);
    let module = guests::built("primes");
    for n in 0..130 {
        host.client.put_module(&format!("m{n:03}"), &module);
    }
    let first = session.ask("tools/list", &json!({}))["result"].clone();
    let cursor = first["nextCursor"].as_str().expect("there is more");
    let second = session.ask("tools/list", &json!({ "cursor": cursor }))["result"].clone();
    assert_eq!(first["tools"].as_array().unwrap().len(), 100);
    assert_eq!(second["tools"].as_array().unwrap().len(), 30);
    assert_eq!(second["tools"][29]["name"], "m129");
    assert!(second.get("nextCursor").is_none());
    let bad = session.ask("tools/list", &json!({"cursor": "!"}));
    assert_eq!(bad["error"]["code"], -32602);
    host.client.delete("/v1/modules/m000").expect(204);
    let gone = session.ask("tools/call", &json!({"name": "m000", "arguments": {}}));
    assert_eq!(gone["error"]["code"], -32602, "{gone}");

    let headers = [("mcp-session-id", session.id.as_str())];
    host.client
        .send("DELETE", "/mcp", &headers, b"")
        .expect(204);
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    session.send(&list).expect(404);
}

#[test]
fn without_interpreters_there_are_no_tools_for_code() {
    let host = Host::start();
    let session = Session::begin(&host);
    let list = session.ask("tools/list", &json!({}));
    assert_eq!(list["result"]["tools"], json!([]));
    let call = json!({"name": "run_python", "arguments": {"code": "1"}});
    let answer = session.ask("tools/call", &call)["result"].clone();
    assert_eq!(answer["isError"], true);
    let text = answer["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("installed"), "{text}");
}

#[test]
fn wrong_arguments_are_told_to_the_model() {
    let host = ready("");
    let session = Session::begin(&host);
    let told = |arguments: Value| {
        let call = json!({"name": "run_python", "arguments": arguments});
        let answer = session.ask("tools/call", &call)["result"].clone();
        assert_eq!(answer["isError"], true, "{answer}");
        answer["content"][0]["text"].as_str().unwrap().to_owned()
    };
    assert!(told(json!({})).contains("code"));
    assert!(told(json!({"code": "1", "cdoe": "2"})).contains("cdoe"));
    assert!(told(json!({"code": 1})).contains("code: must be a string"));
    assert!(told(json!({"code": "1", "timeout_ms": 0})).contains("nonzero"));
    assert!(told(json!({"code": "1", "memory_limit_mb": 900_000_000})).contains("ceiling"));
    assert!(told(json!({"code": "1", "packages": ["numpy"]})).contains("numpy"));
    assert!(told(json!({"code": "1", "files": {"../x": ""}})).contains("files"));
}

/// What became of Python code.
fn ran(session: &Session<'_>, code: &str) -> Value {
    session.ask("tools/call", &python_call(code)["params"])["result"].clone()
}

#[test]
fn small_files_come_along_and_large_ones_by_their_address() {
    let host = ready("");
    let session = Session::begin(&host);
    let code = "open('a.bin', 'wb').write(b'\\xff' * 300_000)\nopen('b.csv', 'w').write('1,2')\nopen('c.bin', 'wb').write(b'\\xff')";
    let result = ran(&session, code);
    let [_, a, b, c] = result["content"].as_array().unwrap().as_slice() else {
        panic!("{result}");
    };
    assert_eq!(a["type"], "resource_link");
    assert_eq!(a["size"], 300_000);
    let path = a["uri"].as_str().unwrap().strip_prefix(&host.client.base);
    let whole = host.client.get(path.expect("an address of this host"));
    assert_eq!(whole.expect(200).body.len(), 300_000);
    assert_eq!(b["resource"]["text"], "1,2");
    assert_eq!(b["resource"]["mimeType"], "text/csv");
    assert_eq!(c["resource"]["blob"], "/w==");
}

#[test]
fn a_result_that_nests_too_deep_for_data_is_text() {
    let host = ready("");
    let session = Session::begin(&host);
    let result = ran(&session, "x = []\nfor _ in range(300): x = [x]\nx");
    let data = &result["structuredContent"]["result"];
    assert!(
        data.as_str().is_some_and(|text| text.starts_with("[[[")),
        "{result}"
    );
}

/// Waits until a guest has a directory, which it gets with its first file, or until none has.
#[track_caller]
fn await_guest(host: &Host, wanted: bool) {
    let entries =
        |path: std::path::PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    let exists = || {
        let mut incarnations = entries(host.data().join("scratch"));
        incarnations.any(|incarnation| entries(incarnation.path()).next().is_some())
    };
    let until = Instant::now() + Duration::from_secs(60);
    while exists() != wanted {
        assert!(Instant::now() < until, "waited too long for {wanted}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A call of Python code as a message.
fn python_call(code: &str) -> Value {
    let arguments = json!({"code": code, "timeout_ms": 120_000, "cpu_ms": 120_000});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "run_python", "arguments": arguments}})
}

#[test]
fn a_client_that_goes_away_takes_its_guest_along() {
    let host = ready(PATIENT);
    let session = Session::begin(&host);
    let address = host.client.base.strip_prefix("http://").unwrap();
    let body = python_call("open('begun', 'w').close()\nwhile True: pass").to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\naccept: {}\r\ncontent-type: {}\r\nmcp-session-id: {}\r\ncontent-length: {}\r\n\r\n{body}",
        ACCEPT.1,
        JSON.1,
        session.id,
        body.len(),
    );
    stream.write_all(head.as_bytes()).unwrap();
    await_guest(&host, true);
    drop(stream);
    await_guest(&host, false);
    // The session is none the worse for it.
    assert!(session.ask("tools/list", &json!({}))["result"].is_object());
}

#[test]
fn a_session_that_ends_takes_its_guests_along() {
    let host = ready(PATIENT);
    let session = Session::begin(&host);
    let call = python_call("open('begun', 'w').close()\nwhile True: pass");
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| session.send(&call));
        await_guest(&host, true);
        let headers = [("mcp-session-id", session.id.as_str())];
        host.client
            .send("DELETE", "/mcp", &headers, b"")
            .expect(204);
        await_guest(&host, false);
        assert!(!answer.join().unwrap().text().contains("result"));
    });
}

#[test]
fn a_cancel_ends_the_guest_while_the_client_stays() {
    let host = ready(PATIENT);
    let session = Session::begin(&host);
    let call = python_call("open('begun', 'w').close()\nwhile True: pass");
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| session.send(&call));
        await_guest(&host, true);
        let other = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": 7}});
        session.send(&other).expect(202);
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": 1, "reason": "enough"}});
        session.send(&cancel).expect(202);
        await_guest(&host, false);
        assert!(!answer.join().unwrap().text().contains("result"));
    });
    let after = session.ask(
        "tools/call",
        &json!({"name": "run_python", "arguments": {"code": "1"}}),
    );
    assert_eq!(after["result"]["structuredContent"]["result"], 1);
}

#[test]
fn a_drain_lets_calls_finish_and_listeners_go() {
    let mut host = ready(PATIENT);
    let client = host.client.clone();
    let session = Session::begin(&host);
    let headers = [ACCEPT, JSON, ("mcp-session-id", session.id.as_str())];
    let id = session.id.clone();
    let code = "import time\nopen('begun', 'w').close()\ntime.sleep(2)\n'finished'";
    let body = python_call(code).to_string();
    let begin = Instant::now();
    let (answer, events) = std::thread::scope(|scope| {
        let listener = scope.spawn(|| {
            let headers = [ACCEPT, ("mcp-session-id", id.as_str())];
            client.send("GET", "/mcp", &headers, b"")
        });
        let caller = scope.spawn(|| client.send("POST", "/mcp", &headers, body.as_bytes()));
        await_guest(&host, true);
        host.terminate();
        (caller.join().unwrap(), listener.join().unwrap())
    });
    assert!(answer.expect(200).text().contains("finished"));
    events.expect(200);
    assert!(host.wait().success());
    // The drain's own limit is thirty seconds.
    assert!(
        begin.elapsed() < Duration::from_secs(25),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn an_interpreter_that_is_not_ready_says_so() {
    let host = Host::over(tempfile::TempDir::new().unwrap(), "");
    let session = Session::begin(&host);
    let list = session.ask("tools/list", &json!({}));
    assert_eq!(
        list["result"]["tools"].as_array().unwrap().len(),
        2,
        "{list}"
    );
    let call = json!({"name": "run_python", "arguments": {"code": "1"}});
    let answer = session.ask("tools/call", &call)["result"].clone();
    assert_eq!(answer["isError"], true);
    let text = answer["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("being compiled"), "{text}");
}

/// Sessions that are begun and ended, each with a call.
const SESSIONS: usize = 400;

#[test]
fn sessions_that_end_leave_nothing_behind() {
    let host = Host::start();
    host.client
        .put_module("primes", &guests::built("primes"))
        .expect(201);
    let call = json!({"name": "primes", "arguments": {"from": 1, "to": 100}});
    let sessions = || {
        for _ in 0..SESSIONS {
            let session = Session::begin(&host);
            let answer = session.ask("tools/call", &call);
            assert_eq!(
                answer["result"]["structuredContent"]["count"], 25,
                "{answer}"
            );
            let headers = [("mcp-session-id", session.id.as_str())];
            host.client
                .send("DELETE", "/mcp", &headers, b"")
                .expect(204);
        }
    };
    sessions();
    let before = host.footprint();
    sessions();
    sessions();
    let slack = Slack {
        resident_kib: 8 * 1024,
        ..Slack::default()
    };
    host.await_footprint(&before, &slack);
}
