//! The keys of `[http]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Key, Kind, TIB, millis, put_optional, shown};
use cofferdam_domain::worker::Address;

pub(super) fn keys() -> Vec<Key> {
    let mut keys = addresses();
    keys.extend(encryption());
    keys.extend(connections());
    keys.extend(bodies());
    keys
}

fn addresses() -> Vec<Key> {
    vec![
        Key {
            section: "http",
            name: "listen",
            doc: "Address and port of the API. Without keys only loopback is served, and anything else only with HTTPS or allow_plaintext.",
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
        Key {
            section: "http",
            name: "operations_listen",
            doc: "A second address, where a separate thread answers only /livez, /readyz, /metrics and /health, and asks for no key; empty for none. Only loopback is served.",
            kind: Kind::Text {
                form: "IP:PORT",
                get: |config| shown(config.http.operations_listen.as_ref()),
                set: |config, text| {
                    put_optional(&mut config.http.operations_listen, text, str::parse)
                },
            },
        },
        Key {
            section: "http",
            name: "advertise",
            doc: "Where other hosts reach this one's API, as https://HOST:PORT or http://HOST:PORT; the address it listens on if empty.",
            kind: Kind::Text {
                form: "a URL of a scheme, a host and a port",
                get: |config| shown(config.http.advertise.as_ref().map(Address::as_str).as_ref()),
                set: |config, text| put_optional(&mut config.http.advertise, text, Address::parse),
            },
        },
    ]
}

fn encryption() -> Vec<Key> {
    vec![
        path!(
            "http",
            "tls_certificate",
            "The certificate with which the API is served over HTTPS, followed by those that lead to an authority (PEM); empty for HTTP. It and tls_key are read anew upon SIGHUP.",
            http.tls_certificate
        ),
        path!(
            "http",
            "tls_key",
            "The private key of tls_certificate (PEM).",
            http.tls_key
        ),
        millis!(
            "http",
            "handshake_timeout_ms",
            100..=60_000,
            "How long a client may take for the beginning of an HTTPS connection.",
            http.handshake_timeout
        ),
        flag!(
            "http",
            "allow_plaintext",
            "Whether an address that other machines reach may be served without HTTPS, because something before this host encrypts.",
            http.allow_plaintext
        ),
        path!(
            "http",
            "peers_ca",
            "The authorities that vouch for other hosts whose addresses begin with https (PEM); those of the web if empty.",
            http.peers_ca
        ),
    ]
}

fn connections() -> Vec<Key> {
    vec![
        number!("http", "threads", 0..=256, "Threads that accept and serve connections; 0 means one per core.", http.threads: usize),
        number!("http", "connections_max", 1..=100_000, "Open connections at once, at most half of the descriptors the process may have; one more replaces the one that has been silent for longest.", http.connections_max: usize),
        number!("http", "connections_per_peer_max", 1..=100_000, "Open connections of one address at once (IPv6: of one network of 64 bits).", http.connections_per_peer_max: usize),
        number!("http", "requests_per_connection_max", 1..=1000, "Requests that one connection of HTTP/2 has at once. Each of them counts as one open connection.", http.requests_per_connection_max: u32),
        number!("http", "forwards_max", 1..=10_000, "Requests passed on at once to other hosts that have what is asked for; one more is answered with 503. A quarter as many more connections fetch the output of tasks that run there.", http.forwards_max: usize),
        millis!(
            "http",
            "header_timeout_ms",
            100..=600_000,
            "How long a client may take for a request's headers, and stay silent between requests.",
            http.header_timeout
        ),
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

fn bodies() -> Vec<Key> {
    vec![
        millis!(
            "http",
            "body_idle_timeout_ms",
            100..=600_000,
            "How long a client may take for each piece of a body.",
            http.body_idle_timeout
        ),
        millis!(
            "http",
            "body_timeout_ms",
            100..=3_600_000,
            "How long a body may take in all, in addition to the time it needs at bytes_per_second_min.",
            http.body_timeout
        ),
        number!("http", "bytes_per_second_min", 1..=(1 << 30), "The lowest average rate at which a body may arrive and an answer may be read.", http.bytes_per_second_min: u64),
        number!("http", "bodies_bytes", (1 << 20)..=TIB, "The most that bodies of requests and answers take of sandbox.memory_budget_bytes, for all callers; above it requests wait.", http.bodies_bytes: u64),
        number!("http", "bodies_reserved_bytes", 0..=TIB, "The part of sandbox.memory_budget_bytes that only bodies take, at most a quarter of it.", http.bodies_reserved_bytes: u64),
        millis!(
            "http",
            "bodies_wait_ms",
            0..=600_000,
            "How long a request waits for room in bodies_bytes before it is answered with 503.",
            http.bodies_wait
        ),
        number!("http", "inline_body_bytes", 1024..=(256 << 20), "The largest body kept in memory; a larger raw task input goes to disk.", http.inline_body_bytes: u64),
        number!("http", "batch_body_bytes", 1024..=(256 << 20), "The largest body of a batch of tasks.", http.batch_body_bytes: u64),
        number!("http", "spooled_body_bytes", 1024..=TIB, "The largest raw task input.", http.spooled_body_bytes: u64),
        number!("http", "module_bytes", 1024..=(1 << 30), "The largest module, as uploaded.", http.module_bytes: u64),
    ]
}
