//! `cofferdam exec`: source text, run by a server.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::cli::client::Client;
use crate::cli::{EXIT_FAILED, Usage, output, units};

/// Code as flags.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    source: Source,
    /// Pass on standard input.
    #[arg(long)]
    stdin: bool,
    /// A file for the working directory; its own name if NAME is left out.
    #[arg(long, value_name = "NAME=PATH")]
    file: Vec<String>,
    /// Where files that the code writes are put; without it they are only named.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Wall-clock limit.
    #[arg(long, value_parser = units::duration_limit, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// Memory limit.
    #[arg(long, value_parser = units::bytes_limit, value_name = "SIZE")]
    memory: Option<u64>,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// What to run: exactly one.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// Python code.
    #[arg(long, value_name = "CODE")]
    python: Option<String>,
    /// JavaScript code.
    #[arg(long, value_name = "CODE")]
    javascript: Option<String>,
    /// A file of Python code.
    #[arg(long, value_name = "FILE")]
    python_file: Option<PathBuf>,
    /// A file of JavaScript code.
    #[arg(long, value_name = "FILE")]
    javascript_file: Option<PathBuf>,
}

/// What this command shows of an answer. The value is shown letter by letter: a number that is
/// read would be rounded.
#[derive(Deserialize)]
struct Executed<'a> {
    status: String,
    #[serde(borrow)]
    result: &'a RawValue,
    result_repr: Option<String>,
    stdout: String,
    stderr: String,
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

pub(super) fn run(command: &Exec, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    let answer = client.post("/v1/exec", &[], &body(command)?)?.body;
    let executed: Executed<'_> =
        serde_json::from_slice(&answer).context("the server's answer is not what it should be")?;
    if let Some(folder) = &command.out {
        fetch(client, &executed, folder)?;
    }
    let failed = executed.status != "completed";
    if json {
        output::bytes(&answer);
        output::bytes(b"\n");
    } else {
        show(&executed, command.out.is_none())?;
    }
    Ok(match failed {
        true => ExitCode::from(EXIT_FAILED),
        false => ExitCode::SUCCESS,
    })
}

fn body(command: &Exec) -> anyhow::Result<Value> {
    let (language, code) = command.source.read()?;
    let mut body = json!({ "language": language, "code": code, "args": command.args });
    if command.stdin {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("standard input cannot be read as text")?;
        body["stdin"] = json!(text);
    }
    if let Some(timeout) = command.timeout {
        body["timeout_ms"] = json!(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }
    if let Some(bytes) = command.memory {
        body["memory_limit_mb"] = json!(bytes.div_ceil(1024 * 1024));
    }
    let files: Map<String, Value> = command
        .file
        .iter()
        .map(|flag| file(flag))
        .collect::<anyhow::Result<_>>()?;
    body["files"] = Value::Object(files);
    Ok(body)
}

impl Source {
    fn read(&self) -> anyhow::Result<(&'static str, String)> {
        let text = |path: &Path| {
            std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))
        };
        match self {
            Source {
                python: Some(code), ..
            } => Ok(("python", code.clone())),
            Source {
                javascript: Some(code),
                ..
            } => Ok(("javascript", code.clone())),
            Source {
                python_file: Some(path),
                ..
            } => Ok(("python", text(path)?)),
            Source {
                javascript_file: Some(path),
                ..
            } => Ok(("javascript", text(path)?)),
            Source { .. } => Err(Usage("there is no code to run".to_owned()).into()),
        }
    }
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
    let bytes =
        std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok((name.to_owned(), json!({ "base64": STANDARD.encode(bytes) })))
}

fn fetch(client: &Client, executed: &Executed<'_>, folder: &Path) -> anyhow::Result<()> {
    for (name, file) in &executed.files {
        // A guest chose the name.
        let plain = |part: &str| !matches!(part, "" | "." | "..");
        anyhow::ensure!(name.split('/').all(plain), "{name:?} is no name of a file");
        let target = folder.join(name);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&target, client.get(&file.url)?.body)
            .with_context(|| format!("{} cannot be written", target.display()))?;
    }
    Ok(())
}

/// What the code wrote, then its value, then the names of its files.
fn show(executed: &Executed<'_>, name_files: bool) -> anyhow::Result<()> {
    output::bytes(executed.stdout.as_bytes());
    std::io::stdout().flush()?;
    output::error_bytes(executed.stderr.as_bytes());
    if let Some(Failed { kind, message }) = &executed.error {
        // An uncaught exception and a chosen exit code have said why themselves.
        if !matches!(kind.as_str(), "guest_error" | "exit") {
            output::error_bytes(format!("cofferdam: {kind}: {message}\n").as_bytes());
        }
    }
    match (&executed.result_repr, executed.result.get()) {
        (Some(shown), _) => output::line(shown),
        (None, "null") => {}
        (None, value) => output::line(value),
    }
    for (name, file) in &executed.files {
        if name_files && std::io::stderr().is_terminal() {
            let line = format!("{name}: {} bytes at {}\n", file.size_bytes, file.url);
            output::error_bytes(line.as_bytes());
        }
    }
    Ok(())
}
