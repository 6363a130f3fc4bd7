//! Any host answers for all: a task is watched, read and changed at a host that does not run it.

mod output;
mod passed_on;
mod sessions;

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use crate::support::guests;
use crate::support::host::Host;

/// Shorter than any heartbeat of these hosts.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Two hosts of one database, of which one runs every task and the other is asked.
struct Two {
    asked: Host,
    runs: Host,
    _database: Database,
}

impl Two {
    fn start() -> Two {
        Two::with("")
    }

    /// The same; `of_runs` is part of the configuration of the host that runs tasks.
    fn with(of_runs: &str) -> Two {
        let database = Database::fresh();
        let url = database.url();
        let config = format!(
            "[storage]\nurl = {url:?}\n[queue]\nheartbeat_interval_ms = 60000\n\
             dead_after_ms = 600000\ncancel_grace_ms = 100\ndrain_timeout_ms = 1\n"
        );
        let asked = Host::with_config(&format!("{config}slots = 1\n"));
        for file in ["sleep.wat", "tick.wat", "half.wat"] {
            let name = file.trim_end_matches(".wat");
            asked
                .client
                .put_module(name, &guests::wat(file))
                .expect(201);
        }
        let report = guests::built("report");
        asked.client.put_module("report", &report).expect(201);
        let limits = json!({"timeout_ms": 600_000, "cpu_ms": 600_000});
        // Its only slot is taken.
        let sleeping = asked
            .client
            .submit(&json!({"module": "sleep", "limits": limits}));
        asked
            .client
            .task_when(&sleeping, |task| task["status"] == "running");
        let runs = Host::with_config(&format!("{config}{of_runs}"));
        Two {
            asked,
            runs,
            _database: database,
        }
    }

    fn events(&self, id: &str) -> Events<impl Read + use<>> {
        let path = format!("/v1/tasks/{id}/events");
        let (status, stream) = self.asked.client.open(&path, &[]);
        assert_eq!(status, 200);
        Events(BufReader::new(stream))
    }
}

/// How many connections one host has to the API of another.
fn connections(from: &Host, to: &Host) -> usize {
    let port = to.client.base.rsplit(':').next().expect("it has a port");
    let port: u16 = port.parse().expect("a number");
    let peer = format!("0100007F:{port:04X}");
    let folder = format!("/proc/{}/fd", from.pid());
    let sockets: Vec<_> = std::fs::read_dir(folder)
        .expect("the host runs")
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|socket| socket.to_string_lossy().into_owned())
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel tells");
    let is_one = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(2) == Some(&peer.as_str())
            && fields.get(9).is_some_and(|inode| {
                let socket = format!("socket:[{inode}]");
                sockets.contains(&socket)
            })
    };
    table.lines().filter(is_one).count()
}

/// Waits until `condition` is true.
#[track_caller]
fn await_that(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + AT_ONCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A stream of events.
struct Events<R>(BufReader<R>);

/// An event's name and data.
type Event = (String, Value);

impl<R: Read> Events<R> {
    /// The next event; `None` where the stream ends.
    fn next(&mut self) -> Option<Event> {
        let (mut name, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line).expect("it can be read") == 0 {
                return None;
            }
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).expect("JSON")));
            }
        }
    }

    /// The data of the next event of that name, which comes at once.
    #[track_caller]
    fn await_named(&mut self, wanted: &str) -> Value {
        let asked_at = Instant::now();
        while let Some((name, data)) = self.next() {
            if name == wanted {
                assert!(asked_at.elapsed() < AT_ONCE, "{wanted} came late");
                return data;
            }
        }
        panic!("the stream ended without {wanted}");
    }
}

fn patient(module: &str) -> Value {
    json!({"module": module, "limits": {"timeout_ms": 600_000, "cpu_ms": 600_000}})
}

#[test]
fn every_step_of_a_task_is_told_at_a_host_that_does_not_run_it() {
    let two = Two::start();
    let mut later = patient("half");
    later["delay_ms"] = json!(500);
    let id = two.asked.client.submit(&later);
    let mut events = two.events(&id);
    assert_eq!(events.await_named("status")["status"], "pending");
    let running = events.await_named("status");
    assert_eq!(running, json!({"status": "running", "attempt": 1}));
    let progress = events.await_named("progress");
    let half = json!({"progress": 0.5, "progress_note": "half"});
    assert_eq!(progress, half);
    let task = two.asked.client.task(&id);
    assert_eq!(task["worker_id"], worker_of(&two.runs), "{task}");
    two.asked
        .client
        .delete(&format!("/v1/tasks/{id}"))
        .expect(202);
    assert_eq!(events.await_named("status")["status"], "cancelled");
    assert_eq!(events.await_named("result")["status"], "cancelled");
    assert_eq!(events.next(), None);
}

fn worker_of(host: &Host) -> Value {
    host.client.get("/health").expect(200).json()["worker_id"].clone()
}

#[test]
fn every_host_says_the_same_of_a_task() {
    let two = Two::start();
    let text = String::from_utf8(guests::sample("report/data/sales.txt")).unwrap();
    let task =
        json!({"module": "report", "content_type": "text/plain", "args": ["Sales"], "input": text});
    let id = two.asked.client.submit(&task);
    let task = two.asked.client.final_task(&id);
    assert_eq!(task["status"], "completed", "{task}");
    assert_eq!(task["worker_id"], worker_of(&two.runs), "{task}");
    for path in [
        format!("/v1/tasks/{id}"),
        format!("/v1/tasks/{id}/result"),
        format!("/v1/tasks/{id}/logs?stream=stderr"),
        format!("/v1/tasks/{id}/attempts"),
        format!("/v1/tasks/{id}/artifacts"),
        format!("/task/{id}/status"),
        format!("/task/{id}/result"),
    ] {
        let [asked, runs] = [&two.asked, &two.runs].map(|host| host.client.get(&path).expect(200));
        assert_eq!(asked.text(), runs.text(), "{path}");
    }
    let id = two.asked.client.submit(&patient("sleep"));
    two.asked
        .client
        .task_when(&id, |task| task["status"] == "running");
    two.asked.client.delete(&format!("/task/{id}")).expect(200);
    two.asked.client.final_task(&id);
    let retry = format!("/v1/tasks/{id}/retry");
    two.asked.client.post(&retry, &json!({})).expect(202);
    let again = |task: &Value| task["status"] == "running" && task["attempt"] == 2;
    two.asked.client.task_when(&id, again);
}
