//! `cofferdam secret …`: what a tenant entrusts to the server. A value never comes from the command line
//! itself, which other programs of the machine can read.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Subcommand;
use serde_json::json;

use crate::cli::client::{Client, encoded};
use crate::cli::output;
use crate::cli::told::Told;
use cofferdam_domain::secret::SecretValue;

/// The commands on secrets.
#[derive(Debug, Subcommand)]
pub(super) enum Secret {
    /// Keep a secret, or replace its value. The value is a text, and one line end behind it is not part of it.
    Put {
        /// Its name: A-Z a-z 0-9 . _ -.
        name: String,
        /// The file that has the value [default: standard input].
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List the secrets, without their values.
    List,
    /// Forget a secret.
    Rm {
        /// Its name.
        name: String,
    },
}

pub(super) fn run(command: &Secret, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    let path = |name: &str| format!("/v1/secrets/{}", encoded(name));
    match command {
        Secret::Put { name, file } => {
            let body = json!({"value": value(file.as_deref())?});
            let headers = [("content-type", "application/json")];
            client.send("PUT", &path(name), &headers, body.to_string().into_bytes())?;
        }
        Secret::List => client.each("/v1/secrets?limit=1000", |secret| show(secret, json))?,
        Secret::Rm { name } => {
            client.delete(&path(name))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The value, from a file or from standard input.
fn value(file: Option<&Path>) -> anyhow::Result<String> {
    let (mut value, most) = (String::new(), SecretValue::BYTES_MAX + 2);
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    match file {
        Some(file) => {
            let opened = std::fs::File::open(file);
            let opened = opened.with_context(|| format!("{} cannot be read", file.display()))?;
            let read = opened.take(most).read_to_string(&mut value);
            read.with_context(|| format!("{} cannot be read", file.display()))?;
        }
        None => {
            let read = std::io::stdin()
                .lock()
                .take(most)
                .read_to_string(&mut value);
            read.context("the value on standard input cannot be read")?;
        }
    }
    let bare = value.strip_suffix('\n').unwrap_or(&value);
    let bare = bare.strip_suffix('\r').unwrap_or(bare);
    let longest = SecretValue::BYTES_MAX;
    ensure!(
        (1..=longest).contains(&bare.len()),
        "a secret's value has 1 to {longest} bytes"
    );
    Ok(bare.to_owned())
}

fn show(secret: &Told, json: bool) {
    if json {
        return output::line(secret.as_it_came());
    }
    let text = |field: &str| output::printable(secret[field].as_str().unwrap_or("-"));
    output::line(&format!("{:<32} {}", text("name"), text("updated_at")));
}
