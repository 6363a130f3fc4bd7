//! What a client hears of modules that come and go.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ACCEPT, JSON, Session, initialize, post};
use crate::support::guests;
use crate::support::host::Host;

const CHANGED: &str = "notifications/tools/list_changed";

/// The next message of a stream that tells of changes; `None` once it has ended.
fn next(events: &mut impl BufRead) -> Option<Value> {
    let mut line = String::new();
    while events.read_line(&mut line).expect("the stream goes on") > 0 {
        if let Some(data) = line.strip_prefix("data:") {
            return Some(serde_json::from_str(data).expect("a message"));
        }
        line.clear();
    }
    None
}

#[test]
fn a_listener_hears_once_of_many_changes() {
    let mut host = Host::start();
    let answer = post(&host, &[ACCEPT, JSON], &initialize().to_string());
    assert!(answer.text().contains(r#""listChanged":true"#));
    let module = guests::wat("echo.wat");
    host.client.put_module("before", &module).expect(201);
    let session = Session::begin(&host);
    let listener = [ACCEPT, ("mcp-session-id", session.id.as_str())];
    let (_, stale) = host.client.open("/mcp", &listener);
    let (status, events) = host.client.open("/mcp", &listener);
    assert_eq!(status, 200);
    let (mut stale, mut events) = (BufReader::new(stale), BufReader::new(events));
    let begin = Instant::now();
    for n in 0..30 {
        host.client.put_module(&format!("m{n}"), &module);
    }
    assert_eq!(next(&mut events).expect("a change")["method"], CHANGED);
    let took = begin.elapsed();
    host.client.delete("/v1/modules/m0").expect(204);
    let mut heard = 1;
    assert_eq!(next(&mut events).expect("another")["method"], CHANGED);
    host.terminate();
    while next(&mut events).is_some() {
        heard += 1;
    }
    // Changes within a fifth of a second are told as one.
    let most = 3 + took.as_millis() / 200;
    assert!(heard <= most, "{heard} in {took:?}");
    // Each is told on one stream only.
    assert_eq!(next(&mut stale), None);
    assert!(host.wait().success());
}

#[test]
fn a_subscription_ends_in_order_when_the_host_does() {
    let mut host = Host::start();
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {}});
    let listen = json!({"jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen",
        "params": {"_meta": meta, "notifications": {"toolsListChanged": true}}});
    let address = host.client.base.strip_prefix("http://").unwrap();
    let body = listen.to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\naccept: {}\r\ncontent-type: {}\r\n\
         mcp-protocol-version: 2026-07-28\r\nmcp-method: subscriptions/listen\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        ACCEPT.1,
        JSON.1,
        body.len(),
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut events = BufReader::new(stream);
    let first = next(&mut events).expect("an acknowledgement");
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    let begin = Instant::now();
    host.terminate();
    let last = next(&mut events).expect("an answer");
    assert_eq!(last["id"], "l", "{last}");
    assert!(last["result"].is_object(), "{last}");
    assert!(host.wait().success());
    assert!(begin.elapsed() < Duration::from_secs(20));
}
