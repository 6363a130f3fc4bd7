//! Reads file and environment into a checked [`Config`].
//!
//! The environment overrides the file, the file overrides the defaults; flags come on top in the
//! command line. An unknown key is refused with the nearest known one, because a misspelt limit
//! that is silently ignored would not limit anything.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::{Table, Value};

use crate::config::Config;
use crate::config::keys::{self, Key, Kind};
use cofferdam::runner::dirs::{Dir, Dirs};
use cofferdam_domain::grants::Access;
use cofferdam_storage::settings::Secret;

/// The prefix of every environment variable of this program.
pub const PREFIX: &str = "COFFERDAM_";

/// The prefix of variables that say how to reach a bucket, as other programs read them too.
const BUCKET_PREFIX: &str = "AWS_";

/// Variables of this program that do not configure the host: they are for the client commands, and for
/// the tests, whose hosts inherit theirs.
const OTHER_VARIABLES: [&str; 4] = [
    "COFFERDAM_SERVER",
    "COFFERDAM_CA",
    "COFFERDAM_API_KEY",
    "COFFERDAM_TEST_POSTGRES",
];

/// The most directories an operator may name.
const DIRS_MAX: usize = 1000;

/// The fewest heartbeats after which a silent host may count as dead.
const BEATS_MIN: u32 = 3;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The file is not TOML.
    #[error("the configuration file is not valid TOML: {0}")]
    Syntax(String),
    /// An unknown key.
    #[error("unknown key {key}{hint}")]
    Unknown {
        /// As it was written.
        key: String,
        /// The nearest known one, as the end of the sentence.
        hint: String,
    },
    /// A value that its key does not accept.
    #[error("{key} is {value}; it takes {accepts}")]
    Value {
        /// The key or the variable.
        key: String,
        /// As it was written.
        value: String,
        /// What it accepts.
        accepts: String,
    },
}

/// Everything that is wrong with a configuration, in the order it was read; never empty.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", lines(.0))]
pub struct ConfigErrors(pub Vec<ConfigError>);

fn lines(errors: &[ConfigError]) -> String {
    let lines: Vec<String> = errors.iter().map(ConfigError::to_string).collect();
    lines.join("\n")
}

