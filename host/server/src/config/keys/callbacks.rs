//! The keys of `[callbacks]`: who is told of ended tasks, and how hard it is tried.

use std::time::Duration;

use super::egress::{LIST_MAX, read, texts};
use super::{DAY_MS, Key, Kind, millis};

pub(super) fn keys() -> Vec<Key> {
    vec![
        Key {
            section: "callbacks",
            name: "allow",
            doc: "The hosts that may be told of the ends of tasks, at ports 80 and 443 unless one is named; none by default, and then no task may have a callback. Addresses that are not public need [egress] allow_private.",
            kind: Kind::Words {
                form: "up to 1000 hosts such as hooks.example.com, *.example.org:8443 or *",
                get: |config| texts(&config.callbacks.allow),
                set: |config, words| {
                    read(words).is_some_and(|list| {
                        config.callbacks.allow = list;
                        config.callbacks.allow.len() <= LIST_MAX
                    })
                },
            },
        },
        number!("callbacks", "concurrency", 1..=1_024, "Messages under way at once; no tenant has more than half of them.", callbacks.concurrency: usize),
        number!("callbacks", "concurrency_per_host", 1..=1_024, "Messages of one tenant under way at once to one host and port.", callbacks.concurrency_per_host: usize),
        millis!(
            "callbacks",
            "timeout_ms",
            1..=120_000,
            "How long one try may take, its answer included.",
            callbacks.timeout
        ),
        number!("callbacks", "answer_bytes", 0..=(16 << 20), "Bytes of the body of an answer that are read.", callbacks.answer_bytes: usize),
        number!("callbacks", "result_bytes", 0..=(1 << 20), "The longest result that is sent with the end; a longer one is fetched.", callbacks.result_bytes: u64),
        millis!(
            "callbacks",
            "retry_base_ms",
            1..=3_600_000,
            "The wait after the first try that was not answered well; it doubles with each.",
            callbacks.retry_base
        ),
        millis!(
            "callbacks",
            "retry_max_ms",
            1..=DAY_MS,
            "The longest wait between two tries, and the longest that a Retry-After is heeded.",
            callbacks.retry_max
        ),
        millis!(
            "callbacks",
            "retry_for_ms",
            1..=30 * DAY_MS,
            "How long an end is told before it is given up.",
            callbacks.retry_for
        ),
        number!("callbacks", "breaker_threshold", 0..=1_000_000, "Tries in a row that a host must leave unanswered, or answer with an error of its own, before it is held back for the tenant; 0 never holds one.", callbacks.breaker.threshold: u32),
        millis!(
            "callbacks",
            "breaker_recovery_ms",
            100..=DAY_MS,
            "How long it is held back before one message is tried.",
            callbacks.breaker.recovery
        ),
    ]
}
