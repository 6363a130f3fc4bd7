//! The keys of `[http]`.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Key, Kind, TIB, millis};

pub(super) fn keys() -> Vec<Key> {
    vec![
        Key {
            section: "http",
            name: "listen",
            doc: "Address and port of the API. Only loopback is served.",
            kind: Kind::Text {
                form: "IP:PORT",
                get: |config| config.http.listen.to_string(),
                set: |config, text| {
                    text.parse::<SocketAddr>()
                        .map(|listen| config.http.listen = listen)
                        .is_ok()
                },
            },
        },
        number!("http", "threads", 0..=256, "Threads that accept and serve connections; 0 is one per core.", http.threads: usize),
        number!("http", "connections_max", 1..=100_000, "Open connections at once, at most half of the descriptors the process may have; one more waits.", http.connections_max: usize),
        millis!(
            "http",
            "header_timeout_ms",
            100..=600_000,
            "How long a client may take for a request's headers, and stay silent between requests.",
            http.header_timeout
        ),
        millis!(
            "http",
            "body_idle_timeout_ms",
            100..=600_000,
            "How long a client may take for each piece of a body.",
            http.body_idle_timeout
        ),
        number!("http", "inline_body_bytes", 1024..=(256 << 20), "The largest body kept in memory; a larger raw task input goes to disk.", http.inline_body_bytes: u64),
        number!("http", "spooled_body_bytes", 1024..=TIB, "The largest raw task input.", http.spooled_body_bytes: u64),
        number!("http", "module_bytes", 1024..=(1 << 30), "The largest module, as uploaded.", http.module_bytes: u64),
        millis!(
            "http",
            "wait_max_ms",
            0..=3_600_000,
            "The longest a request may wait for a task.",
            http.wait_max
        ),
        millis!(
            "http",
            "drain_timeout_ms",
            0..=3_600_000,
            "How long open requests get to finish at shutdown.",
            http.drain_timeout
        ),
    ]
}
