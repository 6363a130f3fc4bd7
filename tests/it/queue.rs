//! The queue as clients see it: races, the order of tasks and retries, restarts, and retention.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::guests;
use crate::support::host::Host;
use crate::support::http::Client;

const AN_HOUR_MS: u64 = 3_600_000;

fn host_with(config: &str, wats: &[&str]) -> Host {
    let host = Host::with_config(config);
    for wat in wats {
        host.client
            .put_module(wat.trim_end_matches(".wat"), &guests::wat(wat))
            .expect(201);
    }
    host
}

/// A moment as milliseconds since some other.
fn millis(time: &Value) -> i64 {
    let text = time.as_str().unwrap_or_else(|| panic!("no time: {time}"));
    let time: jiff::Timestamp = text.parse().expect("RFC 3339");
    time.as_millisecond()
}

fn attempts(client: &Client, id: &str) -> Vec<Value> {
    let page = client.get(&format!("/v1/tasks/{id}/attempts")).expect(200);
    page.json()["items"].as_array().unwrap().clone()
}

#[test]
fn submissions_that_race_with_one_key_are_one_task() {
    const CONNECTIONS: usize = 32;
    let host = host_with("", &["echo.wat"]);
    for round in 0..10 {
        let key = format!("race-{round}");
        let start = Barrier::new(CONNECTIONS);
        let answers = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let client = Client::new(host.client.base.clone());
                    let headers = [
                        ("content-type", "application/json"),
                        ("idempotency-key", key.as_str()),
                    ];
                    let body = json!({"module": "echo", "input": round}).to_string();
                    start.wait();
                    let answer = client.send("POST", "/v1/tasks", &headers, body.as_bytes());
                    let id = answer.json()["task_id"].as_str().unwrap().to_owned();
                    answers.lock().unwrap().push((answer.status, id));
                });
            }
        });
        let answers = answers.into_inner().unwrap();
        let created = answers.iter().filter(|(status, _)| *status == 202).count();
        assert_eq!(created, 1, "{answers:?}");
        assert!(answers.iter().all(|(_, id)| *id == answers[0].1));
    }
    let page = host.client.get("/v1/tasks?limit=1000").expect(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 10);
}

#[test]
fn a_cancel_that_races_with_the_end_has_one_result() {
    const RACES: usize = 200;
    let host = host_with("", &["echo.wat"]);
    let (next, cancelled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let race = |number: usize| {
        let id = host
            .client
            .submit(&json!({"module": "echo", "input": number}));
        // The cancel comes at once, or when the end is near or past.
        let began = Instant::now();
        while began.elapsed() < Duration::from_micros(number as u64 * 20) {
            std::hint::spin_loop();
        }
        let answer = host.client.delete(&format!("/v1/tasks/{id}")).status;
        let task = host.client.final_task(&id);
        let result = host.client.get(&format!("/v1/tasks/{id}/result")).status;
        // A client that saw the task cancelled does not see it completed later, and the reverse.
        // The guest's output may still exist.
        match answer {
            202 => {
                cancelled.fetch_add(1, Ordering::Relaxed);
                assert_eq!(task["status"], "cancelled", "{task}");
                assert!([200, 422].contains(&result), "{result}: {task}");
            }
            409 => assert_eq!(
                (&task["status"], result),
                (&json!("completed"), 200),
                "{task}"
            ),
            other => panic!("{other}: {task}"),
        }
        host.client.delete(&format!("/v1/tasks/{id}")).expect(409);
        assert_eq!(host.client.task(&id)["status"], task["status"]);
        assert!(attempts(&host.client, &id).len() <= 1, "{task}");
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= RACES {
                        return;
                    }
                    race(number);
                }
            });
        }
    });
    println!("{cancelled:?} of {RACES} were cancelled");
}

#[test]
fn a_transient_failure_is_tried_again_later_and_later() {
    let host = host_with("", &["task-fails.wat"]);
    let submit = |input: &str| {
        host.client.submit(
            &json!({"module": "task-fails", "content_type": "text/plain",
            "input_base64": input,
            "retry": {"max_attempts": 3, "base_ms": 200, "factor": 3.0, "jitter": false}}),
        )
    };
    // "2" is transient.
    let id = submit("Mg==");
    host.client
        .task_when(&id, |task| task["label"] == "retrying");
    let task = host.client.final_task(&id);
    assert_eq!(
        (&task["status"], &task["attempt"], &task["error"]["kind"]),
        (&json!("failed"), &json!(3), &json!("guest_error")),
        "{task}"
    );
    let tries = attempts(&host.client, &id);
    assert_eq!(tries.len(), 3, "{tries:?}");
    for (pair, wait) in tries.windows(2).zip([200, 600]) {
        let waited = millis(&pair[1]["started_at"]) - millis(&pair[0]["finished_at"]);
        assert!(
            waited >= wait - 1,
            "{waited} ms instead of {wait}: {tries:?}"
        );
    }
    // "1" is permanent.
    let task = host.client.final_task(&submit("MQ=="));
    assert_eq!(task["attempt"], 1, "{task}");
}

