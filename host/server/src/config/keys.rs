//! Every key of the configuration in one table: name, range, meaning, and the field it sets.
//!
//! The file, the environment, `check-config` and the documentation are all driven by this table,
//! so a key that exists is documented, bounded and settable everywhere. Its longer sections are
//! in files of their own.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;
use cofferdam::telemetry::settings::LogFormat;

/// One key.
pub struct Key {
    /// Its table in the file.
    pub section: &'static str,
    /// Its name; a trailing `_ms` or `_bytes` is its unit.
    pub name: &'static str,
    /// Its meaning.
    pub doc: &'static str,
    /// Its values and its field.
    pub kind: Kind,
}

/// The values of a key, with access to its field.
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
    /// Words: an array in the file, separated by commas in a variable or a flag.
    Words {
        /// The form, for people.
        form: &'static str,
        /// Reads the field.
        get: fn(&Config) -> Vec<String>,
        /// Writes the field; false if a word has the wrong form, or there are too many.
        set: fn(&mut Config, &[&str]) -> bool,
    },
    /// Text in a special form.
    Text {
        /// The form, for people.
        form: &'static str,
        /// Reads the field.
        get: fn(&Config) -> String,
        /// Writes the field; false if the text has the wrong form.
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

    /// The value in `config`, as TOML.
    pub fn value(&self, config: &Config) -> String {
        match &self.kind {
            Kind::Number { get, .. } => get(config).to_string(),
            Kind::Words { get, .. } => {
                let words: Vec<String> = get(config).iter().map(|word| quoted(word)).collect();
                format!("[{}]", words.join(", "))
            }
            Kind::Text { get, .. } => quoted(&get(config)),
        }
    }

    /// A description of the accepted values.
    pub fn accepts(&self) -> String {
        match &self.kind {
            Kind::Number { range, .. } => format!("{} to {}", range.start(), range.end()),
            Kind::Words { form, .. } | Kind::Text { form, .. } => (*form).to_owned(),
        }
    }
}

/// A text as TOML writes it, on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let number = u32::from(control);
                write!(quoted, "\\u{number:04X}").expect("a String takes it");
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
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

/// A directory; the key's meaning says what an empty path means.
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

mod http;
mod interpreters;
mod limits;
mod mcp;
mod queue;
mod sandbox;
mod worker;

/// The keys of every section but `[dirs.NAME]`.
pub fn all() -> Vec<Key> {
    let mut keys = http::keys();
    keys.extend(mcp::keys());
    keys.extend(queue::keys());
    keys.extend(worker::keys());
    keys.extend(sandbox::keys());
    keys.extend(interpreters::keys());
    keys.extend(interpreters::sessions());
    keys.extend(storage_and_log());
    keys.extend(limits::keys());
    keys
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a text is the URL of a PostgreSQL database.
fn is_postgres(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// A URL that may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let shown = match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _password)) => format!("{user}:***@{host}"),
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    format!("{scheme}://{shown}{path}")
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
        Key {
            section: "storage",
            name: "url",
            doc: "The PostgreSQL database that hosts share, as postgres://user:password@host:port/name; the one in the data directory if empty. sslmode=require encrypts and checks the server's certificate, against sslrootcert=FILE if that is there.",
            kind: Kind::Text {
                form: "a URL",
                get: |config| {
                    let url = config.storage.url.as_deref().unwrap_or_default();
                    without_password(url)
                },
                set: |config, text| {
                    config.storage.url = (!text.is_empty()).then(|| text.to_owned());
                    text.is_empty() || is_postgres(text)
                },
            },
        },
        number!("storage", "files_budget_bytes", (1 << 20)..=(1024 * TIB), "Disk space for spooled inputs, artifacts and files of code; each file and folder counts in whole blocks of 4096 bytes. Above it new ones are refused.", storage.files_budget_bytes: u64),
        number!("storage", "database_budget_bytes", (16 << 20)..=(1024 * TIB), "Bytes of the database, which has tasks and their results. Above it no task is accepted, and at a quarter more none begins.", storage.database_budget_bytes: u64),
        number!("storage", "disk_free_min_bytes", 0..=TIB, "With less than this free on the disk, `/readyz` reports that it is full.", storage.disk_free_min_bytes: u64),
        millis!(
            "storage",
            "read_timeout_ms",
            10..=600_000,
            "How long one read of the database may take.",
            storage.read_timeout
        ),
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
