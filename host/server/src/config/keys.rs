//! Every key of the configuration in one table: name, range, meaning, and the field it sets.
//!
//! The file, the environment, `check-config` and the documentation are all driven by this table,
//! so a key that exists is documented, bounded and settable everywhere. Its longer sections are
//! in files of their own.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
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
    /// Yes or no: `true` or `false`.
    Flag {
        /// Reads the field.
        get: fn(&Config) -> bool,
        /// Writes the field.
        set: fn(&mut Config, bool),
    },
    /// Text that is never shown, not even where it is refused.
    Secret {
        /// The form, for people.
        form: &'static str,
        /// Whether there is one.
        is_set: fn(&Config) -> bool,
        /// Writes the field; false if the text has the wrong form.
        set: fn(&mut Config, &str) -> bool,
    },
    /// Several such texts: an array in the file, separated by commas in a variable.
    Secrets {
        /// The form of each, for people.
        form: &'static str,
        /// How many there are.
        count: fn(&Config) -> usize,
        /// Writes the field; false if one has the wrong form, or there are too many.
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
            Kind::Flag { get, .. } => get(config).to_string(),
            Kind::Words { get, .. } => {
                let words: Vec<String> = get(config).iter().map(|word| quoted(word)).collect();
                format!("[{}]", words.join(", "))
            }
            Kind::Secret { is_set, .. } => quoted(if is_set(config) { "***" } else { "" }),
            Kind::Secrets { count, .. } => {
                let hidden = vec![quoted("***"); count(config)];
                format!("[{}]", hidden.join(", "))
            }
            Kind::Text { get, .. } => quoted(&get(config)),
        }
    }

    /// What a mistake shows of the value that was written, which may be a secret.
    pub(super) fn shown(&self, written: String) -> String {
        match &self.kind {
            Kind::Secret { .. } | Kind::Secrets { .. } => "not shown".to_owned(),
            Kind::Number { .. } | Kind::Words { .. } | Kind::Flag { .. } | Kind::Text { .. } => {
                written
            }
        }
    }

    /// A description of the accepted values.
    pub fn accepts(&self) -> String {
        match &self.kind {
            Kind::Number { range, .. } => format!("{} to {}", range.start(), range.end()),
            Kind::Flag { .. } => "true or false".to_owned(),
            Kind::Words { form, .. }
            | Kind::Secret { form, .. }
            | Kind::Secrets { form, .. }
            | Kind::Text { form, .. } => (*form).to_owned(),
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

macro_rules! flag {
    ($section:literal, $name:literal, $doc:literal, $($field:ident).+) => {
        Key {
            section: $section,
            name: $name,
            doc: $doc,
            kind: Kind::Flag {
                get: |config| config.$($field).+,
                set: |config, value| config.$($field).+ = value,
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

mod access;
mod alerts;
mod audit;
mod breaker;
mod cache;
mod callbacks;
mod egress;
mod http;
mod interpreters;
mod limits;
mod mcp;
mod queue;
mod sandbox;
mod storage;
mod worker;

pub(crate) use self::storage::ENCRYPTION_KEYS_FORM;

/// The keys of every section but `[dirs.NAME]`.
pub fn all() -> Vec<Key> {
    let mut keys = http::keys();
    keys.extend(access::keys());
    keys.extend(audit::keys());
    keys.extend(mcp::keys());
    keys.extend(queue::keys());
    keys.extend(worker::keys());
    keys.extend(sandbox::keys());
    keys.push(flag!("confinement", "required", "Whether the host refuses to start, and guests' processes to be used, where the kernel does not confine them entirely.", sandbox.confinement_required));
    keys.extend(breaker::keys());
    keys.extend(cache::keys());
    keys.extend(egress::keys());
    keys.extend(callbacks::keys());
    keys.extend(alerts::keys());
    keys.extend(interpreters::keys());
    keys.extend(interpreters::sessions());
    keys.extend(storage::keys());
    keys.extend(log_keys());
    keys.extend(limits::keys());
    keys
}

/// The text of a key that may be empty.
fn shown(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// Reads the text of a key that may be empty into its field; false if it is not what it should be.
fn put_optional<T, E>(
    field: &mut Option<T>,
    text: &str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> bool {
    let read = (!text.is_empty()).then(|| read(text)).transpose();
    read.map(|read| *field = read).is_ok()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn log_keys() -> Vec<Key> {
    vec![
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