#[test]
fn the_more_urgent_task_runs_first() {
    let host = host_with("[queue]\nslots = 1\n", &["sleep.wat", "echo.wat"]);
    let blocker = host
        .client
        .submit(&json!({"module": "sleep", "limits": {"timeout_ms": 3000}}));
    host.client
        .task_when(&blocker, |task| task["status"] == "running");
    let order = ["low", "normal", "high", "critical", "medium"];
    let ids = order.map(|priority| {
        host.client
            .submit(&json!({"module": "echo", "input": priority, "priority": priority}))
    });
    let mut ended: Vec<(i64, String)> = ids
        .iter()
        .map(|id| {
            let task = host.client.final_task(id);
            assert_eq!(task["status"], "completed", "{task}");
            (
                millis(&task["finished_at"]),
                task["priority"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let rank = |name: &str| {
        ["critical", "high", "normal", "low"]
            .iter()
            .position(|n| *n == name)
    };
    // With one slot, tasks end in the order in which they began. A start is when a task was claimed, which
    // may be ahead. Tasks of the same millisecond may be in any order.
    ended.sort_by_key(|(at, priority)| (*at, rank(priority)));
    let names: Vec<&str> = ended.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["critical", "high", "normal", "normal", "low"]);
}

#[test]
fn a_delayed_task_outlives_its_host() {
    let mut host = host_with("", &["echo.wat"]);
    let soon = host
        .client
        .submit(&json!({"module": "echo", "input": 1, "delay_ms": 1500}));
    let late = host
        .client
        .submit(&json!({"module": "echo", "input": 1, "delay_ms": AN_HOUR_MS}));
    host.kill();
    host.restart();
    let task = host.client.final_task(&soon);
    assert_eq!(
        (&task["status"], &task["attempt"]),
        (&json!("completed"), &json!(1)),
        "{task}"
    );
    assert!(
        millis(&task["started_at"]) >= millis(&task["run_at"]),
        "{task}"
    );
    assert_eq!(host.client.task(&late)["label"], "scheduled");
}

#[test]
fn ten_thousand_tasks_are_listed_page_by_page_while_more_arrive() {
    const TASKS: usize = 10_000;
    let host = host_with("", &["echo.wat"]);
    let (next, ids) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let delayed = |number: usize| {
        let task = json!({"module": "echo", "input": number, "delay_ms": AN_HOUR_MS});
        host.client.submit(&task)
    };
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= TASKS {
                        return;
                    }
                    let id = delayed(number);
                    ids.lock().unwrap().insert(id);
                }
            });
        }
    });
    let expected = ids.into_inner().unwrap();
    assert_eq!(expected.len(), TASKS);

    let (mut listed, mut cursor, mut last) = (BTreeSet::new(), String::new(), i64::MAX / 2);
    let mut pages = 0;
    loop {
        let path = format!("/v1/tasks?limit=777{cursor}");
        let page = host.client.get(&path).expect(200).json();
        for task in page["items"].as_array().unwrap() {
            let created = millis(&task["created_at"]);
            // Tasks that were stored together may have been made in another order.
            assert!(created <= last + 1000, "newest first: {task}");
            last = last.min(created);
            let fresh = listed.insert(task["task_id"].as_str().unwrap().to_owned());
            assert!(fresh, "listed twice: {task}");
        }
        pages += 1;
        // Tasks that arrive meanwhile are before the first page and do not shift the others.
        delayed(TASKS + pages);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(pages, TASKS.div_ceil(777));
    assert!(listed == expected, "{} listed", listed.len());
}

#[test]
fn a_stream_of_events_resumes_where_it_broke() {
    let host = Host::start();
    host.client
        .put_module("optimise", &guests::built("optimise"))
        .expect(201);
    let input: Value =
        serde_json::from_slice(&guests::sample("optimise/data/rastrigin.json")).unwrap();
    let id = host
        .client
        .submit(&json!({"module": "optimise", "input": input}));
    let path = format!("/v1/tasks/{id}/events");
    let whole = numbers(&host.client.get(&path).expect(200).text());
    assert!(whole.len() > 2, "{whole:?}");
    assert!(whole.is_sorted(), "{whole:?}");
    let middle = whole[whole.len() / 2];
    let header = middle.to_string();
    let rest = host
        .client
        .send("GET", &path, &[("last-event-id", &header)], b"")
        .expect(200)
        .text();
    let later: Vec<u64> = whole.into_iter().filter(|n| *n > middle).collect();
    assert_eq!(numbers(&rest), later);
    assert!(rest.contains("event: result"), "{rest}");
}

/// The numbers of the events in a stream.
fn numbers(stream: &str) -> Vec<u64> {
    stream
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .map(|number| number.parse().expect("a number"))
        .collect()
}

