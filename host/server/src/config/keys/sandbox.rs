//! The keys of `[sandbox]`.

use std::time::Duration;

use super::{DAY_MS, Key, Kind, TIB, millis};
use cofferdam_domain::isolation::Isolation;
use cofferdam_sandbox::settings::OverQuota;

/// The word for no isolation in particular.
const AUTO: &str = "auto";

pub(super) fn keys() -> Vec<Key> {
    let mut keys = room();
    keys.extend(places());
    keys.push(over_quota());
    keys
}

/// What there is for guests and compilers.
fn room() -> Vec<Key> {
    vec![
        number!("sandbox", "instances_max", 1..=20_000, "Guests that exist at once; more of them wait.", sandbox.instances_max: u32),
        number!("sandbox", "memory_budget_bytes", 0..=(64 * TIB), "Memory of guests, compiling children and bodies together; 0 means three quarters of the machine's.", sandbox.memory_budget_bytes: u64),
        number!("sandbox", "guests_reserved_bytes", 0..=(64 * TIB), "The part of the budget that only guests take, at most half of it; 0 means half.", sandbox.guests_reserved_bytes: u64),
        number!("sandbox", "compiles_reserved_bytes", 0..=(64 * TIB), "The part of the budget that only compiling children take, at most a quarter of it.", sandbox.compiles_reserved_bytes: u64),
        number!("sandbox", "memory_price_bytes", (1 << 20)..=(64 << 30), "Memory that a run takes from the budget to begin, if its limit is not lower; it takes more as it grows.", sandbox.memory_price_bytes: u64),
        millis!(
            "sandbox",
            "queue_timeout_ms",
            1..=3_600_000,
            "How long a run waits for room, and an upload for the compiler, before it is answered with 503; a run never waits longer than its timeout_ms.",
            sandbox.queue_timeout
        ),
        number!("sandbox", "stack_bytes", (64 << 10)..=(16 << 20), "A guest's stack.", sandbox.stack_bytes: usize),
        number!("sandbox", "keep_resident_bytes", 0..=(64 << 20), "Memory of a pool slot that stays resident between two guests.", sandbox.keep_resident_bytes: usize),
        number!("sandbox", "guest_threads", 0..=256, "Threads for guests that run longer than a moment; 0 means one per core.", sandbox.guest_threads: usize),
        number!("sandbox", "processes", 0..=256, "Processes for the guests of one isolated module, interpreters among them; 0 means one per core.", sandbox.processes: usize),
        number!("sandbox", "processes_max", 1..=1_024, "All such processes together. An idle one ends when another module needs one.", sandbox.processes_max: usize),
        number!("sandbox", "compiles_max", 0..=256, "Compilations at once; 0 means one per core. Modules up to 8 KiB, and those above 1 MiB, have extra places.", sandbox.compiles_max: usize),
        millis!(
            "sandbox",
            "compile_timeout_ms",
            100..=3_600_000,
            "How long checking and compiling one module may take.",
            sandbox.compile_timeout
        ),
        number!("sandbox", "compile_memory_bytes", (128 << 20)..=(64 << 30), "The most address space of one compiling child, which it takes from the memory budget.", sandbox.compile_memory_bytes: u64),
        millis!(
            "sandbox",
            "schema_check_timeout_ms",
            10..=60_000,
            "How long reading one module's schemas, or checking one value against them, may take.",
            sandbox.schema_check_timeout
        ),
        number!("sandbox", "schema_check_memory_bytes", (1 << 20)..=(64 << 30), "Memory that one value may take while it is held against a schema; a text longer than a quarter of it is refused. As many checks as there are guest threads run at once.", sandbox.schema_check_memory_bytes: u64),
        number!("sandbox", "loaded_modules_max", 1..=100_000, "Compiled modules kept mapped.", sandbox.loaded_modules_max: usize),
        number!("sandbox", "code_cache_bytes", (1 << 20)..=(64 * TIB), "Compiled code kept on disk; the least recently used go first.", sandbox.code_cache_bytes: u64),
    ]
}

/// Where runs take place.
fn places() -> Vec<Key> {
    vec![
        Key {
            section: "sandbox",
            name: "isolation",
            doc: "Whether a run that does not ask shares the host's process or has a jailed one; with auto, modules whose last runs were long have one. Code always has one.",
            kind: Kind::Text {
                form: "auto, shared, process or dedicated",
                get: |config| {
                    config
                        .isolation
                        .default
                        .map_or(AUTO, Isolation::as_str)
                        .to_owned()
                },
                set: |config, text| {
                    let read = Isolation::parse(text);
                    let is_known = text == AUTO || read.is_some();
                    if is_known {
                        config.isolation.default = read;
                    }
                    is_known
                },
            },
        },
        Key {
            section: "sandbox",
            name: "isolation_floor",
            doc: "The least isolation of any run; one that asks for less is given this.",
            kind: Kind::Text {
                form: "shared, process or dedicated",
                get: |config| config.isolation.floor.as_str().to_owned(),
                set: |config, text| {
                    let read = Isolation::parse(text);
                    read.map(|isolation| config.isolation.floor = isolation)
                        .is_some()
                },
            },
        },
        millis!(
            "sandbox",
            "dedicated_above_ms",
            1..=(30 * DAY_MS),
            "An isolated run of an uploaded module whose cpu_ms is above this has a process for itself, where its loops have no checks.",
            isolation.dedicated_above
        ),
    ]
}

fn over_quota() -> Key {
    Key {
        section: "sandbox",
        name: "over_quota",
        doc: "What happens to a guest that writes past its disk quota: it gets an error, or it is ended.",
        kind: Kind::Text {
            form: "refuse or kill",
            get: |config| over_quota_word(config.sandbox.over_quota).to_owned(),
            set: |config, text| {
                let choices = [OverQuota::Refuse, OverQuota::Kill];
                let choice = choices
                    .into_iter()
                    .find(|choice| over_quota_word(*choice) == text);
                choice
                    .map(|choice| config.sandbox.over_quota = choice)
                    .is_some()
            },
        },
    }
}

fn over_quota_word(choice: OverQuota) -> &'static str {
    match choice {
        OverQuota::Refuse => "refuse",
        OverQuota::Kill => "kill",
    }
}