/// Reads a configuration from the text of a file and from `environment`. It reads on after a
/// mistake, so that an operator sees every mistake at once.
pub fn read(
    file: Option<&str>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigErrors> {
    let (mut config, mut errors) = (Config::default(), Vec::new());
    let keys = keys::all();
    match file.map(str::parse::<Table>) {
        None => {}
        Some(Ok(table)) => read_file(&mut config, &keys, table, &mut errors),
        Some(Err(error)) => errors.push(ConfigError::Syntax(error.to_string())),
    }
    read_environment(&mut config, &keys, environment, &mut errors);
    errors.extend(contradiction(&config));
    match errors.is_empty() {
        true => Ok(config),
        false => Err(ConfigErrors(errors)),
    }
}

/// Values that do not go together.
fn contradiction(config: &Config) -> Option<ConfigError> {
    let http = &config.http;
    let (certificate, key) = (http.tls_certificate.as_os_str(), http.tls_key.as_os_str());
    let halves = match (certificate.is_empty(), key.is_empty()) {
        (false, true) => Some(("http.tls_key", "the private key of http.tls_certificate")),
        (true, false) => Some(("http.tls_certificate", "the certificate of http.tls_key")),
        (true, true) | (false, false) => None,
    };
    if let Some((key, accepts)) = halves {
        return Some(ConfigError::Value {
            key: key.to_owned(),
            value: "\"\"".to_owned(),
            accepts: accepts.to_owned(),
        });
    }
    let queue = &config.queue;
    (queue.dead_after < queue.heartbeat_interval * BEATS_MIN).then(|| ConfigError::Value {
        key: "queue.dead_after_ms".to_owned(),
        value: queue.dead_after.as_millis().to_string(),
        accepts: format!("at least {BEATS_MIN} times queue.heartbeat_interval_ms"),
    })
}

/// Sets one key from the text of a flag or a variable.
pub fn set(config: &mut Config, key: &Key, source: &str, text: &str) -> Result<(), ConfigError> {
    let refused = || ConfigError::Value {
        key: source.to_owned(),
        value: key.shown(format!("{text:?}")),
        accepts: key.accepts(),
    };
    match &key.kind {
        Kind::Number { range, set, .. } => {
            let number: u64 = text.parse().map_err(|_| refused())?;
            if !range.contains(&number) {
                return Err(refused());
            }
            set(config, number);
        }
        Kind::Flag { set, .. } => set(config, text.parse().map_err(|_| refused())?),
        Kind::Words { set, .. } | Kind::Secrets { set, .. } => {
            let words = text.split(',').map(str::trim);
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            if !set(config, &words) {
                return Err(refused());
            }
        }
        Kind::Secret { set, .. } | Kind::Text { set, .. } => {
            if !set(config, text) {
                return Err(refused());
            }
        }
    }
    Ok(())
}

fn read_file(config: &mut Config, keys: &[Key], file: Table, errors: &mut Vec<ConfigError>) {
    for (section, value) in file {
        let Value::Table(table) = value else {
            errors.push(unknown(&section, keys));
            continue;
        };
        if section == "dirs" {
            config.dirs = read_dirs(table, errors);
            continue;
        }
        for (name, value) in table {
            let path = format!("{section}.{name}");
            let key = keys
                .iter()
                .find(|key| key.section == section && key.name == name);
            let done = match key {
                None => Err(unknown(&path, keys)),
                Some(key) => {
                    plain(&value, &path, key).and_then(|text| set(config, key, &path, &text))
                }
            };
            errors.extend(done.err());
        }
    }
}

/// A TOML value as the text [`set`] takes. A number for a text key, or the other way round, is
/// refused here, so that `"8"` and `8` are not mixed up.
fn plain(value: &Value, path: &str, key: &Key) -> Result<String, ConfigError> {
    let text = match (value, &key.kind) {
        (Value::Integer(number), Kind::Number { .. }) => Some(number.to_string()),
        (Value::Boolean(flag), Kind::Flag { .. }) => Some(flag.to_string()),
        (Value::String(text), Kind::Secret { .. } | Kind::Text { .. }) => Some(text.clone()),
        (Value::Array(words), Kind::Words { .. } | Kind::Secrets { .. }) => {
            let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
            words.map(|words| words.join(","))
        }
        _ => None,
    };
    text.ok_or_else(|| ConfigError::Value {
        key: path.to_owned(),
        value: key.shown(value.to_string()),
        accepts: key.accepts(),
    })
}

fn read_environment(
    config: &mut Config,
    keys: &[Key],
    environment: impl IntoIterator<Item = (String, String)>,
    errors: &mut Vec<ConfigError>,
) {
    let known: BTreeMap<String, &Key> = keys.iter().map(|key| (key.variable(), key)).collect();
    for (variable, value) in environment {
        if variable.starts_with(BUCKET_PREFIX) {
            let secret = Secret::new(value);
            config.storage.bucket.environment.push((variable, secret));
            continue;
        }
        if !variable.starts_with(PREFIX) || OTHER_VARIABLES.contains(&variable.as_str()) {
            continue;
        }
        let done = match known.get(&variable) {
            Some(key) => set(config, key, &variable, &value),
            None => Err(ConfigError::Unknown {
                hint: nearest(&variable, known.keys().map(String::as_str)),
                key: variable,
            }),
        };
        errors.extend(done.err());
    }
}

fn read_dirs(table: Table, errors: &mut Vec<ConfigError>) -> Dirs {
    if table.len() > DIRS_MAX {
        errors.push(ConfigError::Value {
            key: "dirs".to_owned(),
            value: format!("{} directories", table.len()),
            accepts: format!("at most {DIRS_MAX}"),
        });
        return Dirs::new();
    }
    let mut dirs = Dirs::new();
    for (name, value) in table {
        match read_dir(&name, value) {
            Ok(dir) => {
                dirs.insert(name, dir);
            }
            Err(error) => errors.push(error),
        }
    }
    dirs
}

fn read_dir(name: &str, value: Value) -> Result<Dir, ConfigError> {
    let refused = |value: String, accepts: &str| ConfigError::Value {
        key: format!("dirs.{name}"),
        value,
        accepts: accepts.to_owned(),
    };
    let Value::Table(mut table) = value else {
        return Err(refused(value.to_string(), "a table with path and access"));
    };
    let path = match table.remove("path") {
        Some(Value::String(path)) if path.starts_with('/') => PathBuf::from(path),
        other => {
            return Err(refused(format!("{other:?} for path"), "an absolute path"));
        }
    };
    let access = match table.remove("access") {
        None => Access::Read,
        Some(Value::String(word)) if word == "read" => Access::Read,
        Some(Value::String(word)) if word == "write" => Access::Write,
        Some(other) => {
            return Err(refused(
                format!("{other} for access"),
                "\"read\" or \"write\"",
            ));
        }
    };
    match table.keys().next() {
        None => Ok(Dir { path, access }),
        Some(key) => Err(ConfigError::Unknown {
            key: format!("dirs.{name}.{key}"),
            hint: "; a directory has path and access".to_owned(),
        }),
    }
}

fn unknown(path: &str, keys: &[Key]) -> ConfigError {
    let known: Vec<String> = keys
        .iter()
        .map(|key| format!("{}.{}", key.section, key.name))
        .collect();
    ConfigError::Unknown {
        hint: nearest(path, known.iter().map(String::as_str)),
        key: path.to_owned(),
    }
}

fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min()
        .map(|(_, candidate)| format!("; the nearest known one is {candidate}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