#[test]
fn tasks_past_their_retention_are_forgotten_with_their_files() {
    let config = "[queue]\nretention_ms = 1000\n[http]\ninline_body_bytes = 1024\n";
    let host = Host::with_config(config);
    host.client
        .put_module("report", &guests::built("report"))
        .expect(201);
    let before = files_below(host.data());
    let sales = "tea 1.5\n".repeat(100_000);
    let answer = host.client.send(
        "POST",
        "/v1/tasks?module=report&arg=Sales&wait_ms=60000",
        &[("content-type", "text/plain")],
        sales.as_bytes(),
    );
    let task = answer.expect(200).json();
    assert_eq!(task["status"], "completed", "{task}");
    let id = task["task_id"].as_str().unwrap();
    assert!(
        files_below(host.data()) > before,
        "the input and the artifact are files"
    );
    await_that(|| host.client.get(&format!("/v1/tasks/{id}")).status == 404);
    for part in [
        "result",
        "logs?stream=stderr",
        "artifacts",
        "attempts",
        "events",
    ] {
        host.client
            .get(&format!("/v1/tasks/{id}/{part}"))
            .expect(404);
    }
    await_that(|| files_below(host.data()) <= before);
    // The module is not: it has a name.
    host.client.get("/v1/modules/report").expect(200);
}

/// The files below a directory, without those of the database.
fn files_below(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.path() {
            path if path.is_dir() => files_below(&path),
            path => usize::from(!path.to_string_lossy().contains(".db")),
        })
        .sum()
}

#[track_caller]
fn await_that(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn many_tasks_that_ran_when_the_host_died_run_again_and_only_those() {
    const TASKS: usize = 8;
    let mut host = host_with("", &["sleep.wat", "echo.wat"]);
    let done = host
        .client
        .submit_and_wait(&json!({"module": "echo", "input": "done before"}));
    let ids: Vec<String> = (0..TASKS)
        .map(|_| {
            host.client
                .submit(&json!({"module": "sleep", "limits": {"timeout_ms": 4000}}))
        })
        .collect();
    for id in &ids {
        host.client
            .task_when(id, |task| task["status"] == "running");
    }
    host.kill();
    host.restart();
    for id in &ids {
        let task = host.client.final_task(id);
        assert_eq!(
            (&task["lost"], &task["error"]["kind"]),
            (&json!(1), &json!("timeout")),
            "{task}"
        );
        let kinds: Vec<Value> = attempts(&host.client, id)
            .iter()
            .map(|attempt| attempt["error"]["kind"].clone())
            .collect();
        assert_eq!(kinds, ["lost", "timeout"]);
    }
    let id = done["task_id"].as_str().unwrap();
    assert_eq!(host.client.task(id), done);
}

#[test]
fn sigterm_lets_running_tasks_finish_and_takes_no_more() {
    let mut host = host_with("", &["spin.wat", "echo.wat"]);
    let id = host
        .client
        .submit(&json!({"module": "spin", "limits": {"timeout_ms": 1500}}));
    let waiting = host
        .client
        .submit(&json!({"module": "echo", "input": 1, "delay_ms": 60_000}));
    host.client
        .task_when(&id, |task| task["status"] == "running");
    host.terminate();
    let refused = |client: &Client| {
        let body = json!({"module": "echo"}).to_string();
        let headers = [("content-type", "application/json")];
        let answer = client.try_send("POST", "/v1/tasks", &headers, body.as_bytes());
        answer.map_or(true, |answer| answer.status == 503)
    };
    await_that(|| refused(&Client::new(host.client.base.clone())));
    assert!(host.wait().success());
    host.restart();
    // It ended under the first host, by its own limit.
    let task = host.client.task(&id);
    assert_eq!(
        (&task["attempt"], &task["error"]["kind"]),
        (&json!(1), &json!("timeout")),
        "{task}"
    );
    assert_eq!(host.client.task(&waiting)["label"], "scheduled");
}

#[test]
fn output_that_a_cancelled_guest_gives_in_time_is_kept() {
    let host = Host::start();
    host.client
        .put_module("optimise", &guests::built("optimise"))
        .expect(201);
    let input = json!({"function": "rastrigin", "dimensions": 50, "iterations": 4_000_000_000_u64});
    let task = json!({"module": "optimise", "input": input,
        "limits": {"timeout_ms": 60_000, "cpu_ms": 60_000}});
    let id = host.client.submit(&task);
    host.client
        .task_when(&id, |task| task["progress"].as_f64() > Some(0.0));
    host.client.delete(&format!("/v1/tasks/{id}")).expect(202);
    let task = host.client.final_task(&id);
    assert_eq!(task["status"], "cancelled", "{task}");
    let result = host
        .client
        .get(&format!("/v1/tasks/{id}/result"))
        .expect(200);
    assert_eq!(result.header("cofferdam-status"), "cancelled");
    assert_eq!(result.json()["cancelled"], true);
}
