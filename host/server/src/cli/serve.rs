//! `cofferdam serve` and `cofferdam check-config`: read the configuration from all its sources.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::app;
use crate::cli::{Usage, output};
use crate::config::show::shown;
use crate::config::{Config, keys, read};
use cofferdam::telemetry;

/// The configuration file in the data directory if none is named.
const FILE_NAME: &str = "cofferdam.toml";

/// The variable of the key `storage.data`.
const DATA_VARIABLE: &str = "COFFERDAM_STORAGE_DATA";

/// The sources of the configuration.
#[derive(Debug, Args)]
pub(super) struct ConfigSource {
    /// The configuration file; cofferdam.toml in the data directory if absent.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    source: ConfigSource,
    /// Address and port of the API.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// The storage: sqlite, in the data directory, or the URL of a PostgreSQL database that hosts share
    /// (postgres://user:password@host:port/name). What the configuration says if absent.
    #[arg(long, value_name = "sqlite|URL")]
    storage: Option<String>,
}

pub(super) fn serve(command: &Serve) -> anyhow::Result<ExitCode> {
    let mut config = load(&command.source)?;
    if let Some(listen) = &command.listen {
        set(&mut config, "http", "listen", "--listen", listen)?;
    }
    set_storage(&mut config, command.storage.as_deref())?;
    telemetry::init(&config.telemetry)?;
    app::serve(config)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn check_config(source: &ConfigSource) -> anyhow::Result<ExitCode> {
    let config = load(source)?;
    output::line(shown(&config).trim_end());
    Ok(ExitCode::SUCCESS)
}

/// The defaults overridden by the environment, for a host without a file.
pub(super) fn environment_only() -> anyhow::Result<Config> {
    read::read(None, environment()?).map_err(usage)
}

impl ConfigSource {
    /// Whether one was named.
    pub(super) fn is_named(&self) -> bool {
        self.config.is_some() || self.data.is_some()
    }
}

/// A configuration with that storage, if one is named.
pub(super) fn with_storage(source: &ConfigSource, storage: Option<&str>) -> anyhow::Result<Config> {
    let mut config = load(source)?;
    set_storage(&mut config, storage)?;
    Ok(config)
}

fn set_storage(config: &mut Config, storage: Option<&str>) -> anyhow::Result<()> {
    match storage {
        None => Ok(()),
        Some("sqlite") => set(config, "storage", "url", "--storage", ""),
        Some(url) => set(config, "storage", "url", "--storage", url),
    }
}

/// The data directory of a configuration.
pub(super) fn data_dir(source: &ConfigSource) -> anyhow::Result<PathBuf> {
    Ok(load(source)?.storage.data)
}

/// Reads the configuration: flags over environment over file over defaults.
fn load(source: &ConfigSource) -> anyhow::Result<Config> {
    let environment = environment()?;
    let data = match &source.data {
        Some(data) => data.clone(),
        // Only the name of the file is needed here; other mistakes in the environment are reported
        // below, together with those in the file.
        None => environment
            .iter()
            .find(|(name, _)| name == DATA_VARIABLE)
            .map_or_else(|| Config::default().storage.data, |(_, data)| data.into()),
    };
    let file = match &source.config {
        Some(path) => Some(text(path)?.ok_or_else(|| {
            let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
            unreadable(path, &gone)
        })?),
        None => text(&data.join(FILE_NAME))?,
    };
    let mut config = read::read(file.as_deref(), environment).map_err(usage)?;
    if let Some(data) = &source.data {
        config.storage.data.clone_from(data);
    }
    Ok(config)
}

/// The variables that can belong to this program. One that is not Unicode is ignored, unless it has
/// this program's prefix.
fn environment() -> anyhow::Result<Vec<(String, String)>> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(read::PREFIX))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(Usage(format!("{name} is not UTF-8")).into()),
        })
        .collect()
}

/// The content of the file, if it exists. A file that exists but cannot be read is an error,
/// because it may contain the ceilings.
fn text(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> anyhow::Error {
    Usage(format!("{} cannot be read: {error}", path.display())).into()
}

fn set(
    config: &mut Config,
    section: &str,
    name: &str,
    flag: &str,
    text: &str,
) -> anyhow::Result<()> {
    let keys = keys::all();
    let key = keys
        .iter()
        .find(|key| key.section == section && key.name == name)
        .expect("the flag sets a key of the table");
    read::set(config, key, flag, text).map_err(usage)
}

fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    Usage(error.to_string()).into()
}
