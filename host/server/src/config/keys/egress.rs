//! The keys of `[egress]`: what guests and the host itself may reach of other machines.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::{Key, Kind, TIB, millis};

/// The most hosts or networks of one list.
pub(super) const LIST_MAX: usize = 1000;

macro_rules! list {
    ($name:literal, $form:literal, $doc:literal, $field:ident) => {
        Key {
            section: "egress",
            name: $name,
            doc: $doc,
            kind: Kind::Words {
                form: $form,
                get: |config| texts(&config.sandbox.egress.$field),
                set: |config, words| {
                    read(words).is_some_and(|list| {
                        config.sandbox.egress.$field = list;
                        true
                    })
                },
            },
        }
    };
}

pub(super) fn keys() -> Vec<Key> {
    vec![
        list!(
            "allow",
            "up to 1000 hosts such as api.example.com, *.example.org:8443 or *",
            "The hosts that runs may be granted requests to, at ports 80 and 443 unless one is named; none by default.",
            allow
        ),
        list!(
            "allow_private",
            "up to 1000 networks such as 10.1.0.0/16",
            "Networks that may be reached although they are private, loopback, link-local or reserved.",
            allow_private
        ),
        list!(
            "deny",
            "up to 1000 networks such as 203.0.113.7",
            "Networks that may not be reached although they are public, such as this machine's own address outside.",
            deny
        ),
        list!(
            "name_servers",
            "up to 1000 name servers such as 10.0.0.53:53 or [fd00::53]:53",
            "Name servers that are asked in place of those of /etc/resolv.conf; /etc/hosts is read in any case.",
            name_servers
        ),
        number!("egress", "connections", 1..=1_024, "Connections of one run at once; more of them wait.", sandbox.egress.connections: usize),
        number!("egress", "connections_max", 1..=65_536, "Connections of all runs at once; more of them wait.", sandbox.egress.connections_max: usize),
        number!("egress", "requests", 1..=1_000_000, "Requests of one run, or of one call of a session.", sandbox.egress.requests: u64),
        number!("egress", "in_bytes", 1..=TIB, "Bytes that one run, or one call of a session, may receive on its connections.", sandbox.egress.in_bytes: u64),
        number!("egress", "out_bytes", 1..=TIB, "Bytes that one run, or one call of a session, may send.", sandbox.egress.out_bytes: u64),
        number!("egress", "head_bytes", 8_192..=(1 << 20), "The longest head of a request or an answer.", sandbox.egress.head_bytes: usize),
        millis!(
            "egress",
            "connect_timeout_ms",
            1..=600_000,
            "How long a connection may take to be made, name and certificate included.",
            sandbox.egress.connect_timeout
        ),
        millis!(
            "egress",
            "request_timeout_ms",
            1..=3_600_000,
            "How long a request may take, its answer included.",
            sandbox.egress.request_timeout
        ),
    ]
}

pub(super) fn texts<T: Display>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

pub(super) fn read<T: FromStr>(words: &[&str]) -> Option<Vec<T>> {
    let list: Option<Vec<T>> = words.iter().map(|word| word.parse().ok()).collect();
    list.filter(|list| list.len() <= LIST_MAX)
}
