//! The keys of `[breaker]`.

use std::time::Duration;

use super::{DAY_MS, Key, Kind, millis};

pub(super) fn keys() -> Vec<Key> {
    vec![
        number!("breaker", "threshold", 0..=1_000_000, "Attempts of a module in a row that must fail of their own (trap, exit, timeout, lost, host_error) before it is held back; 0 never holds one.", breaker.threshold: u32),
        millis!(
            "breaker",
            "recovery_ms",
            100..=DAY_MS,
            "How long it is held back before one attempt is tried.",
            breaker.recovery
        ),
    ]
}
