//! The keys of `[alerts]`: from which figure on the host says that something is wrong, and to whom.

use std::time::Duration;

use super::{DAY_MS, Key, Kind, TIB, millis, put_optional, shown};
use cofferdam_domain::callback::CallbackUrl;
use cofferdam_domain::secret::SecretValue;

pub(super) fn keys() -> Vec<Key> {
    let mut keys = of_memory();
    keys.extend(of_work());
    keys.extend(receiver());
    keys
}

fn of_memory() -> Vec<Key> {
    vec![
        number!("alerts", "memory_warning_percent", 0..=100, "The part of the memory that this host may use from which on it warns: of its control group if that is limited, else of the machine; 0 never warns.", alerts.memory_warning_percent: u64),
        number!("alerts", "memory_critical_percent", 0..=100, "The part from which on it gives up caches, then claims no tasks, then refuses new work with 503, until there is less again; 0 never does.", alerts.memory_critical_percent: u64),
        number!("alerts", "memory_warning_bytes", 0..=TIB, "The same in bytes of what this host and its children hold themselves; 0 means that the percentage counts.", alerts.memory_warning_bytes: u64),
        number!("alerts", "memory_critical_bytes", 0..=TIB, "The same for the critical threshold; 0 means that the percentage counts.", alerts.memory_critical_bytes: u64),
        number!("alerts", "memory_growth_bytes", 0..=TIB, "Growth of memory in a second, over ten seconds, from which on it warns; 0 never warns.", alerts.memory_growth_bytes: u64),
    ]
}

fn of_work() -> Vec<Key> {
    vec![
        number!("alerts", "backlog_tasks", 0..=1_000_000_000, "Pending tasks from which on it warns; 0 never warns.", alerts.backlog_tasks: u64),
        millis!(
            "alerts",
            "slow_task_ms",
            0..=DAY_MS,
            "How long an attempt runs on this host until it warns; 0 never warns.",
            alerts.slow_task
        ),
        number!("alerts", "workers_lost", 0..=1_000, "Hosts that went silent in the last ten minutes without having ended, from which on it warns; 0 never warns.", alerts.workers_lost: u64),
        number!("alerts", "breakers_open", 0..=1_000_000, "Modules held back on this host from which on it warns; 0 never warns.", alerts.breakers_open: u64),
        number!("alerts", "callbacks_failing", 0..=1_000_000, "Receivers of callbacks that this host holds back, and callbacks that it gave up in the last five minutes, from which on it warns; 0 never warns.", alerts.callbacks_failing: u64),
        number!("alerts", "dead_letters", 0..=1_000_000, "Tasks that became dead letters on this host in the last five minutes from which on it warns; 0 never warns.", alerts.dead_letters: u64),
        number!("alerts", "disk_percent", 0..=100, "How much of storage.files_budget_bytes, or of storage.database_budget_bytes for a database in the data directory, is used until it warns; a disk without room for work counts as 100; 0 never warns.", alerts.disk_percent: u64),
        millis!(
            "alerts",
            "clock_skew_ms",
            0..=DAY_MS,
            "How far this machine's clock is from storage's, or was set in the last minute, until it warns; 0 never warns.",
            alerts.clock_skew
        ),
    ]
}

fn receiver() -> Vec<Key> {
    vec![
        Key {
            section: "alerts",
            name: "url",
            doc: "Who is told of each alert that fires or ends, by a POST; empty tells nobody. An address that is not public needs [egress] allow_private.",
            kind: Kind::Text {
                form: "an http or https URL",
                get: |config| shown(config.alerts.url.as_ref()),
                set: |config, text| put_optional(&mut config.alerts.url, text, CallbackUrl::parse),
            },
        },
        Key {
            section: "alerts",
            name: "secret",
            doc: "What these messages are signed with, as callbacks are; empty signs nothing.",
            kind: Kind::Secret {
                form: "a text, or whsec_ and base64",
                is_set: |config| config.alerts.secret.is_some(),
                set: |config, text| {
                    put_optional(&mut config.alerts.secret, text, |text| {
                        let secret = SecretValue::new(text.as_bytes().to_vec());
                        let secret = secret.map_err(|_| "too long")?;
                        cofferdam::callbacks::check_signing_secret(&secret).map(|()| secret)
                    })
                },
            },
        },
    ]
}
