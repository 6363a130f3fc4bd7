//! The server itself: hostile clients, encodings, operations.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::guests;
use crate::support::host::{Host, Slack};

/// The descriptors of a small host with few connections.
const DESCRIPTORS: u32 = 128;

fn connect(host: &Host) -> TcpStream {
    let address = host.client.base.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// The server's answer to these bytes until it closes the connection.
fn exchange(host: &Host, request: &[u8]) -> String {
    let mut stream = connect(host);
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A reset is an answer as well.
    let _reset = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_slow_client_is_closed_and_others_are_served() {
    let host = Host::with_config("[http]\nheader_timeout_ms = 500\nbody_idle_timeout_ms = 500\n");
    let started = Instant::now();
    let mut slow: Vec<TcpStream> = (0..50).map(|_| connect(&host)).collect();
    for stream in &mut slow {
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nX-Slow: ")
            .unwrap();
    }
    let mut body = connect(&host);
    body.write_all(b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{").unwrap();
    host.client.get("/livez").expect(200);
    for stream in slow.iter_mut().chain([&mut body]) {
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest);
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn connections_leave_descriptors_to_the_rest() {
    let host = Host::with_descriptors(DESCRIPTORS);
    host.client.get("/livez").expect(200);
    let crowd: Vec<TcpStream> = (0..DESCRIPTORS * 2)
        .map(|_| {
            let mut stream = connect(&host);
            stream
                .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    // Some are served, depending on which thread is faster; the others wait.
    await_an_answer(&crowd);
    // For an earlier client, the compiler's child, its pipes and files, and a guest's directories
    // all get their descriptors.
    host.client
        .put_module("report", &guests::built("report"))
        .expect(201);
    let task = host
        .client
        .submit_and_wait(&json!({"module": "report", "content_type": "text/plain",
            "args": ["Sales"], "input_base64": "dGVhIDEK"}));
    assert_eq!(task["status"], "completed", "{task}");

    drop(crowd);
    for _ in 0..4 {
        let answer = exchange(
            &host,
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// Waits until one of many connections is answered.
fn await_an_answer(crowd: &[TcpStream]) {
    let deadline = Instant::now() + Duration::from_secs(20);
    for stream in crowd {
        stream.set_nonblocking(true).unwrap();
    }
    let is_answered = |stream: &TcpStream| {
        let mut head = [0; 12];
        stream.peek(&mut head).is_ok() && &head == b"HTTP/1.1 200"
    };
    while !crowd.iter().any(is_answered) {
        assert!(Instant::now() < deadline, "nobody is served");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let mebibytes = 32;
    let host = Host::with_config(&format!(
        "[http]\nbody_idle_timeout_ms = 500\ninline_body_bytes = {0}\n[limits]\noutput_bytes = {0}\n\
         memory_bytes = {1}\n[ceilings]\noutput_bytes = {0}\n",
        mebibytes << 20,
        512 << 20,
    ));
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let before = host.footprint();
    let body = vec![b'x'; mebibytes << 20];
    let mut stream = connect(&host);
    let head = format!(
        "POST /v1/run/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    let slack = Slack {
        resident_kib: 64 * 1024,
        descriptors: 0,
        ..Slack::default()
    };
    host.await_footprint(&before, &slack);
    let mut rest = Vec::new();
    let cut = stream.read_to_end(&mut rest);
    assert!(
        cut.is_err() || rest.len() < body.len(),
        "{} bytes",
        rest.len()
    );
    host.client.get("/livez").expect(200);
}

#[test]
fn requests_that_could_be_smuggled_are_refused() {
    let host = Host::start();
    for request in [
        "POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\nhello",
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nA : b\r\n\r\n",
        "GARBAGE\r\n\r\n",
    ] {
        let answer = exchange(&host, request.as_bytes());
        assert!(
            answer.starts_with("HTTP/1.1 400") || answer.is_empty(),
            "{request:?}: {answer}"
        );
    }
    let many = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "A: b\r\n".repeat(10_000)
    );
    assert!(!exchange(&host, many.as_bytes()).starts_with("HTTP/1.1 200"));
    host.client.get("/livez").expect(200);
}

#[test]
fn a_body_is_measured_after_it_is_unpacked() {
    let host = Host::with_config("[http]\ninline_body_bytes = 65536\n");
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let small = gzip(&vec![b' '; 1000]);
    let headers = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let answer = host
        .client
        .send("POST", "/v1/run/echo", &headers, &small)
        .expect(200);
    assert_eq!(answer.body.len(), 1000);
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    host.client
        .send("POST", "/v1/run/echo", &headers, &bomb)
        .expect(413);
    let unknown = [("content-type", "text/plain"), ("content-encoding", "br")];
    host.client
        .send("POST", "/v1/run/echo", &unknown, &small)
        .expect(415);
    host.client
        .run("echo", "text/plain", &vec![b'x'; 65537])
        .expect(413);
}

#[test]
fn a_body_packed_in_several_parts_arrives_whole() {
    let host = Host::start();
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let parts = [gzip(b"one "), gzip(b"two "), gzip(b"three")].concat();
    let headers = [("content-type", "text/plain"), ("content-encoding", "GZip")];
    let run = |body: &[u8]| host.client.send("POST", "/v1/run/echo", &headers, body);
    assert_eq!(run(&parts).expect(200).text(), "one two three");
    let garbage = [gzip(b"one "), b"garbage".to_vec()].concat();
    run(&garbage).expect_problem(400, "invalid_encoding");
}

#[test]
fn pages_of_strangers_are_refused() {
    let host = Host::start();
    let get = |headers: &[(&str, &str)]| host.client.send("GET", "/livez", headers, b"");
    get(&[("host", "evil.example:8080")]).expect_problem(403, "host_refused");
    get(&[("origin", "http://evil.example")]).expect_problem(403, "origin_refused");
    get(&[("origin", "null")]).expect_problem(403, "origin_refused");
    get(&[("origin", "http://localhost:3000")]).expect(200);
    for request in [
        "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let answer = exchange(&host, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}

#[test]
fn unknown_parameters_are_refused_everywhere() {
    let host = Host::start();
    let id = "/v1/tasks/0190d1f0-0000-7000-8000-000000000001";
    for (method, path) in [
        ("DELETE", id.to_owned()),
        ("POST", format!("{id}/retry")),
        ("GET", format!("{id}/attempts")),
        ("GET", format!("{id}/events")),
        ("DELETE", "/v1/modules/echo".to_owned()),
    ] {
        host.client
            .send(method, &format!("{path}?force=true"), &[], b"")
            .expect_problem(400, "unknown_parameter");
    }
}

/// Compresses with the system's gzip, so that the test does not depend on the host's libraries.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("gzip is installed");
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let mut packed = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut packed)
        .unwrap();
    writer.join().unwrap();
    child.wait().unwrap();
    packed
}

#[test]
fn unknown_paths_and_methods_are_problems_too() {
    let host = Host::start();
    host.client
        .get("/v1/nothing")
        .expect_problem(404, "not_found");
    let answer = host.client.send("PATCH", "/v1/tasks", &[], b"");
    assert!(answer.header("allow").contains("GET"), "{answer:?}");
    answer.expect_problem(405, "method_not_allowed");
    host.client.get("/v1/tasks/not-a-uuid").expect(404);
    host.client
        .get("/v1/tasks/0190d1f0-0000-7000-8000-000000000001")
        .expect_problem(404, "task_not_found");
}

#[test]
fn operations_answer() {
    let host = Host::start();
    host.client.get("/livez").expect(200);
    host.client.get("/readyz").expect(200);
    let openapi = host.client.get("/openapi.json").expect(200).json();
    for pointer in [
        "/paths/~1v1~1tasks~1{id}/delete/responses/409",
        "/paths/~1v1~1run~1{module}/post/responses/422",
        "/paths/~1readyz/get/responses/503",
    ] {
        let content = openapi.pointer(pointer).unwrap()["content"].as_object();
        let types: Vec<&String> = content.unwrap().keys().collect();
        assert_eq!(types, ["application/problem+json"], "{pointer}");
    }
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1"));
    for any in [
        "/components/schemas/PoolResult/properties/result",
        "/components/schemas/TaskRequest/properties/input",
    ] {
        assert!(openapi.pointer(any).unwrap()["type"].is_null(), "{any}");
    }
    for path in [
        "/v1/tasks",
        "/v1/run/{module}",
        "/v1/modules/{name}",
        "/execute",
        "/health",
    ] {
        assert!(openapi["paths"][path].is_object(), "{path}");
    }
    let metrics = host.client.get("/metrics").expect(200).text();
    // The older format, which announces a counter by the name of its samples.
    assert!(
        metrics.contains("# TYPE cofferdam_http_requests_total counter"),
        "{metrics}"
    );
    let accept = [("accept", "application/openmetrics-text;version=1.0.0")];
    let newer = host.client.send("GET", "/metrics", &accept, b"").text();
    assert!(
        newer.contains("# TYPE cofferdam_http_requests counter") && newer.ends_with("# EOF\n"),
        "{newer}"
    );
}

#[test]
fn the_worker_api_of_pools_is_served() {
    let host = Host::start();
    host.client
        .put_module("primes", &guests::built("primes"))
        .expect(201);
    let health = host.client.get("/health").expect(200).json();
    for field in [
        "status",
        "worker_id",
        "version",
        "capabilities",
        "active_tasks",
        "queue_depth",
        "uptime_seconds",
    ] {
        assert!(!health[field].is_null(), "{field}: {health}");
    }
    let accepted = host
        .client
        .post("/execute", &json!({"task_id": "job-17", "task_type": "primes", "payload": {"from": 1, "to": 100}, "priority": "high"}))
        .json();
    assert_eq!(
        (&accepted["task_id"], &accepted["status"]),
        (&json!("job-17"), &json!("accepted"))
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    let result = loop {
        let status = host.client.get("/task/job-17/status").expect(200).json();
        if status["status"] == "completed" {
            break host.client.get("/task/job-17/result").expect(200).json();
        }
        assert!(Instant::now() < deadline, "{status}");
    };
    assert_eq!(result["result"]["count"], 25, "{result}");
    assert!(result["execution_time_seconds"].is_number() && result["completed_at"].is_string());
    let json_metrics = host
        .client
        .send("GET", "/metrics", &[("accept", "application/json")], b"")
        .json();
    assert_eq!(json_metrics["tasks_completed"], 1, "{json_metrics}");
    host.client.get("/task/nobody/status").expect(404);
}

#[test]
fn an_address_that_is_not_loopback_is_refused() {
    let data = tempfile::TempDir::new().unwrap();
    let output = std::process::Command::new(crate::support::host::program())
        .args(["serve", "--listen", "0.0.0.0:0", "--data"])
        .arg(data.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("loopback"));
}

#[test]
fn the_root_page_says_what_this_is() {
    let host = Host::start();
    let page = host.client.get("/").expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
    );
    let text = page.text();
    assert!(
        text.contains("/openapi.json") && !text.contains("<script"),
        "{text}"
    );
    let accept = [("accept", "application/json")];
    let home = host
        .client
        .send("GET", "/", &accept, b"")
        .expect(200)
        .json();
    assert_eq!(home["name"], "cofferdam");
    for link in ["openapi", "ready", "metrics", "modules", "tasks"] {
        host.client.get(home[link].as_str().unwrap()).expect(200);
    }
}
