//! The rules about what happens to hosts, tasks, receivers, disks and clocks: each fires on `/v1/alerts` when it
//! happens, and ends once it is over.

use cofferdam_test_postgres::Database;
use serde_json::{Value, json};

use super::{alert, becomes};
use crate::callbacks::receiver::Receiver;
use crate::support::faketime::{SetClock, clean_up};
use crate::support::guests;
use crate::support::host::Host;

#[track_caller]
fn fires(host: &Host, rule: &str) -> Value {
    let state = |state: &str| alert(host, rule)["state"] == state;
    becomes(&format!("{rule} fires"), || state("firing"));
    let metrics = host.client.get("/metrics").expect(200).text();
    let line = format!("cofferdam_alert{{rule=\"{rule}\"}} 1");
    assert!(metrics.contains(&line), "{metrics}");
    alert(host, rule)
}

#[track_caller]
fn ends(host: &Host, rule: &str) {
    let is_ok = || alert(host, rule)["state"] == "ok";
    becomes(&format!("{rule} ends"), is_ok);
}

fn put(host: &Host, name: &str) {
    let wat = guests::wat(&format!("{name}.wat"));
    host.client.put_module(name, &wat).expect(201);
}

#[test]
fn a_host_that_is_lost_is_an_alert_of_the_others() {
    let database = Database::fresh();
    let config = format!(
        "[storage]\nurl = {:?}\n[queue]\nheartbeat_interval_ms = 300\ndead_after_ms = 1500\n",
        database.url()
    );
    let (host, mut ended) = (Host::with_config(&config), Host::with_config(&config));
    let mut lost = Host::with_config(&config);
    // Who says that it ends is not lost.
    assert!(ended.stop().success());
    lost.kill();
    let fired = fires(&host, "worker_lost");
    assert_eq!(fired["value"], 1, "{fired}");
    assert_eq!(fired["severity"], "critical");
    // That counts for ten minutes, which pass here for the database.
    database.run(
        "UPDATE cofferdam.worker SET heard_at = heard_at - 601000 WHERE heard_at < (
        SELECT max(heard_at) - 1000 FROM cofferdam.worker)",
    );
    ends(&host, "worker_lost");
}

#[test]
fn a_receiver_that_fails_is_an_alert_until_it_works() {
    let receiver = Receiver::start();
    let host = Host::with_config(&format!(
        "[egress]\nallow_private = [\"127.0.0.1\"]\n[callbacks]\nallow = [\"127.0.0.1:{}\"]\n\
         retry_base_ms = 20\nretry_max_ms = 200\nbreaker_threshold = 2\nbreaker_recovery_ms = 500\n",
        receiver.port()
    ));
    put(&host, "echo");
    receiver.answer("/hook", 503);
    let task = json!({"module": "echo", "input": 1, "callback": {"url": receiver.url("/hook")}});
    let id = host.client.submit(&task);
    let fired = fires(&host, "callback_failing");
    assert_eq!(fired["value"], 1, "{fired}");
    receiver.answer("/hook", 200);
    let is_told = |task: &Value| task["callback"]["status"] == "delivered";
    host.client.task_when(&id, is_told);
    ends(&host, "callback_failing");
}

#[test]
fn a_dead_letter_is_an_alert_for_a_while() {
    let clock = SetClock::of_everything();
    let mut host = Host::with_environment(&clock.config(), clock.environment());
    put(&host, "trap");
    let retry = json!({"max_attempts": 2, "base_ms": 1});
    let task = json!({"module": "trap", "input": 1, "retry": retry});
    let dead = host.client.submit_and_wait(&task);
    assert_eq!(dead["label"], "dead", "{dead}");
    let fired = fires(&host, "dead_letters");
    assert_eq!(fired["value"], 1, "{fired}");
    clock.set("+6m");
    ends(&host, "dead_letters");
    host.stop();
    clean_up(host.pid());
}

#[test]
fn a_clock_that_is_wrong_is_an_alert_until_it_was_right_for_a_while() {
    let (database, clock) = (Database::fresh(), SetClock::of_day());
    let config = format!("{}[storage]\nurl = {:?}\n", clock.config(), database.url());
    let mut host = Host::with_environment(&config, clock.environment());
    assert_eq!(alert(&host, "clock_skew")["state"], "ok");
    clock.set("+1h");
    let fired = fires(&host, "clock_skew");
    let skew = fired["value"].as_u64().unwrap();
    assert!((3_500_000..3_700_000).contains(&skew), "{fired}");
    clock.set("+0");
    // Once it is right, that it was set counts for a minute.
    let is_set = || alert(&host, "clock_skew")["value"].as_u64().unwrap() < 100_000;
    becomes("it is right", is_set);
    assert_eq!(alert(&host, "clock_skew")["state"], "firing");
    becomes("the minute is over", || {
        alert(&host, "clock_skew")["value"].as_u64().unwrap() < 1000
    });
    ends(&host, "clock_skew");
    host.stop();
    clean_up(host.pid());
}

#[test]
fn a_database_that_is_almost_full_is_an_alert() {
    let host = Host::with_config(
        "[storage]\ndatabase_budget_bytes = 16777216\n[alerts]\ndisk_percent = 50\n",
    );
    put(&host, "echo");
    assert_eq!(alert(&host, "disk_budget")["state"], "ok");
    let input = "x".repeat(60_000);
    let later = json!({"module": "echo", "input": input, "delay_ms": 3_600_000});
    let ids: Vec<_> = (0..180).map(|_| host.client.submit(&later)).collect();
    let fired = fires(&host, "disk_budget");
    let percent = fired["value"].as_u64().unwrap();
    assert!((60..100).contains(&percent), "{fired}");
    for id in ids {
        host.client.delete(&format!("/v1/tasks/{id}")).expect(202);
        let path = format!("/v1/tasks/{id}?purge=true");
        host.client.delete(&path).expect(204);
    }
    ends(&host, "disk_budget");
}
