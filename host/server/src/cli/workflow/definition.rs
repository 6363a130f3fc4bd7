//! `cofferdam workflow definition …`: what workflows may be submitted by.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{headers, read};
use crate::cli::client::{Client, encoded};
use crate::cli::output;
use crate::cli::told::Told;

/// The commands on definitions.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Definition {
    /// Keep a definition and print its version.
    Put {
        /// Its name: a-z 0-9 . _ -.
        name: String,
        /// A file with nodes and edges, as PUT /v1/workflow-definitions takes them; - for standard input.
        file: PathBuf,
    },
    /// List the definitions.
    List,
    /// Print what was put under a name.
    Show {
        /// Its name, or name@sha256:…
        name: String,
    },
    /// Remove a name with all its versions; workflows that were submitted by it stay.
    Rm {
        /// Its name.
        name: String,
    },
}

pub(super) fn run(command: &Definition, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    let path = |name: &str| format!("/v1/workflow-definitions/{}", encoded(name));
    match command {
        Definition::Put { name, file } => {
            let answer = client.send("PUT", &path(name), &headers(None), read(file)?)?;
            let answer = answer.told()?;
            match json {
                true => output::line(answer.as_it_came()),
                false => output::line(answer["digest"].as_str().unwrap_or_default()),
            }
        }
        Definition::List => {
            client.each("/v1/workflow-definitions?limit=1000", |it| show(it, json))?;
        }
        Definition::Show { name } => {
            let found = client.get(&path(name))?.told()?;
            match json {
                true => output::line(found.as_it_came()),
                false => output::line(&output::printable(&found["definition"].to_string())),
            }
        }
        Definition::Rm { name } => {
            client.delete(&path(name))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(definition: &Told, json: bool) {
    if json {
        return output::line(definition.as_it_came());
    }
    let text = |field: &str| definition[field].as_str().unwrap_or_default();
    let (name, digest, created_at) = (text("name"), text("digest"), text("created_at"));
    let line = format!("{name:<24} {digest} {created_at}");
    output::line(&output::printable(&line));
}
