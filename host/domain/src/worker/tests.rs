//! Which names and addresses are taken, and how a worker is.

use std::time::Duration;

use super::*;

#[test]
fn capabilities_have_plain_names() {
    let longest = "a".repeat(64);
    let grouped = format!("group:{longest}");
    for good in [
        "cpu",
        "0",
        "cuda-12.4",
        "a_b",
        "group:eu-west",
        &longest,
        &grouped,
    ] {
        assert_eq!(Capability::parse(good).unwrap().as_str(), good);
    }
    let too_long = "a".repeat(65);
    let bad_group = format!("group:{too_long}");
    for bad in [
        "",
        "-a",
        "A",
        "a b",
        "a:b",
        "group:",
        "group:group:a",
        "é",
        "a\0",
        &too_long,
        &bad_group,
    ] {
        assert_eq!(Capability::parse(bad), Err(BadName), "{bad}");
    }
    let group = Capability::of_group("eu").unwrap();
    assert_eq!((group.as_str(), group.group()), ("group:eu", Some("eu")));
    assert_eq!(Capability::parse("group:eu"), Ok(group));
    assert_eq!(Capability::of_group("group:eu"), Err(BadName));
    assert_eq!(Capability::parse("eu").unwrap().group(), None);
    for capability in Capability::of_every_worker() {
        assert_eq!(Capability::parse(capability.as_str()), Ok(capability));
    }
}

#[test]
fn workers_have_names_that_machines_have() {
    assert_eq!(
        WorkerName::parse("GPU-1.example").unwrap().to_string(),
        "GPU-1.example"
    );
    assert_eq!(WorkerName::parse("a b"), Err(BadName));
    let machine = |name: &str| WorkerName::of_machine(name).as_str().to_owned();
    assert_eq!(machine("Host-1.local\n"), "Host-1.local");
    assert_eq!(machine("_rüdiger"), "rdiger");
    assert_eq!(machine("…"), "worker");
    assert_eq!(machine(&"a".repeat(100)), "a".repeat(64));
}

#[test]
fn an_address_is_a_host_and_nothing_more() {
    let longest = format!("http://{}", "a".repeat(Address::BYTES_MAX - 7));
    for good in [
        "http://a",
        "https://a.example",
        "http://a_b-c:1",
        "https://10.0.0.1:65535",
        "http://[::1]",
        "http://[fe80::1]:80",
        &longest,
    ] {
        assert_eq!(Address::parse(good).unwrap().as_str(), good);
    }
    assert_eq!(
        Address::parse("http://a:8080/").unwrap().as_str(),
        "http://a:8080"
    );
    let too_long = format!("{longest}a");
    for bad in [
        "",
        "a",
        "a:1",
        "ftp://a",
        "HTTP://a",
        "http://",
        "http://:80",
        "http:///",
        "http://a/b",
        "http://a//",
        "http://a?b",
        "http://a#b",
        "http://u@a",
        "http://u:p@a",
        "http://a:",
        "http://a:0",
        "http://a:65536",
        "http://a:+1",
        "http://a:1:2",
        "http://[::1",
        "http://[a]",
        "http://[::1]1",
        "http://[::1]:",
        "http://a b",
        "http://a\n",
        &too_long,
    ] {
        assert_eq!(Address::parse(bad), Err(BadAddress), "{bad}");
    }
}

#[test]
fn a_worker_is_what_it_said_unless_it_is_silent_or_asked_to_drain() {
    let heard_at = Timestamp::from_millis(1_000_000);
    let worker = |told, drain_asked| Worker {
        id: WorkerId(uuid::Uuid::nil()),
        profile: Profile {
            name: WorkerName::of_machine("a"),
            address: None,
            capabilities: Vec::new(),
            version: String::new(),
            started_at: heard_at,
        },
        slots: 1,
        load: 0,
        told,
        drain_asked,
        heard_at,
    };
    for told in WorkerState::ALL {
        assert_eq!(worker(told, false).state(heard_at), told);
        let later = heard_at.plus(Duration::from_millis(1));
        assert_eq!(worker(told, false).state(later), WorkerState::Terminated);
    }
    let asked = WorkerState::ALL.map(|told| worker(told, true).state(heard_at).as_str());
    assert_eq!(
        asked,
        ["draining", "draining", "draining", "error", "terminated"]
    );
}

#[test]
fn a_worker_belongs_to_the_groups_among_its_capabilities() {
    let capabilities = ["cpu", "group:a", "group:b"].map(|text| Capability::parse(text).unwrap());
    let worker = Worker {
        id: WorkerId(uuid::Uuid::nil()),
        profile: Profile {
            name: WorkerName::of_machine("a"),
            address: None,
            capabilities: capabilities.to_vec(),
            version: String::new(),
            started_at: Timestamp::EPOCH,
        },
        slots: 1,
        load: 0,
        told: WorkerState::Idle,
        drain_asked: false,
        heard_at: Timestamp::EPOCH,
    };
    assert_eq!(worker.groups().collect::<Vec<_>>(), ["a", "b"]);
}
