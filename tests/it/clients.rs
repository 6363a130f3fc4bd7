//! Clients that do not read, do not send, or send too much: one of them does not keep others
//! waiting, and all of them together use no more than the host allows.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::exec::{python, ready};
use crate::support::guests;
use crate::support::host::Host;

const MIB: u64 = 1 << 20;
/// The longest wait of a well-behaved client, in a build without optimisation.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection whose kernel buffers almost nothing for its client.
fn connect_small(host: &Host, buffer_bytes: usize) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(buffer_bytes).unwrap();
    let address = host.client.base.strip_prefix("http://").unwrap();
    let address: SocketAddr = address.parse().unwrap();
    socket.connect(&address.into()).unwrap();
    TcpStream::from(socket)
}

fn post(stream: &mut TcpStream, path: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
}

/// Gzip of that many zeros, by the system's own program.
fn gzip_of_zeros(mebibytes: u64) -> Vec<u8> {
    let script = format!("head -c {} /dev/zero | gzip -c", mebibytes * MIB);
    let packed = Command::new("sh").args(["-c", &script]).output().unwrap();
    packed.stdout
}

/// The most memory of the host while `work` runs.
fn peak_bytes(host: &Host, work: impl FnOnce() + Send) -> u64 {
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        let mut peak = 0;
        while !working.is_finished() {
            peak = peak.max(host.resident_bytes());
            std::thread::sleep(Duration::from_millis(5));
        }
        working.join().unwrap();
        peak
    })
}

#[test]
fn readers_that_do_not_read_keep_nobody_from_running_code() {
    let host = ready("");
    let code = "import sys\nfor i in range(200000): sys.stdout.write('\\x01')\n1";
    let request = json!({"language": "python", "code": code}).to_string();
    let unread: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = connect_small(&host, 4096);
            let headers = "Accept: text/event-stream\r\nContent-Type: application/json\r\n";
            post(&mut stream, "/v1/exec", headers, request.as_bytes());
            stream
        })
        .collect();
    let asked = Instant::now();
    assert_eq!(python(&host, "1 + 1")["result"], 2);
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    drop(unread);
}

