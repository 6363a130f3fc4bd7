//! Whom the host does not tell: what is refused as it is submitted, and what only the address of a name gives away
//! when it is to be told. The receiver is at every address of this machine, and one of these is listed.

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{host, is, put_modules, told};
use crate::egress::names::{LISTED, REFUSED, REFUSED_NAMES, names};
use crate::support::host::Host;
use crate::support::names::Names;

/// A host that tells everybody, as far as names go.
fn open_host(receiver: &Receiver, names: &Names) -> Host {
    let port = receiver.port();
    let host = Host::with_config(&format!(
        "[egress]\nallow_private = [\"{LISTED}\"]\n{}[callbacks]\nallow = [\"*:{port}\"]\n\
         retry_base_ms = 20\nretry_max_ms = 200\ntimeout_ms = 2000\nbreaker_threshold = 0\n",
        names.config()
    ));
    put_modules(&host.client);
    host
}

fn task(receiver: &Receiver, place: &str) -> Value {
    let url = format!("http://{place}:{}/hook", receiver.port());
    json!({"module": "echo", "input": 7, "callback": {"url": url}})
}

#[test]
fn what_may_not_be_reached_is_refused_as_it_is_submitted() {
    let receiver = Receiver::start();
    let host = host(&receiver, "");
    let client = &host.client;
    let port = receiver.port();
    let refused = |url: String, code: &str| {
        let task = json!({"module": "echo", "callback": {"url": url}});
        client.post("/v1/tasks", &task).expect_problem(400, code)
    };
    for url in [
        "ftp://127.0.0.1/",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1/#top",
        "http://127.1/",
        "http://2130706433/",
        "nowhere",
    ] {
        let problem = refused(url.to_owned(), "invalid_field");
        assert_eq!(problem["field"], "callback.url", "{problem}");
    }
    let problem = refused("https://unlisted.example/".to_owned(), "callback_refused");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("[callbacks] allow"),
        "{problem}"
    );
    // Listed by name, but at an address that is not public.
    let problem = refused(format!("http://127.0.0.3:{port}/"), "callback_refused");
    assert!(
        problem["detail"].as_str().unwrap().contains("loopback"),
        "{problem}"
    );
    // Where nobody is listed no task has a callback.
    let closed = Host::start();
    put_modules(&closed.client);
    let answer = closed.client.post("/v1/tasks", &told(&receiver, "/x"));
    answer.expect_problem(400, "callback_refused");
}

#[test]
fn nobody_is_told_at_an_address_that_is_refused() {
    let (receiver, names) = (Receiver::start(), names());
    let host = open_host(&receiver, &names);
    let client = &host.client;
    let mut waiting = Vec::new();
    for place in REFUSED.iter().chain(&REFUSED_NAMES) {
        let answer = client.post("/v1/tasks", &task(&receiver, place));
        let code = match answer.status {
            202 => {
                let id = answer.json()["task_id"].as_str().unwrap().to_owned();
                waiting.push((place, id));
                continue;
            }
            _ => answer.json()["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        assert_eq!(answer.status, 400, "{place}: {}", answer.text());
        assert!(
            ["invalid_field", "callback_refused"].contains(&&*code),
            "{place}: {code}"
        );
    }
    // What is a name waits for its address.
    assert_eq!(waiting.len(), REFUSED_NAMES.len() + 2, "{waiting:?}");
    for (place, id) in waiting {
        let task = client.task_when(&id, |task| !task["callback"]["last_error"].is_null());
        let error = task["callback"]["last_error"].as_str().unwrap();
        assert!(
            error.contains("such addresses are not reached"),
            "{place}: {error}"
        );
        // No address of it is told.
        assert!(!error.contains("127.0.0"), "{place}: {error}");
        assert_eq!(task["callback"]["status"], "pending", "{place}: {task}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[test]
fn the_address_of_a_name_is_looked_at_each_time_that_it_is_told() {
    let (receiver, names) = (Receiver::start(), names());
    let host = open_host(&receiver, &names);
    receiver.answer("/hook", 500);
    let id = host.client.submit(&task(&receiver, "rebinds.example"));
    receiver.await_messages("/hook", 1);
    receiver.answer("/hook", 200);
    // Two tries find an address that is refused, and go nowhere.
    let task = host.client.task_when(&id, is("delivered"));
    assert_eq!(task["callback"]["attempts"], 4, "{task}");
    assert_eq!(receiver.connections(), 2);
}
