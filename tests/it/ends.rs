//! Ends that storage refuses: of one attempt among many, and of all of them.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::Client;

/// How long a host may take to end when nothing runs and storage accepts nothing.
const STOP_MAX: Duration = Duration::from_secs(8);

fn host(config: &str, wats: &[&str]) -> Host {
    let host = Host::with_config(config);
    for wat in wats {
        host.client
            .put_module(wat.trim_end_matches(".wat"), &guests::wat(wat))
            .expect(201);
    }
    host
}

/// Makes the database refuse attempts for which `condition` is true of the new row.
fn refuse_attempts(host: &Host, condition: &str) {
    database(host)
        .execute_batch(&format!(
            "CREATE TRIGGER refused BEFORE INSERT ON attempt WHEN {condition}
             BEGIN SELECT RAISE(ABORT, 'as the test wants'); END;"
        ))
        .unwrap();
}

fn database(host: &Host) -> Connection {
    let connection = Connection::open(host.data().join("cofferdam.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection
}

#[track_caller]
fn stops_in_time(mut host: Host) {
    let begun = Instant::now();
    host.stop();
    assert!(begun.elapsed() < STOP_MAX, "{:?}", begun.elapsed());
}

/// Claims taken ahead of a slot go back to storage after a second, and all of them are cancelled at
/// about that time.
#[test]
fn cancels_race_with_claims_that_are_given_back() {
    const SLEEPERS: usize = 32;
    const TAKEN_AHEAD: usize = 200;
    const CONNECTIONS: usize = 40;
    let host = host("[queue]\nslots = 32\n", &["sleep.wat", "echo.wat"]);
    // Short tasks come first, so that the host takes many tasks ahead of a free slot.
    for number in 0..20 {
        host.client
            .submit_and_wait(&json!({"module": "echo", "input": number}));
    }
    let due = jiff::Timestamp::now() + Duration::from_millis(2500);
    let task = |module: &str, priority: &str| {
        let task = json!({"module": module, "priority": priority, "run_at": due.to_string()});
        host.client.submit(&task)
    };
    let sleepers: Vec<String> = (0..SLEEPERS).map(|_| task("sleep", "critical")).collect();
    let waiting: Vec<String> = (0..TAKEN_AHEAD).map(|_| task("echo", "low")).collect();
    for id in &sleepers {
        host.client
            .task_when(id, |task| task["status"] == "running");
    }
    let begun = Instant::now();
    let start = Barrier::new(CONNECTIONS);
    thread::scope(|scope| {
        for ids in waiting.chunks(TAKEN_AHEAD / CONNECTIONS) {
            scope.spawn(|| {
                let client = Client::new(host.client.base.clone());
                start.wait();
                for (id, number) in ids.iter().zip(0_u32..) {
                    let at = Duration::from_millis(700 + u64::from(number) * 70);
                    thread::sleep(at.saturating_sub(begun.elapsed()));
                    client.delete(&format!("/v1/tasks/{id}")).expect(202);
                }
            });
        }
    });
    for id in &waiting {
        let task = host.client.final_task(id);
        assert_eq!(task["status"], "cancelled", "{task}");
    }
    host.client.get("/readyz").expect(200);
    for id in &sleepers {
        host.client.delete(&format!("/v1/tasks/{id}")).expect(202);
    }
    for id in &sleepers {
        assert_eq!(host.client.final_task(id)["status"], "cancelled");
    }
    stops_in_time(host);
}

#[test]
fn an_end_that_the_database_refuses_concerns_its_own_task_only() {
    let host = host("", &["echo.wat"]);
    refuse_attempts(&host, "NEW.output = CAST('\"bad\"' AS BLOB)");
    let submit = |input: &str| {
        host.client
            .submit(&json!({"module": "echo", "input": input, "retry": {"max_attempts": 3}}))
    };
    let tasks: Vec<(&str, String)> = ["good", "bad", "good", "good", "bad", "good"]
        .into_iter()
        .map(|input| (input, submit(input)))
        .collect();
    for (input, id) in &tasks {
        let task = host.client.final_task(id);
        match *input {
            "good" => assert_eq!(task["status"], "completed", "{task}"),
            _ => assert_eq!(
                (&task["status"], &task["error"]["kind"], &task["attempt"]),
                (&json!("failed"), &json!("host_error"), &json!(1)),
                "{task}"
            ),
        }
    }
    host.client.get("/readyz").expect(200);
    stops_in_time(host);
}

#[test]
fn a_host_that_can_record_no_end_is_not_ready_and_still_stops() {
    let host = host("[queue]\nheartbeat_interval_ms = 200\n", &["echo.wat"]);
    host.client.get("/readyz").expect(200);
    refuse_attempts(&host, "true");
    let echo = json!({"module": "echo", "input": 1});
    host.client.submit(&echo);
    await_readiness(&host.client, 503);
    host.client
        .get("/readyz")
        .expect_problem(503, "storage_unavailable");
    database(&host)
        .execute_batch("DROP TRIGGER refused")
        .unwrap();
    let task: Value = host.client.submit_and_wait(&echo);
    assert_eq!(task["status"], "completed", "{task}");
    await_readiness(&host.client, 200);

    refuse_attempts(&host, "true");
    host.client.submit(&echo);
    await_readiness(&host.client, 503);
    stops_in_time(host);
}

#[track_caller]
fn await_readiness(client: &Client, status: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.get("/readyz").status != status {
        assert!(Instant::now() < deadline, "waited too long");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A row in SQLite has at most 1,000,000,000 bytes; a larger output is kept beside the database.
#[test]
fn an_output_larger_than_a_row_is_kept() {
    let config = "[ceilings]\noutput_bytes = 1073741824\n";
    let host = host(config, &["task-output.wat", "echo.wat"]);
    let large = host.client.submit(&json!({
        "module": "task-output",
        "content_type": "application/octet-stream",
        // 1,000,000,100 as a little-endian number.
        "input_base64": "ZMqaOw==",
        "limits": {"memory_bytes": 2_147_483_648_u32, "output_bytes": 1_073_741_824},
    }));
    let small = host.client.submit(&json!({"module": "echo", "input": 1}));
    let task = host.client.final_task(&large);
    assert_eq!(
        (&task["status"], &task["result_bytes"]),
        (&json!("completed"), &json!(1_000_000_100)),
        "{task}"
    );
    assert_eq!(host.client.final_task(&small)["status"], "completed");
    host.client.get("/readyz").expect(200);
}
