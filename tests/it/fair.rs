//! Callers take turns for room: a crowd of one delays another's first run by about one, wherever they
//! wait.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::exec::ready;
use crate::support::guests;
use crate::support::host::Host;

/// Runs of the crowd.
const CROWD: usize = 20;
/// How many of them may end before the other's first: the one that has the place, the one whose turn it
/// is, and one that ends while the other's answer is on its way.
const AHEAD_MAX: usize = 4;
/// How long the crowd may take to come.
const COMING: Duration = Duration::from_secs(30);

/// A connection from an address of this machine's own.
fn connect_from(host: &Host, address: [u8; 4]) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let from = SocketAddr::from((Ipv4Addr::from(address), 0));
    socket.bind(&from.into()).unwrap();
    let to = host.client.base.strip_prefix("http://").unwrap();
    let to: SocketAddr = to.parse().unwrap();
    socket.connect(&to.into()).unwrap();
    TcpStream::from(socket)
}

fn send(stream: &mut TcpStream, path: &str, body: &str) {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
}

fn receive(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn waiting(host: &Host) -> usize {
    let metrics = host.client.get("/metrics").expect(200).text();
    let name = "cofferdam_waiting_runs ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{metrics}"))
        .trim()
        .parse()
        .unwrap()
}

/// Has one caller send a crowd and another one request, and counts how many of the crowd are answered
/// before the other.
fn ahead(host: &Host, path: &str, body: &str, expected: &str) -> usize {
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CROWD {
            let mut stream = connect_from(host, [127, 0, 0, 1]);
            send(&mut stream, path, body);
            let answered = &answered;
            scope.spawn(move || {
                let answer = receive(stream);
                assert!(answer.contains(expected), "{answer}");
                answered.fetch_add(1, Ordering::SeqCst);
            });
        }
        let until = Instant::now() + COMING;
        while waiting(host) < CROWD / 2 {
            assert!(Instant::now() < until, "{} wait", waiting(host));
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut other = connect_from(host, [127, 0, 0, 2]);
        let before = answered.load(Ordering::SeqCst);
        send(&mut other, path, body);
        let answer = receive(other);
        let ahead = answered.load(Ordering::SeqCst) - before;
        assert!(answer.contains(expected), "{answer}");
        ahead
    })
}

#[test]
fn a_crowd_of_runs_delays_another_caller_by_about_one() {
    let host = Host::with_config("[sandbox]\ninstances_max = 1\nqueue_timeout_ms = 200000\n");
    host.client
        .put_module("spin", &guests::wat("spin.wat"))
        .expect(201);
    let path = "/v1/run/spin?cpu_ms=100&timeout_ms=200000";
    let ahead = ahead(&host, path, "", "cpu_exhausted");
    assert!(ahead <= AHEAD_MAX, "{ahead} of {CROWD} went first");
}

#[test]
fn a_crowd_of_code_delays_another_caller_by_about_one() {
    let host = ready(
        "[interpreters]\nrunning_max = 1\ninstances_max = 1\n[sessions]\nmax = 0\n[sandbox]\nqueue_timeout_ms = 200000\n",
    );
    let code = json!({"language": "javascript", "code": "for (;;) {}", "cpu_ms": 100,
        "timeout_ms": 200_000});
    let ahead = ahead(&host, "/v1/exec", &code.to_string(), "cpu_exhausted");
    assert!(ahead <= AHEAD_MAX, "{ahead} of {CROWD} went first");
}