#[test]
fn a_late_reader_hears_what_was_left_out_and_gets_the_whole_answer() {
    let host = ready("");
    // More than may wait for a reader, in pieces that cannot be joined into one event.
    let code = "import sys\nfor i in range(50):\n  sys.stdout.write('\\x01' * 20000)\n  sys.stdout.flush()\n7";
    let request = json!({"language": "python", "code": code}).to_string();
    let mut stream = connect_small(&host, 65_536);
    let headers = "Accept: text/event-stream\r\nContent-Type: application/json\r\n";
    post(&mut stream, "/v1/exec", headers, request.as_bytes());
    // By then the code has ended, whether or not anybody reads.
    let begun = Instant::now();
    while !host
        .client
        .get("/metrics")
        .text()
        .contains("interpreters/python")
    {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut told = String::new();
    let mut piece = [0; 65536];
    while !told.contains("event: result") || !told.ends_with("\r\n0\r\n\r\n") {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "{} bytes", told.len());
        told.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    assert!(told.contains("event: truncated"));
    assert!(told.contains("\"result\":7"));
}

#[test]
fn results_that_nobody_reads_are_bounded_in_sum() {
    let host = Host::with_config(
        "[http]\nbodies_bytes = 67108864\nbodies_wait_ms = 100\n\
         inline_body_bytes = 33554432\n[limits]\noutput_bytes = 33554432\n\
         memory_bytes = 268435456\n[ceilings]\noutput_bytes = 33554432\n",
    );
    host.client
        .put_module("echo", &guests::wat("echo.wat"))
        .expect(201);
    let input = vec![b'x'; 16 << 20];
    let headers = [("content-type", "text/plain")];
    let path = "/v1/tasks?module=echo&wait_ms=60000";
    let task = host
        .client
        .send("POST", path, &headers, &input)
        .expect(200)
        .json();
    let id = task["task_id"].as_str().unwrap();
    let before = host.resident_bytes();
    let unread: Vec<TcpStream> = (0..24)
        .map(|_| {
            let mut stream = connect_small(&host, 4096);
            write!(
                stream,
                "GET /v1/tasks/{id}/result HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            .unwrap();
            stream
        })
        .collect();
    // Those that got no room get 503, and the others keep theirs.
    let mut answers: Vec<String> = Vec::new();
    for mut stream in unread.iter() {
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        answers.push(String::from_utf8_lossy(&status).into_owned());
    }
    let busy = answers.iter().filter(|answer| answer.ends_with("503"));
    assert!(busy.count() >= 16, "{answers:?}");
    let grown = host.resident_bytes().saturating_sub(before);
    assert!(grown < 160 * MIB, "{} MiB", grown / MIB);
    drop(unread);
    let deadline = Instant::now() + Duration::from_secs(30);
    while host.client.get(&format!("/v1/tasks/{id}/result")).status != 200 {
        assert!(Instant::now() < deadline, "the room does not come back");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn uploads_are_bounded_in_sum_packed_or_not() {
    let host = Host::with_config("[http]\nbodies_bytes = 67108864\nbodies_wait_ms = 100\n");
    let before = host.resident_bytes();
    let packed = gzip_of_zeros(127);
    assert!(packed.len() < 200_000);
    let upload = |number: usize| {
        let headers = [
            ("content-type", "application/wasm"),
            ("content-encoding", "gzip"),
        ];
        let path = format!("/v1/modules/zeros-{number}");
        host.client.send("PUT", &path, &headers, &packed)
    };
    let peak = peak_bytes(&host, || {
        std::thread::scope(|scope| {
            let uploads: Vec<_> = (0..8)
                .map(|number| scope.spawn(move || upload(number)))
                .collect();
            for answer in uploads {
                let answer = answer.join().unwrap();
                // Either it was checked, and is not a module, or there was no room for it.
                assert!([422, 503].contains(&answer.status), "{}", answer.text());
            }
        });
    });
    let grown = peak.saturating_sub(before);
    // One body of 127 MiB at a time, which is more than the room and so takes all of it, and its
    // copy on the way to the compiler.
    assert!(grown < 400 * MIB, "{} MiB", grown / MIB);
}

#[test]
fn idle_connections_give_way() {
    let host = Host::with_config("[http]\nconnections_max = 32\n");
    let crowd: Vec<TcpStream> = (0..100).map(|_| host.connect()).collect();
    let asked = Instant::now();
    // A new connection keeps its place for a moment, so the last one may be refused.
    let is_served = |path: &str| {
        let answer = host.client.try_send("GET", path, &[], b"");
        answer.is_ok_and(|answer| answer.status == 200)
    };
    for path in ["/livez", "/v1/modules"] {
        while !is_served(path) {
            assert!(asked.elapsed() < PATIENCE, "{path}: {:?}", asked.elapsed());
        }
    }
    drop(crowd);
}

#[test]
fn dripped_bodies_give_way_and_end() {
    let host = Host::with_config(
        "[http]\nconnections_max = 32\nbody_timeout_ms = 3000\nbody_idle_timeout_ms = 2000\n",
    );
    let mut crowd: Vec<TcpStream> = (0..32)
        .map(|_| {
            let mut stream = host.connect();
            let head = "POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\n\
                        Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    let mut is_served = false;
    // Each byte buys time for one wait, but not for the whole body.
    while begun.elapsed() < Duration::from_secs(8) {
        for stream in &mut crowd {
            let _closed = stream.write_all(b" ");
        }
        is_served |= host
            .client
            .try_send("GET", "/v1/modules", &[], b"")
            .is_ok_and(|answer| answer.status == 200);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(is_served, "other clients are not served");
    let mut timed_out = 0;
    for stream in &mut crowd {
        let mut answer = String::new();
        let _reset = stream.read_to_string(&mut answer);
        timed_out += usize::from(answer.contains("body_timeout"));
    }
    assert!(timed_out > 0, "no body was ever cut off");
}

#[test]
fn busy_connections_leave_places_for_operations() {
    let host =
        Host::with_config("[http]\nconnections_max = 4\noperations_listen = \"127.0.0.1:0\"\n");
    host.client
        .put_module("sleep", &guests::wat("sleep.wat"))
        .expect(201);
    let task = host.client.submit(&json!({"module": "sleep",
        "limits": {"timeout_ms": 60000}}));
    // Watchers are never idle. The client's own connection is, and gives way to the last of them.
    let mut watchers: Vec<TcpStream> = Vec::new();
    let begun = Instant::now();
    while watchers.len() < 4 {
        assert!(begun.elapsed() < PATIENCE, "{} watchers", watchers.len());
        let mut stream = host.connect();
        let head = format!("GET /v1/tasks/{task}/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut status = [0; 12];
        if stream.read_exact(&mut status).is_ok() && &status == b"HTTP/1.1 200" {
            watchers.push(stream);
        }
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        host.client.get(path).expect(200);
    }
    let full = host.client.get("/v1/modules");
    assert_eq!(full.header("retry-after"), "1");
    full.expect_problem(503, "connections_full");
    let log = host.log();
    let line = log
        .lines()
        .find(|line| line.contains("operations are answered"));
    let address = line.and_then(|line| line.split("address=").nth(1)).unwrap();
    let of_operations = crate::support::http::Client::new(format!("http://{}", address.trim()));
    of_operations.get("/readyz").expect(200);
    of_operations.get("/v1/modules").expect(503);
    drop(watchers);
}

#[test]
fn a_client_that_ends_its_side_gets_its_answer() {
    let host = Host::start();
    host.client
        .put_module("sleep", &guests::wat("sleep.wat"))
        .expect(201);
    for request in [
        "GET /livez HTTP/1.0\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        // This is long enough for the host to probe the client.
        "POST /v1/run/sleep?timeout_ms=2000 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
    ] {
        let mut stream = host.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let is_run = request.contains("/v1/run");
        let expected = if is_run { " 422 " } else { " 200 " };
        assert!(answer.contains(expected), "{request}: {answer}");
    }
}
