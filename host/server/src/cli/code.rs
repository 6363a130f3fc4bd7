//! Shared by `exec` and `session`: sending code and files to the API, and showing its answer.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::cli::client::Client;
use crate::cli::live::Shown;
use crate::cli::{EXIT_FAILED, Usage, output};

/// What is shown of an answer. The value is shown letter by letter: a number that is read would be
/// rounded.
#[derive(Deserialize)]
pub(super) struct Executed<'a> {
    status: String,
    #[serde(borrow)]
    result: &'a RawValue,
    result_repr: Option<String>,
    stdout: String,
    stderr: String,
    exit_code: Option<i64>,
    error: Option<Failed>,
    files: BTreeMap<String, Written>,
}

#[derive(Deserialize)]
struct Failed {
    kind: String,
    message: String,
}

#[derive(Deserialize)]
struct Written {
    size_bytes: u64,
    url: String,
}

impl<'a> Executed<'a> {
    pub(super) fn read(answer: &'a str) -> anyhow::Result<Executed<'a>> {
        serde_json::from_str(answer).context("the server's answer is not what it should be")
    }

    /// Writes what the code wrote and was not `shown` yet, then its value, then the names of its
    /// files.
    pub(super) fn show(&self, shown: &Shown, name_files: bool) {
        output::bytes(shown.stdout.rest(&self.stdout).as_bytes());
        output::error_bytes(shown.stderr.rest(&self.stderr).as_bytes());
        if let Some(Failed { kind, message }) = &self.error {
            // An uncaught exception or a chosen exit code needs no further message.
            if !matches!(kind.as_str(), "guest_error" | "exit") {
                output::error_bytes(format!("cofferdam: {kind}: {message}\n").as_bytes());
            }
        }
        match (&self.result_repr, self.result.get()) {
            (Some(shown), _) => output::line(shown),
            (None, "null") => {}
            (None, value) => output::line(value),
        }
        for (name, file) in &self.files {
            if name_files && std::io::stderr().is_terminal() {
                let line = format!("{name}: {} bytes at {}\n", file.size_bytes, file.url);
                output::error_bytes(output::printable(&line).as_bytes());
            }
        }
    }

    /// Puts the files that the code wrote below `folder`.
    pub(super) fn fetch(&self, client: &Client, folder: &Path) -> anyhow::Result<()> {
        for (name, file) in &self.files {
            put(folder, name, &client.get(&file.url)?.body)?;
        }
        Ok(())
    }

    /// The process's exit code: the code's own, as if it had run natively.
    pub(super) fn exit_code(&self) -> ExitCode {
        let completed = self.status == "completed";
        match self.exit_code {
            Some(code) if completed || code != 0 => {
                ExitCode::from(u8::try_from(code & 0xff).unwrap_or(EXIT_FAILED))
            }
            None if completed => ExitCode::SUCCESS,
            Some(_) | None => ExitCode::from(EXIT_FAILED),
        }
    }
}

/// Writes a file that a guest named below `folder`.
pub(super) fn put(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    // A guest chose the name.
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    anyhow::ensure!(name.split('/').all(plain), "{name:?} is not a file's name");
    let target = folder.join(name);
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("{} cannot be created", parent.display()))?;
    }
    std::fs::write(&target, bytes)
        .with_context(|| format!("{} cannot be written", target.display()))
}

/// The field `files` from flags of the form `NAME=PATH` or `PATH`.
pub(super) fn files(flags: &[String]) -> anyhow::Result<Value> {
    let files: Map<String, Value> = flags
        .iter()
        .map(|flag| file(flag))
        .collect::<anyhow::Result<_>>()?;
    Ok(Value::Object(files))
}

fn file(flag: &str) -> anyhow::Result<(String, Value)> {
    let (name, path) = match flag.split_once('=') {
        Some((name, path)) => (name, Path::new(path)),
        None => {
            let path = Path::new(flag);
            let name = path.file_name().and_then(|name| name.to_str());
            (name.unwrap_or_default(), path)
        }
    };
    let bytes = std::fs::read(path).map_err(|error| {
        Usage(format!(
            "--file {flag}: {} cannot be read: {error}",
            path.display()
        ))
    })?;
    Ok((name.to_owned(), json!({ "base64": STANDARD.encode(bytes) })))
}

/// A file of code.
pub(super) fn source(path: &Path) -> anyhow::Result<String> {
    let read = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    read.map_err(|error| Usage(format!("{} cannot be read: {error}", path.display())).into())
}
