//! The keys of `[limits]` and `[ceilings]`.

use std::time::Duration;

use super::{DAY_MS, Key, Kind, TIB, millis};

/// The same axes twice: the defaults, and the most that a task may ask for.
macro_rules! limit_keys {
    ($section:literal, $which:ident) => {
        [
            millis!($section, "timeout_ms", 1..=(30 * DAY_MS), "Wall-clock time of a run.", limits.$which.timeout),
            millis!($section, "cpu_ms", 1..=(30 * DAY_MS), "CPU time of a run.", limits.$which.cpu),
            Key {
                section: $section,
                name: "fuel",
                doc: "Fuel of a run; 0 means no limit. A run with fuel uses the metered, deterministic engine.",
                kind: Kind::Number {
                    range: 0..=(1 << 62),
                    get: |config| config.limits.$which.fuel.unwrap_or(0),
                    set: |config, value| config.limits.$which.fuel = (value > 0).then_some(value),
                },
            },
            number!($section, "memory_bytes", (64 << 10)..=(4 << 30), "Linear memories and tables of a run together.", limits.$which.memory_bytes: u64),
            number!($section, "table_elements", 0..=10_000_000, "Table elements of a run together.", limits.$which.table_elements: u64),
            number!($section, "disk_bytes", 0..=TIB, "Files of a run together.", limits.$which.disk_bytes: u64),
            number!($section, "disk_files", 0..=100_000_000, "Files and directories of a run together.", limits.$which.disk_files: u64),
            number!($section, "output_bytes", 0..=(1 << 30), "The output of a run.", limits.$which.output_bytes: u64),
            number!($section, "stdout_bytes", 0..=(1 << 30), "Standard output kept; more is dropped.", limits.$which.stdout_bytes: u64),
            number!($section, "stderr_bytes", 0..=(1 << 30), "Standard error kept; more is dropped.", limits.$which.stderr_bytes: u64),
            number!($section, "log_bytes", 0..=(1 << 30), "Log text kept; more is dropped.", limits.$which.log_bytes: u64),
            number!($section, "hostcall_bytes", (64 << 10)..=(1 << 30), "Host memory that a guest can make one host call take.", limits.$which.hostcall_bytes: u64),
            number!($section, "handles", 16..=1_000_000, "Component-model handles at once.", limits.$which.handles: u32),
            number!($section, "resources", 16..=1_000_000, "Host resources (files, streams, pollables) at once.", limits.$which.resources: u32),
            number!($section, "random_bytes", 1..=(1 << 30), "Random bytes in one call.", limits.$which.random_bytes: u64),
        ]
    };
}

pub(super) fn keys() -> impl Iterator<Item = Key> {
    let defaults = limit_keys!("limits", defaults);
    defaults
        .into_iter()
        .chain(limit_keys!("ceilings", ceilings))
}
