//! The keys of `[interpreters]` and `[sessions]`.

use std::path::PathBuf;
use std::time::Duration;

use super::{DAY_MS, Key, Kind, millis};

pub(super) fn keys() -> Vec<Key> {
    vec![
        path!(
            "interpreters",
            "dir",
            "Where python.wasm and javascript.wasm are; if empty, the directory interpreters beside the program.",
            interpreters.dir
        ),
        path!(
            "interpreters",
            "packages",
            "A directory of pure-Python wheels that code may import; if empty, none.",
            interpreters.packages
        ),
        number!("interpreters", "running_max", 0..=4096, "Executions that begin at once; 0 means one per core. Others wait for their turn.", interpreters.running_max: usize),
        millis!(
            "interpreters",
            "files_retention_ms",
            1000..=(30 * DAY_MS),
            "How long the files that an execution wrote are kept.",
            interpreters.files_retention
        ),
        number!("interpreters", "instances_max", 0..=10_000, "Interpreters that exist at once; 0 means four per core and at least 16. More of them wait.", sandbox.interpreters.instances_max: u32),
        number!("interpreters", "stack_bytes", (1 << 20)..=(16 << 20), "An interpreter's stack.", sandbox.interpreters.stack_bytes: usize),
        number!("interpreters", "keep_resident_bytes", 0..=(256 << 20), "Memory of an interpreter's pool slot that stays resident between two runs.", sandbox.interpreters.keep_resident_bytes: usize),
    ]
}

pub(super) fn sessions() -> Vec<Key> {
    vec![
        number!("sessions", "max", 0..=10_000, "Sessions that exist at once; 0 means no sessions.", sandbox.interpreters.sessions_max: u32),
        millis!(
            "sessions",
            "idle_timeout_ms",
            1000..=DAY_MS,
            "How long an idle session is kept, unless its caller sets another time.",
            sessions.idle_timeout
        ),
        millis!(
            "sessions",
            "idle_timeout_max_ms",
            1000..=(30 * DAY_MS),
            "The longest idle time-out that a caller may set.",
            sessions.idle_timeout_max
        ),
        millis!(
            "sessions",
            "lifetime_ms",
            1000..=(365 * DAY_MS),
            "How long a session is kept at most, however often it is called.",
            sessions.lifetime
        ),
    ]
}
