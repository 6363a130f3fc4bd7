//! The ends of calls and sessions of `/mcp`: by the client, by its absence, by a drain. Guests end
//! with them and leave nothing behind.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{ACCEPT, JSON, PATIENT, Session, initialize, post, python_call};
use crate::exec::ready;
use crate::support::guests;
use crate::support::host::{Host, Slack};

/// Waits until a guest has a directory, which it gets with its first file, or until none has.
#[track_caller]
fn await_guest(host: &Host, wanted: bool) {
    let exists = || host.footprint().scratch() > 0;
    let until = Instant::now() + Duration::from_secs(60);
    while exists() != wanted {
        assert!(Instant::now() < until, "waited too long for {wanted}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_client_that_goes_away_ends_its_guest() {
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
    // The session still works.
    assert!(session.ask("tools/list", &json!({}))["result"].is_object());
}

#[test]
fn a_session_that_ends_ends_its_guests() {
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
fn a_session_is_refused_while_a_call_runs_in_each_there_may_be() {
    let host = ready(&format!("{PATIENT}[mcp]\nsessions_max = 1\n"));
    let session = Session::begin(&host);
    let call = python_call("open('begun', 'w').close()\nwhile True: pass");
    let begin = || post(&host, &[ACCEPT, JSON], &initialize().to_string());
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| session.send(&call));
        await_guest(&host, true);
        let refused = begin();
        assert_ne!(refused.header("retry-after"), "");
        let problem = refused.expect_problem(503, "sessions_full");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("mcp.sessions_max"), "{detail}");
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": 1, "reason": "enough"}});
        session.send(&cancel).expect(202);
        answer.join().unwrap().expect(200);
    });
    // It is unused now, and gives way.
    let until = Instant::now() + Duration::from_secs(20);
    while begin().status != 200 {
        assert!(Instant::now() < until, "the session still counts as used");
    }
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    session.send(&list).expect(404);
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
    assert_eq!(after["result"]["content"][0]["text"], "result: 1");
}

#[test]
fn a_drain_lets_calls_finish_and_ends_listeners() {
    let mut host = ready(PATIENT);
    let client = host.client.clone();
    let session = Session::begin(&host);
    let headers = [ACCEPT, JSON, ("mcp-session-id", session.id.as_str())];
    let code = "import time\nopen('begun', 'w').close()\ntime.sleep(4)\n'finished'";
    let body = python_call(code).to_string();
    let begin = Instant::now();
    // Both exist before the host is asked to end: the listener got an answer, and the guest has
    // begun.
    let (status, mut events) = client.open("/mcp", &[ACCEPT, headers[2]]);
    assert_eq!(status, 200);
    let answer = std::thread::scope(|scope| {
        let caller = scope.spawn(|| client.send("POST", "/mcp", &headers, body.as_bytes()));
        await_guest(&host, true);
        host.terminate();
        caller.join().unwrap()
    });
    std::io::copy(&mut events, &mut std::io::sink()).expect("the stream ends in order");
    assert!(answer.expect(200).text().contains("finished"));
    assert!(host.wait().success());
    // The drain's own limit is thirty seconds.
    assert!(
        begin.elapsed() < Duration::from_secs(25),
        "{:?}",
        begin.elapsed()
    );
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
