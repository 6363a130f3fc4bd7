//! From file and environment to a checked [`Config`].
//!
//! The environment overrides the file, the file overrides the defaults; flags come on top in the
//! command line. An unknown key is refused with the nearest known one, because a misspelt limit
//! that is silently ignored is no limit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::{Table, Value};

use crate::config::Config;
use crate::config::keys::{self, Key, Kind};
use cofferdam::runner::dirs::{Dir, Dirs};
use cofferdam_domain::grants::Access;

/// What stands in front of every environment variable of ours.
pub const PREFIX: &str = "COFFERDAM_";

/// Variables of ours that are no configuration of the host: they address the client commands.
const CLIENT_VARIABLES: [&str; 2] = ["COFFERDAM_SERVER", "COFFERDAM_API_KEY"];

/// The most directories an operator may name.
const DIRS_MAX: usize = 1000;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The file is no TOML.
    #[error("the configuration file is not valid TOML: {0}")]
    Syntax(String),
    /// A key nobody knows.
    #[error("unknown key {key}{hint}")]
    Unknown {
        /// As it was written.
        key: String,
        /// The nearest known one, as the end of the sentence.
        hint: String,
    },
    /// A value that its key does not take.
    #[error("{key} is {value}; it takes {accepts}")]
    Value {
        /// The key or the variable.
        key: String,
        /// As it was written.
        value: String,
        /// What it takes.
        accepts: String,
    },
}

/// Reads a configuration from the text of a file and from `environment`.
pub fn read(
    file: Option<&str>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    let keys = keys::all();
    if let Some(text) = file {
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| ConfigError::Syntax(error.to_string()))?;
        read_file(&mut config, &keys, table)?;
    }
    read_environment(&mut config, &keys, environment)?;
    Ok(config)
}

/// Sets one key from text, as a flag or a variable gives it.
pub fn set(config: &mut Config, key: &Key, source: &str, text: &str) -> Result<(), ConfigError> {
    let refused = || ConfigError::Value {
        key: source.to_owned(),
        value: format!("{text:?}"),
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
        Kind::Text { set, .. } => {
            if !set(config, text) {
                return Err(refused());
            }
        }
    }
    Ok(())
}

fn read_file(config: &mut Config, keys: &[Key], file: Table) -> Result<(), ConfigError> {
    for (section, value) in file {
        let Value::Table(table) = value else {
            return Err(unknown(&section, keys));
        };
        if section == "dirs" {
            config.dirs = read_dirs(table)?;
            continue;
        }
        for (name, value) in table {
            let path = format!("{section}.{name}");
            let key = keys
                .iter()
                .find(|key| key.section == section && key.name == name)
                .ok_or_else(|| unknown(&path, keys))?;
            set(config, key, &path, &plain(&value, &path, key)?)?;
        }
    }
    Ok(())
}

/// A TOML value as the text [`set`] takes. A number for a text key, or the other way round, is
/// refused here, so that `"8"` and `8` are not the same by accident.
fn plain(value: &Value, path: &str, key: &Key) -> Result<String, ConfigError> {
    let text = match (value, &key.kind) {
        (Value::Integer(number), Kind::Number { .. }) => Some(number.to_string()),
        (Value::String(text), Kind::Text { .. }) => Some(text.clone()),
        _ => None,
    };
    text.ok_or_else(|| ConfigError::Value {
        key: path.to_owned(),
        value: value.to_string(),
        accepts: key.accepts(),
    })
}

fn read_environment(
    config: &mut Config,
    keys: &[Key],
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(), ConfigError> {
    let known: BTreeMap<String, &Key> = keys.iter().map(|key| (key.variable(), key)).collect();
    for (variable, value) in environment {
        if !variable.starts_with(PREFIX) || CLIENT_VARIABLES.contains(&variable.as_str()) {
            continue;
        }
        let key = known.get(&variable).ok_or_else(|| ConfigError::Unknown {
            hint: nearest(&variable, known.keys().map(String::as_str)),
            key: variable.clone(),
        })?;
        set(config, key, &variable, &value)?;
    }
    Ok(())
}

fn read_dirs(table: Table) -> Result<Dirs, ConfigError> {
    if table.len() > DIRS_MAX {
        return Err(ConfigError::Value {
            key: "dirs".to_owned(),
            value: format!("{} directories", table.len()),
            accepts: format!("at most {DIRS_MAX}"),
        });
    }
    table
        .into_iter()
        .map(|(name, value)| Ok((name.clone(), read_dir(&name, value)?)))
        .collect()
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
