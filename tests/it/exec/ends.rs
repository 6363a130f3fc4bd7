//! Code whose interpreter is not ready, whose client is gone, or that is cancelled.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{python, ready};
use crate::support::host::{Host, Slack};

/// It does not end by itself, and has a directory for as long as it lives.
const ENDLESS: &str = "open('here', 'w').write('x')\nprint('on', flush=True)\nwhile True: pass";

fn endless() -> Value {
    json!({"language": "python", "code": ENDLESS, "timeout_ms": 120_000, "cpu_ms": 120_000})
}

#[test]
fn a_warming_interpreter_is_reported_and_does_not_delay_the_end() {
    // Nothing has been compiled for this data directory, and the large interpreter comes last.
    let mut host = Host::over(TempDir::new().expect("a temporary directory"), "");
    let code = json!({"language": "python", "code": "1"});
    for path in ["/v1/exec", "/v1/exec?async=true"] {
        let answer = host.client.post(path, &code);
        assert_eq!(answer.header("retry-after"), "2", "{answer:?}");
        answer.expect_problem(503, "interpreter_warming_up");
    }
    let readiness = host.client.get("/readyz").expect(200).json();
    assert_eq!(readiness["interpreters"]["python"], "warming_up");
    let asked = Instant::now();
    assert!(host.stop().success());
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
}

fn ask(stream: &mut TcpStream, request: &Value, accept: &str) {
    let body = request.to_string();
    write!(
        stream,
        "POST /v1/exec HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
}

/// Sends a request for endless code, waits until it runs, and goes away.
fn leave_while_it_runs(host: &Host, accept: &str) {
    let before = host.footprint();
    let address = host.client.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    ask(&mut stream, &endless(), accept);
    host.await_scratch(true);
    if accept == "text/event-stream" {
        let mut told = String::new();
        while !told.contains("event: stdout") {
            let mut piece = [0; 1024];
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "{told}");
            told.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    }
    drop(stream);
    host.await_footprint(&before, &Slack::default());
}

#[test]
fn code_ends_when_its_client_goes_away() {
    let host = ready("");
    // Memory that the first run leaves mapped stays.
    assert_eq!(python(&host, "open('x', 'w').write('y')")["result"], 1);
    for accept in ["text/event-stream", "application/json"] {
        leave_while_it_runs(&host, accept);
        assert_eq!(python(&host, "1 + 1")["result"], 2);
    }
}

#[test]
fn code_ends_when_its_client_does_not_read() {
    let host = ready("[http]\nbody_idle_timeout_ms = 500\n");
    assert_eq!(python(&host, "open('x', 'w').write('y')")["result"], 1);
    let before = host.footprint();
    // Six characters of JSON for each byte, which is more than the kernel keeps for a connection.
    let code = "import sys\nopen('here', 'w').write('x')\n\
                sys.stdout.write('\\x01' * (1 << 20))\nwhile True: pass";
    let mut request = endless();
    request["code"] = json!(code);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address: SocketAddr = host
        .client
        .base
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    ask(&mut stream, &request, "text/event-stream");
    host.await_scratch(true);
    host.await_footprint(&before, &Slack::default());
    assert_eq!(python(&host, "1 + 1")["result"], 2);
    drop(stream);
}

#[test]
fn code_as_a_task_is_cancelled_while_it_waits_and_while_it_runs() {
    let host = ready("[queue]\nslots = 1\ncancel_grace_ms = 100\n");
    let submit = || {
        let accepted = host.client.post("/v1/exec?async=true", &endless());
        let accepted = accepted.expect(202).json();
        accepted["task_id"].as_str().unwrap().to_owned()
    };
    let running = submit();
    host.client
        .task_when(&running, |task| task["status"] == "running");
    let waiting = submit();
    let cancel = |id: &str| host.client.delete(&format!("/v1/tasks/{id}")).expect(202);

    cancel(&waiting);
    let task = host.client.task(&waiting);
    assert_eq!(
        (&task["status"], &task["attempt"]),
        (&json!("cancelled"), &json!(0)),
        "{task}"
    );
    assert_eq!(host.client.task(&running)["status"], "running");
    host.await_scratch(true);

    cancel(&running);
    let asked = Instant::now();
    let task = host.client.final_task(&running);
    assert_eq!(task["status"], "cancelled", "{task}");
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    host.await_scratch(false);
    for id in [&running, &waiting] {
        host.client
            .delete(&format!("/v1/tasks/{id}"))
            .expect_problem(409, "task_final");
    }
    let next = json!({"language": "python", "code": "6 * 7"});
    let accepted = host.client.post("/v1/exec?async=true", &next).expect(202);
    let task = host
        .client
        .final_task(accepted.json()["task_id"].as_str().unwrap());
    assert_eq!(task["status"], "completed", "{task}");
}
