//! What a guest writes, at a host that does not run it.

use serde_json::json;

use super::{Two, await_that, connections, patient};
use crate::support::host::Host;

/// A line of the guest as an event has it.
const TICK: &str = r"tick\n";

/// Everything that the guest of `tick.wat` writes.
fn whole() -> String {
    format!("{}the end\n", "tick\n".repeat(30))
}

#[test]
fn what_a_guest_writes_is_heard_while_it_runs() {
    let two = Two::start();
    let id = two.asked.client.submit(&patient("tick"));
    let (mut first, mut second) = (two.events(&id), two.events(&id));
    let tick = first.await_named("stdout");
    assert_eq!(tick["text"].as_str().unwrap().lines().next(), Some("tick"));
    let task = two.asked.client.task(&id);
    assert_eq!(task["status"], "running", "{task}");
    // However many watch, the other host is asked once.
    assert_eq!(connections(&two.asked, &two.runs), 1);
    for (events, mut text) in [
        (&mut first, tick["text"].as_str().unwrap().to_owned()),
        (&mut second, String::new()),
    ] {
        let mut names = Vec::new();
        while let Some((name, data)) = events.next() {
            if name == "stdout" {
                text.push_str(data["text"].as_str().unwrap());
            }
            names.push(name);
        }
        assert_eq!(text, whole());
        // The last output comes before the end.
        assert_eq!(names[names.len() - 2..], ["status", "result"], "{names:?}");
    }
    await_that("the connection is closed", || {
        connections(&two.asked, &two.runs) == 0
    });
    // Who comes late hears what its host still knows.
    let path = format!("/v1/tasks/{id}/events");
    let late = two.asked.client.get(&path).expect(200).text();
    assert!(late.contains("the end"), "{late}");
}

#[test]
fn a_stream_that_breaks_is_taken_up_at_any_host() {
    let two = Two::start();
    let id = two.asked.client.submit(&patient("tick"));
    let path = format!("/v1/tasks/{id}/events");
    let whole_stream = two.asked.client.get(&path).expect(200).text();
    let ids: Vec<_> = whole_stream
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    let middle = ids[ids.len() / 2];
    let resumed = |host: &Host| {
        let headers = [("last-event-id", middle)];
        host.client
            .send("GET", &path, &headers, b"")
            .expect(200)
            .text()
    };
    // The host that gave the number goes on after it.
    let rest = resumed(&two.asked);
    assert!(!rest.contains(&format!("id: {middle}")), "{rest}");
    assert!(rest.contains("the end"), "{rest}");
    assert!(rest.matches(TICK).count() < 30, "{rest}");
    // Another one counts otherwise, and tells all that it knows.
    let all = resumed(&two.runs);
    assert_eq!(all.matches(TICK).count(), 30, "{all}");
    assert!(all.contains("event: result"), "{all}");
}

#[test]
fn a_watcher_that_goes_away_takes_the_connection_along() {
    let two = Two::start();
    let id = two.asked.client.submit(&patient("sleep"));
    let mut events = two.events(&id);
    while events.await_named("status") != json!({"status": "running", "attempt": 1}) {}
    await_that("the other host is asked", || {
        connections(&two.asked, &two.runs) == 1
    });
    drop(events);
    await_that("the connection is closed", || {
        connections(&two.asked, &two.runs) == 0
    });
    // The task goes on.
    assert_eq!(two.asked.client.task(&id)["status"], "running");
}

#[test]
fn the_end_of_a_task_is_told_where_its_host_cannot_be_reached() {
    let two = Two::with("[http]\nadvertise = \"http://127.0.0.1:1\"\n");
    let id = two.asked.client.submit(&patient("tick"));
    let mut events = two.events(&id);
    assert_eq!(events.await_named("result")["status"], "completed");
}
