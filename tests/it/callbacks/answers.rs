//! Whatever receivers answer: what settles a message, what has it sent again, and when a host is held back.

use std::time::Duration;

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{config, host, is, put_modules, told};
use crate::https::Secure;
use crate::support::host::Host;

#[test]
fn whatever_a_receiver_answers_it_is_told_again_until_it_has_it() {
    let receiver = Receiver::start();
    let host = host(&receiver, "breaker_threshold = 0\nanswer_bytes = 1000");
    let client = &host.client;
    let submit = |path: &str| client.submit(&told(&receiver, path));
    let last_error = |task: &Value| {
        task["callback"]["last_error"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    // None of these has it, and each is told again, under the same name, with a moment of its own.
    for (path, status, words) in [
        ("/refuses", json!(500), "500"),
        ("/redirect", json!(302), "redirects are not followed"),
        ("/nothing", Value::Null, "the connection ended"),
        ("/hang", Value::Null, "longer than"),
        ("/drip-head", Value::Null, "longer than"),
        ("/endless-head", Value::Null, "the head of the answer"),
    ] {
        if path == "/refuses" {
            receiver.answer(path, 500);
        }
        let id = submit(path);
        let messages = receiver.await_messages(path, 2);
        assert_eq!(
            messages[0].header("webhook-id"),
            messages[1].header("webhook-id")
        );
        assert_eq!(messages[0].body, messages[1].body);
        let task = client.task_when(&id, |task| !task["callback"]["last_error"].is_null());
        assert!(last_error(&task).contains(words), "{task}");
        assert_eq!(task["callback"]["last_status"], status, "{task}");
        assert_eq!(task["callback"]["status"], "pending");
        receiver.answer(path, 200);
        let task = client.task_when(&id, is("delivered"));
        assert!(
            task["callback"]["attempts"].as_u64().unwrap() >= 2,
            "{task}"
        );
        assert_eq!(task["callback"]["last_error"], Value::Null);
    }
    assert_eq!(receiver.messages("/redirected").len(), 0);
}

#[test]
fn the_status_counts_however_the_answer_goes_on() {
    let receiver = Receiver::start();
    let host = host(&receiver, "breaker_threshold = 0\nanswer_bytes = 1000");
    let client = &host.client;
    let submit = |path: &str| client.submit(&told(&receiver, path));
    for path in ["/huge", "/cut", "/drip"] {
        let task = client.task_when(&submit(path), is("delivered"));
        assert_eq!(task["callback"]["attempts"], 1, "{task}");
    }
    // Who asks for patience gets as much as the operator allows.
    let later = submit("/later");
    let messages = receiver.await_messages("/later", 2);
    let waited = messages[1].at - messages[0].at;
    assert!(waited >= Duration::from_millis(200), "{waited:?}");
    client.task_when(&later, is("pending"));
}

#[test]
fn a_receiver_that_nobody_vouches_for_is_not_told() {
    let secure = Secure::start("");
    let base = &secure.host.client.base;
    let place = base.strip_prefix("https://").unwrap();
    let host = Host::with_config(&format!(
        "[egress]\nallow_private = [\"127.0.0.1\"]\n[callbacks]\nallow = [\"{place}\"]\nretry_base_ms = 20\n"
    ));
    put_modules(&host.client);
    let task = json!({"module": "echo", "input": 1, "callback": {"url": format!("{base}/hook")}});
    let id = host.client.submit(&task);
    let task = host
        .client
        .task_when(&id, |task| !task["callback"]["last_error"].is_null());
    let callback = &task["callback"];
    assert_eq!(callback["status"], "pending", "{task}");
    assert_eq!(callback["last_status"], Value::Null, "{task}");
    let error = callback["last_error"].as_str().unwrap();
    assert!(error.contains("the certificate of"), "{error}");
}

/// The places of one receiver are used up by messages that it never answers; another one is told meanwhile.
#[test]
fn a_slow_receiver_holds_up_no_other() {
    let (slow, other) = (Receiver::start(), Receiver::start());
    let port = other.port();
    let more = "concurrency = 8\nconcurrency_per_host = 2\nbreaker_threshold = 0\n";
    let config = config(&slow, more)
        .replace("timeout_ms = 2000", "timeout_ms = 60000")
        .replace(
            "\"localhost:",
            &format!("\"127.0.0.1:{port}\", \"localhost:"),
        );
    let host = Host::with_config(&config);
    put_modules(&host.client);
    let ids: Vec<_> = (0..10)
        .map(|_| host.client.submit(&told(&slow, "/hang")))
        .collect();
    slow.await_messages("/hang", 2);
    let id = host.client.submit(&told(&other, "/up"));
    host.client.task_when(&id, is("delivered"));
    assert_eq!(slow.messages("/hang").len(), 2);
    let mut waiting = ids.iter().map(|id| host.client.task(id));
    assert!(waiting.all(|task| is("pending")(&task)));
}

#[test]
fn who_is_gone_is_told_once_and_again_by_hand() {
    let receiver = Receiver::start();
    let host = host(&receiver, "breaker_threshold = 0\nanswer_bytes = 1000");
    let client = &host.client;
    let submit = |path: &str| client.submit(&told(&receiver, path));
    receiver.answer("/gone", 410);
    let gone = submit("/gone");
    let task = client.task_when(&gone, is("failed"));
    assert_eq!(
        (&task["callback"]["attempts"], &task["callback"]["next_at"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(client.get("/v1/stats").json()["callbacks"]["failed"], 1);
    // By hand it is told again.
    receiver.answer("/gone", 200);
    let again = client.post(
        &format!("/v1/tasks/{gone}/callback/redeliver"),
        &Value::Null,
    );
    assert_eq!(again.expect(202).json()["status"], "pending");
    let task = client.task_when(&gone, is("delivered"));
    assert_eq!(task["callback"]["attempts"], 2);
    let messages = receiver.messages("/gone");
    assert_eq!(
        messages[0].header("webhook-id"),
        messages[1].header("webhook-id")
    );
    let metrics = client.get("/metrics").text();
    assert!(
        metrics.contains("cofferdam_callbacks_total{outcome=\"given_up\"} 1"),
        "{metrics}"
    );
}

#[test]
fn an_end_is_given_up_in_the_end() {
    let receiver = Receiver::start();
    let host = host(&receiver, "breaker_threshold = 0\nretry_for_ms = 300");
    receiver.answer("/refuses", 500);
    let id = host.client.submit(&told(&receiver, "/refuses"));
    let task = host.client.task_when(&id, is("failed"));
    let attempts = task["callback"]["attempts"].as_u64().unwrap();
    assert!((2..=15).contains(&attempts), "{task}");
    assert_eq!(task["callback"]["last_status"], 500);
}

#[test]
fn a_host_that_fails_again_and_again_is_held_back_and_uses_up_no_tries() {
    let receiver = Receiver::start();
    let other = Receiver::start();
    let port = other.port();
    let more = "breaker_threshold = 3\nbreaker_recovery_ms = 1500\nconcurrency_per_host = 1\nretry_for_ms = 60000\n";
    let config = config(&receiver, more).replace(
        "\"localhost:",
        &format!("\"127.0.0.1:{port}\", \"localhost:"),
    );
    let host = Host::with_config(&config);
    put_modules(&host.client);
    let client = &host.client;
    receiver.answer("/down", 503);
    let first = client.submit(&told(&receiver, "/down"));
    let held = || client.get("/v1/stats").expect(200).json()["callbacks"]["held"].clone();
    receiver.await_messages("/down", 3);
    let task = client.task_when(&first, |task| task["callback"]["attempts"] == 3);
    let told_held = held();
    assert_eq!(
        told_held[0]["host"],
        format!("127.0.0.1:{}", receiver.port()),
        "{told_held} {task}"
    );
    assert_eq!(
        (&told_held[0]["state"], &told_held[0]["failures"]),
        (&json!("open"), &json!(3))
    );
    let metrics = client.get("/metrics").text();
    assert!(
        metrics.contains("cofferdam_callback_hosts_held 1"),
        "{metrics}"
    );
    // What comes meanwhile waits, and is not tried; another host is told.
    let second = client.submit(&told(&receiver, "/down"));
    let elsewhere = client.submit(&told(&other, "/up"));
    client.task_when(&elsewhere, is("delivered"));
    let task = client.task(&second);
    assert_eq!(
        (&task["callback"]["attempts"], &task["callback"]["status"]),
        (&json!(0), &json!("pending"))
    );
    // Then one message is tried, and decides.
    let messages = receiver.await_messages("/down", 4);
    let waited = messages[3].at - messages[2].at;
    assert!(waited >= Duration::from_millis(1300), "{waited:?}");
    receiver.answer("/down", 200);
    for id in [&first, &second] {
        client.task_when(id, is("delivered"));
    }
    assert_eq!(held(), json!([]));
}
