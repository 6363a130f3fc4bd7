//! Every key of the configuration in one table: name, range, meaning, and the field it sets.
//!
//! The file, the environment, `check-config` and the documentation are all driven by this table,
//! so a key that exists is documented, bounded and settable everywhere.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;
use crate::config::sandbox::OverQuota;
use crate::config::telemetry::LogFormat;
use crate::domain::task::ClaimOrder;

/// One key.
pub struct Key {
    /// The table it stands in.
    pub section: &'static str,
    /// Its name; a trailing `_ms` or `_bytes` is its unit.
    pub name: &'static str,
    /// What it decides.
    pub doc: &'static str,
    /// What it may be and where it goes.
    pub kind: Kind,
}

/// What a key may be, with the way to its field.
pub enum Kind {
    /// A whole number in a range.
    Number {
        /// Smallest and largest value.
        range: RangeInclusive<u64>,
        /// Reads the field.
        get: fn(&Config) -> u64,
        /// Writes the field; the value is in range.
        set: fn(&mut Config, u64),
    },
    /// Text in a form of its own.
    Text {
        /// The form, for people.
        form: &'static str,
        /// Reads the field.
        get: fn(&Config) -> String,
        /// Writes the field; false if the text has another form.
        set: fn(&mut Config, &str) -> bool,
    },
}

impl Key {
    /// The environment variable: `COFFERDAM_<SECTION>_<FIELD>`.
    pub fn variable(&self) -> String {
        format!(
            "COFFERDAM_{}_{}",
            self.section.to_uppercase(),
            self.name.to_uppercase()
        )
    }

    /// The value in `config`, as TOML writes it.
    pub fn value(&self, config: &Config) -> String {
        match &self.kind {
            Kind::Number { get, .. } => get(config).to_string(),
            Kind::Text { get, .. } => format!("{:?}", get(config)),
        }
    }

