//! `/mcp`: code and modules as tools, byte by byte, and requests that no proper client would send.

mod changes;
mod client;
mod ends;
mod results;

use serde_json::{Value, json};

use crate::exec::ready;
use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::Answer;

/// Limits that no test meets, so that a run that ends was ended from outside.
const PATIENT: &str = "[ceilings]\ncpu_ms = 600000\ntimeout_ms = 600000\n";

/// A client of the older, session-bound kind, byte by byte.
pub(crate) struct Session<'a> {
    host: &'a Host,
    id: String,
}

pub(crate) const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

pub(crate) fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "raw", "version": "0"},
    }})
}

fn post(host: &Host, headers: &[(&str, &str)], body: &str) -> Answer {
    host.client.send("POST", "/mcp", headers, body.as_bytes())
}

impl Session<'_> {
    /// The same session, asked for at another host.
    pub(crate) fn at<'a>(&self, host: &'a Host) -> Session<'a> {
        let id = self.id.clone();
        Session { host, id }
    }

    pub(crate) fn begin(host: &Host) -> Session<'_> {
        let answer = post(host, &[ACCEPT, JSON], &initialize().to_string()).expect(200);
        let id = answer.header("mcp-session-id").to_owned();
        let session = Session { host, id };
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        session.send(&ready).expect(202);
        session
    }

    pub(crate) fn send(&self, message: &Value) -> Answer {
        let headers = [ACCEPT, JSON, ("mcp-session-id", self.id.as_str())];
        post(self.host, &headers, &message.to_string())
    }

    /// The answer to a request.
    pub(crate) fn ask(&self, method: &str, params: &Value) -> Value {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let events = self.send(&message).expect(200).text();
        let mut data = events.lines().filter_map(|line| line.strip_prefix("data:"));
        serde_json::from_str(data.next_back().expect("an event")).expect("a message")
    }
}

#[test]
fn an_invalid_message_is_refused_with_a_protocol_error() {
    let host = Host::with_config("[http]\ninline_body_bytes = 1024\n");
    let refused = |headers: &[(&str, &str)], body: &str, status: u16| {
        post(&host, headers, body).expect(status).text()
    };
    assert!(refused(&[ACCEPT, JSON], "{", 400).contains("-32700"));
    assert!(refused(&[ACCEPT, JSON], "[1]", 400).contains("-32600"));
    let other = ("content-type", "Application/JSON; charset=utf-8");
    refused(&[other, ("accept", "*/*")], &initialize().to_string(), 200);
    refused(&[other], &initialize().to_string(), 200);
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
fn wrong_arguments_are_reported_to_the_model() {
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
    assert!(told(json!({"code": "1", "timeout_ms": 0})).contains("from 1 to"));
    assert!(told(json!({"code": "1", "args": null})).starts_with("args: "));
    assert!(told(json!({"code": "1", "packages": [1]})).starts_with("packages[0]: "));
    assert!(told(json!({"code": "1", "memory_limit_mb": 900_000})).contains("ceiling"));
    assert!(told(json!({"code": "1", "packages": ["numpy"]})).contains("numpy"));
    assert!(told(json!({"code": "1", "files": {"../x": ""}})).contains("files"));
}

/// The result of Python code.
fn ran(session: &Session<'_>, code: &str) -> Value {
    session.ask("tools/call", &python_call(code)["params"])["result"].clone()
}

#[test]
fn small_files_are_included_and_large_ones_are_links() {
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

/// A call of Python code as a message.
fn python_call(code: &str) -> Value {
    let arguments = json!({"code": code, "timeout_ms": 120_000, "cpu_ms": 120_000});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "run_python", "arguments": arguments}})
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
