//! `cofferdam module …`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::Value;

use crate::cli::client::{Client, encoded};
use crate::cli::output;
use crate::cli::told::Told;
use cofferdam_domain::module::Language;

/// The commands on modules.
#[derive(Debug, Subcommand)]
pub(super) enum Module {
    /// Upload a module: wasm, WAT or a script (.py, .js). It is checked and compiled before this
    /// ends.
    Push {
        /// The module's name.
        name: String,
        /// The file.
        file: PathBuf,
    },
    /// List modules.
    List,
    /// Show one module with its versions.
    Show {
        /// Its name.
        name: String,
    },
    /// Fetch a module as it was uploaded.
    Pull {
        /// Its name, or name@sha256:… for one version.
        name: String,
        /// The file to write; - is standard output.
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Let a module run again that the server holds back because it failed again and again.
    Reset {
        /// Its name, or name@sha256:… for one version.
        name: String,
    },
    /// Remove a module.
    Rm {
        /// Its name.
        name: String,
    },
}

pub(super) fn run(command: Module, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        Module::Push { name, file } => push(client, &name, &file, json)?,
        Module::List => list(client, json)?,
        Module::Show { name } => show(&client.get(&path(&name))?.told()?, json),
        Module::Pull { name, output } => {
            let bytes = client.get(&format!("{}/wasm", path(&name)))?.body;
            match output.as_os_str() == "-" {
                true => output::bytes(&bytes),
                false => std::fs::write(&output, bytes)
                    .with_context(|| format!("{} cannot be written", output.display()))?,
            }
        }
        Module::Reset { name } => {
            let reset = format!("{}/reset", path(&name));
            show(&client.send("POST", &reset, &[], Vec::new())?.told()?, json);
        }
        Module::Rm { name } => {
            client.delete(&path(&name))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path(name: &str) -> String {
    format!("/v1/modules/{}", encoded(name))
}

fn push(client: &Client, name: &str, file: &std::path::Path, json: bool) -> anyhow::Result<()> {
    let bytes =
        std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let content_type = match Language::of_file(&file.to_string_lossy()) {
        _ if bytes.starts_with(b"\0asm") => "application/wasm",
        Some(Language::Python) => "text/x-python",
        Some(Language::JavaScript) => "text/javascript",
        None => "text/wat",
    };
    let spinner = output::spinner(&format!("compiling {name}"));
    let answer = client.send("PUT", &path(name), &[("content-type", content_type)], bytes);
    spinner.finish_and_clear();
    show(&answer?.told()?, json);
    Ok(())
}

fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    client.each("/v1/modules?limit=1000", |item| {
        if json {
            output::line(item.as_it_came());
        } else {
            output::line(&format!(
                "{:<32} {:<8} {:>10}  {}",
                text(item, "name"),
                text(item, "kind"),
                item["size_bytes"],
                text(item, "digest")
            ));
        }
    })
}

fn show(module: &Told, json: bool) {
    if json {
        return output::line(module.as_it_came());
    }
    for field in ["name", "digest", "kind"] {
        output::line(&format!("{field:<12} {}", text(module, field)));
    }
    for field in ["size_bytes", "compiled_ms"] {
        output::line(&format!("{field:<12} {}", module[field]));
    }
    if let Some(summary) = module["descriptor"]["summary"].as_str() {
        output::line(&format!("{:<12} {}", "summary", output::printable(summary)));
    }
    for need in module["needs"].as_array().into_iter().flatten() {
        output::line(&format!(
            "{:<12} {}",
            "needs",
            need.as_str().unwrap_or_default()
        ));
    }
    for version in module["versions"].as_array().into_iter().flatten() {
        output::line(&format!(
            "{:<12} {}  {}",
            "version",
            text(version, "digest"),
            text(version, "created_at")
        ));
    }
}

fn text(value: &Value, field: &str) -> String {
    output::printable(value[field].as_str().unwrap_or_default())
}
