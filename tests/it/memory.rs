//! The memory budget: guests, compiling and bodies each have a part that the others leave them, and
//! whatever was taken comes back.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::guests;
use crate::support::host::Host;

const MIB: u64 = 1 << 20;
/// How long the host may take to notice that a client is gone.
const SETTLING: Duration = Duration::from_secs(20);

/// What is taken of the budget for guests, compiling and bodies.
fn taken(host: &Host) -> [u64; 3] {
    let metrics = host.client.get("/metrics").expect(200).text();
    ["guests", "compiles", "bodies"].map(|purpose| {
        let name = format!("cofferdam_memory_taken_bytes{{purpose=\"{purpose}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
    })
}

#[track_caller]
fn await_taken(host: &Host, wanted: [u64; 3]) {
    let deadline = Instant::now() + SETTLING;
    while taken(host) != wanted {
        assert!(Instant::now() < deadline, "{:?}", taken(host));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn guests_that_take_all_they_can_leave_room_to_answer_and_to_compile() {
    let host = Host::with_config(
        "[sandbox]\nmemory_budget_bytes = 1073741824\ninstances_max = 100\n\
         [http]\nbodies_reserved_bytes = 67108864\n",
    );
    let module = |name: &str| {
        let text = guests::wat(&format!("{name}.wat"));
        host.client.put_module(name, &text)
    };
    module("sleep").expect(201);
    module("echo").expect(201);
    let input = "x".repeat(1 << 20);
    let task = host
        .client
        .submit_and_wait(&json!({"module": "echo", "input": input}));
    // A gigabyte less a quarter for compiling and 64 MiB for bodies, at 64 MiB each.
    let sleepers: Vec<TcpStream> = (0..11)
        .map(|_| {
            let mut stream = host.connect();
            let head = "POST /v1/run/sleep?timeout_ms=60000 HTTP/1.1\r\nHost: localhost\r\n\
                        Content-Length: 0\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    await_taken(&host, [11 * 64 * MIB, 0, 0]);
    let crowded = host.client.run("echo?timeout_ms=200", "text/plain", b"x");
    assert_ne!(crowded.header("retry-after"), "");
    crowded.expect_problem(503, "queue_timeout");
    let id = task["task_id"].as_str().unwrap();
    let result = host.client.get(&format!("/v1/tasks/{id}/result"));
    assert_eq!(result.expect(200).json(), json!(input));
    module("exit-7").expect(201);

    drop(sleepers);
    await_taken(&host, [0, 0, 0]);
    host.client.run("echo", "text/plain", b"x").expect(200);
}