    /// What the key accepts, for people.
    pub fn accepts(&self) -> String {
        match &self.kind {
            Kind::Number { range, .. } => format!("{} to {}", range.start(), range.end()),
            Kind::Text { form, .. } => (*form).to_owned(),
        }
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const TIB: u64 = 1 << 40;

macro_rules! number {
    ($section:literal, $name:literal, $range:expr, $doc:literal, $($field:ident).+ : $type:ty) => {
        Key {
            section: $section,
            name: $name,
            doc: $doc,
            kind: Kind::Number {
                range: $range,
                get: |config| u64::try_from(config.$($field).+).expect("no field is wider"),
                set: |config, value| {
                    config.$($field).+ = <$type>::try_from(value).expect("the range fits the field");
                },
            },
        }
    };
}

macro_rules! millis {
    ($section:literal, $name:literal, $range:expr, $doc:literal, $($field:ident).+) => {
        Key {
            section: $section,
            name: $name,
            doc: $doc,
            kind: Kind::Number {
                range: $range,
                get: |config| millis(config.$($field).+),
                set: |config, value| config.$($field).+ = Duration::from_millis(value),
            },
        }
    };
}

/// A directory; empty is the default that the key's meaning names.
macro_rules! path {
    ($section:literal, $name:literal, $doc:literal, $($field:ident).+) => {
        Key {
            section: $section,
            name: $name,
            doc: $doc,
            kind: Kind::Text {
                form: "a path",
                get: |config| config.$($field).+.display().to_string(),
                set: |config, text| {
                    config.$($field).+ = PathBuf::from(text);
                    true
                },
            },
        }
    };
}

/// The same axes twice: what a task gets that asks for nothing, and the most it may ask for.
macro_rules! limit_keys {
    ($section:literal, $which:ident) => {
        [
            millis!($section, "timeout_ms", 1..=(30 * DAY_MS), "Wall-clock time of a run.", limits.$which.timeout),
            millis!($section, "cpu_ms", 1..=(30 * DAY_MS), "CPU time of a run.", limits.$which.cpu),
            Key {
                section: $section,
                name: "fuel",
                doc: "Fuel of a run; 0 is none. A run with fuel uses the metered, deterministic engine.",
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
            number!($section, "hostcall_bytes", (64 << 10)..=(1 << 30), "Host memory that one host call may take on the guest's word.", limits.$which.hostcall_bytes: u64),
            number!($section, "handles", 16..=1_000_000, "Component-model handles at once.", limits.$which.handles: u32),
            number!($section, "resources", 16..=1_000_000, "Host resources (files, streams, pollables) at once.", limits.$which.resources: u32),
            number!($section, "random_bytes", 1..=(1 << 30), "Random bytes in one call.", limits.$which.random_bytes: u64),
        ]
    };
}

/// The keys of every section but `[dirs.NAME]`.
pub fn all() -> Vec<Key> {
    let mut keys = http();
    keys.extend(queue());
    keys.extend(sandbox());
    keys.extend(interpreters());
    keys.extend(sessions());
    keys.extend(storage_and_log());
    keys.extend(limit_keys!("limits", defaults));
    keys.extend(limit_keys!("ceilings", ceilings));
    keys
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn http() -> Vec<Key> {
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

fn queue() -> Vec<Key> {
    vec![
        number!("queue", "slots", 0..=100_000, "Attempts that run at once on this host; 0 is sixteen per core.", queue.slots: u32),
        Key {
            section: "queue",
            name: "strategy",
            doc: "In which order tasks are claimed.",
            kind: Kind::Text {
                form: "priority, fifo or lifo",
                get: |config| order_word(config.queue.strategy).to_owned(),
                set: |config, text| {
                    let orders = [ClaimOrder::Priority, ClaimOrder::Fifo, ClaimOrder::Lifo];
                    let order = orders.into_iter().find(|order| order_word(*order) == text);
                    order.map(|order| config.queue.strategy = order).is_some()
                },
            },
        },
        number!("queue", "pending_max", 1..=1_000_000_000, "Tasks that may wait; one more is refused with 503.", queue.pending_max: u64),
        millis!(
            "queue",
            "cancel_grace_ms",
            0..=600_000,
            "How long a cancelled guest may clean up before it is killed.",
            queue.cancel_grace
        ),
        millis!(
            "queue",
            "poll_interval_ms",
            10..=600_000,
            "How often storage is asked for work when nobody announced any.",
            queue.poll_interval
        ),
        millis!(
            "queue",
            "heartbeat_interval_ms",
            100..=600_000,
            "How often this host says that it is alive.",
            queue.heartbeat_interval
        ),
        millis!(
            "queue",
            "dead_after_ms",
            1000..=3_600_000,
            "How long a silent host is believed to be alive.",
            queue.dead_after
        ),
        millis!(
            "queue",
            "retention_ms",
            1000..=(3650 * DAY_MS),
            "How long a final task is kept.",
            queue.retention
        ),
        number!("queue", "retention_tasks_max", 0..=1_000_000_000, "How many final tasks are kept.", queue.retention_tasks_max: u64),
        millis!(
            "queue",
            "dedup_window_ms",
            0..=(365 * DAY_MS),
            "How long a dedup key is held.",
            queue.dedup_window
        ),
        millis!(
            "queue",
            "drain_timeout_ms",
            0..=3_600_000,
            "How long running attempts get to finish at shutdown.",
            queue.drain_timeout
        ),
    ]
}

fn order_word(order: ClaimOrder) -> &'static str {
    match order {
        ClaimOrder::Priority => "priority",
        ClaimOrder::Fifo => "fifo",
        ClaimOrder::Lifo => "lifo",
    }
}

fn sandbox() -> Vec<Key> {
    vec![
        number!("sandbox", "instances_max", 1..=20_000, "Guests that exist at once; a burst beyond waits.", sandbox.instances_max: u32),
        number!("sandbox", "memory_budget_bytes", 0..=(64 * TIB), "The sum of the memory limits of the guests that exist at once; 0 is three quarters of the machine.", sandbox.memory_budget_bytes: u64),
        number!("sandbox", "stack_bytes", (64 << 10)..=(16 << 20), "A guest's stack.", sandbox.stack_bytes: usize),
        number!("sandbox", "keep_resident_bytes", 0..=(64 << 20), "Memory of a pool slot that stays resident between two guests.", sandbox.keep_resident_bytes: usize),
        number!("sandbox", "guest_threads", 0..=256, "Threads that guests run on once they are long; 0 is one per core.", sandbox.guest_threads: usize),
        number!("sandbox", "compiles_max", 0..=256, "Compilations at once; 0 is one per core.", sandbox.compiles_max: usize),
        millis!(
            "sandbox",
            "compile_timeout_ms",
            100..=3_600_000,
            "How long checking and compiling one module may take.",
            sandbox.compile_timeout
        ),
        number!("sandbox", "compile_memory_bytes", (128 << 20)..=(64 << 30), "Address space of one compiling child.", sandbox.compile_memory_bytes: u64),
        number!("sandbox", "loaded_modules_max", 1..=100_000, "Compiled modules kept mapped.", sandbox.loaded_modules_max: usize),
        number!("sandbox", "artefact_cache_bytes", (1 << 20)..=(64 * TIB), "Compiled artefacts kept on disk; the least recently used go first.", sandbox.artefact_cache_bytes: u64),
        Key {
            section: "sandbox",
            name: "over_quota",
            doc: "What a guest meets that writes past its disk quota: an error, or its end.",
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
        },
    ]
}

fn interpreters() -> Vec<Key> {
    vec![
        path!(
            "interpreters",
            "dir",
            "Where python.wasm and javascript.wasm are; empty is the directory interpreters beside the program.",
            interpreters.dir
        ),
        path!(
            "interpreters",
            "packages",
            "A directory of pure-Python wheels that code may import; empty is none.",
            interpreters.packages
        ),
        number!("interpreters", "running_max", 0..=4096, "Executions that begin at once; 0 is one per core. Others wait their turn.", interpreters.running_max: usize),
        millis!(
            "interpreters",
            "files_retention_ms",
            1000..=(30 * DAY_MS),
            "How long the files that an execution wrote are kept.",
            interpreters.files_retention
        ),
        number!("interpreters", "instances_max", 0..=10_000, "Interpreters that exist at once; 0 is four per core and at least 16. A burst beyond waits.", sandbox.interpreters.instances_max: u32),
        number!("interpreters", "stack_bytes", (1 << 20)..=(16 << 20), "An interpreter's stack.", sandbox.interpreters.stack_bytes: usize),
        number!("interpreters", "keep_resident_bytes", 0..=(256 << 20), "Memory of an interpreter's pool slot that stays resident between two runs.", sandbox.interpreters.keep_resident_bytes: usize),
    ]
}

fn sessions() -> Vec<Key> {
    vec![
        number!("sessions", "max", 0..=10_000, "Sessions that exist at once; 0 is no sessions.", sandbox.interpreters.sessions_max: u32),
        millis!(
            "sessions",
            "idle_timeout_ms",
            1000..=DAY_MS,
            "How long a session is kept that nobody calls, unless its caller says otherwise.",
            sessions.idle_timeout
        ),
        millis!(
            "sessions",
            "idle_timeout_max_ms",
            1000..=(30 * DAY_MS),
            "The longest idle time-out that a caller may ask for.",
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

fn over_quota_word(choice: OverQuota) -> &'static str {
    match choice {
        OverQuota::Refuse => "refuse",
        OverQuota::Kill => "kill",
    }
}

fn storage_and_log() -> Vec<Key> {
    vec![
        Key {
            section: "storage",
            name: "data",
            doc: "The data directory; created if absent, owned by one host at a time.",
            kind: Kind::Text {
                form: "a path",
                get: |config| config.storage.data.display().to_string(),
                set: |config, text| {
                    config.storage.data = PathBuf::from(text);
                    !text.is_empty()
                },
            },
        },
        number!("storage", "files_budget_bytes", (1 << 20)..=(1024 * TIB), "Spooled inputs and artifacts kept; beyond that new ones are refused.", storage.files_budget_bytes: u64),
        Key {
            section: "log",
            name: "format",
            doc: "How log lines are written to standard error.",
            kind: Kind::Text {
                form: "human or json",
                get: |config| config.telemetry.format.as_str().to_owned(),
                set: |config, text| {
                    LogFormat::parse(text)
                        .map(|format| config.telemetry.format = format)
                        .is_some()
                },
            },
        },
        Key {
            section: "log",
            name: "level",
            doc: "Which log lines are written: a level, or a filter such as info,cofferdam::queue=debug.",
            kind: Kind::Text {
                form: "error, warn, info, debug, trace or a filter",
                get: |config| config.telemetry.level.clone(),
                set: |config, text| {
                    text.clone_into(&mut config.telemetry.level);
                    tracing_subscriber::EnvFilter::try_new(text).is_ok()
                },
            },
        },
    ]
}
