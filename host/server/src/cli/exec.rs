//! `cofferdam exec`: runs source text here or on a server.
//!
//! Here means a host inside this process, used through the same API. Compiled interpreters are kept
//! in the user's cache directory, so only the first run waits for the compiler.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use crate::app::Local;
use crate::cli::client::Client;
use crate::cli::code::{self, Executed};
use crate::cli::live::{self, Shown};
use crate::cli::{Usage, output, outward, serve, units, warm_up};
use cofferdam::interpreters::Interpreters;
use cofferdam_domain::grants::http::HttpGrant;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::module::Language;

/// Code as flags.
#[derive(Debug, Args)]
#[command(override_usage = "cofferdam exec [OPTIONS] FILE [ARGS]...
       cofferdam exec [OPTIONS] --python CODE [ARGS]...
       cofferdam exec [OPTIONS] --javascript CODE [ARGS]...")]
pub(crate) struct Exec {
    #[command(flatten)]
    source: Source,
    /// Pass on standard input, up to its end.
    #[arg(long)]
    stdin: bool,
    /// A file for the working directory; its own name if NAME is left out. May be repeated.
    #[arg(long, value_name = "NAME=PATH")]
    file: Vec<String>,
    /// The directory for files that the code writes; without it they are only named.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Wall-clock limit, as 250ms, 5s, 2m or 1h [default: the host's, 30s].
    #[arg(long, value_parser = units::duration_limit, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// CPU-time limit, as 250ms, 5s, 2m or 1h [default: the host's, 10s].
    #[arg(long, value_parser = units::duration_limit, value_name = "DURATION")]
    cpu: Option<Duration>,
    /// Memory limit, as 64MiB or 1GiB; rounded up to whole MiB [default: 512MiB].
    #[arg(long, value_parser = units::bytes_limit, value_name = "SIZE")]
    memory: Option<u64>,
    /// A host that it may send HTTP requests to: of those that the server allows, or any without one. May be
    /// repeated.
    #[arg(long, value_parser = outward::http_grant, value_name = "HOST[:PORT]")]
    http: Vec<HttpGrant>,
    /// shared, process or dedicated; code always runs in a jailed process, whatever is asked for, and in one for
    /// itself with dedicated.
    #[arg(long, value_parser = units::isolation, value_name = "WORD")]
    isolation: Option<Isolation>,
    /// Without --python or --javascript a FILE of code (.py, .js or .ts); then the code's
    /// arguments. Arguments that begin with a dash come after FILE or after `--`.
    #[arg(trailing_var_arg = true, value_name = "FILE [ARGS]")]
    words: Vec<String>,
}

/// The code to run: at most one flag; without one, the first word.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Source {
    /// Python code.
    #[arg(long, value_name = "CODE")]
    python: Option<String>,
    /// JavaScript code.
    #[arg(long, value_name = "CODE")]
    javascript: Option<String>,
    /// A file of Python code, whatever its name; - is standard input.
    #[arg(long, value_name = "FILE")]
    python_file: Option<PathBuf>,
    /// A file of JavaScript code, whatever its name; - is standard input.
    #[arg(long, value_name = "FILE")]
    javascript_file: Option<PathBuf>,
}

pub(super) fn run(command: &Exec, server: Option<Client>, json: bool) -> anyhow::Result<ExitCode> {
    let program = command.program()?;
    let body = body(command, &program)?;
    let client = match server {
        Some(server) => server,
        None => Client::here(here(program.language, &command.http)?),
    };
    let (answer, shown) = match json {
        true => (warm_up::post(&client, "/v1/exec", &body)?, Shown::default()),
        false => live::run(&client, "/v1/exec", &body)?,
    };
    let executed = Executed::read(&answer)?;
    if let Some(folder) = &command.out {
        executed.fetch(&client, folder)?;
    }
    match json {
        true => output::line(&answer),
        false => executed.show(&shown, command.out.is_none()),
    }
    Ok(executed.exit_code())
}

/// A host in this process that runs code of a language.
fn here(language: Language, http: &[HttpGrant]) -> anyhow::Result<Local> {
    let mut config = serve::environment_only()?;
    outward::allow(&mut config.sandbox.egress, http);
    let program = std::env::current_exe()?;
    let interpreter = Interpreters::file_of(&config.interpreters, &program, language);
    anyhow::ensure!(
        interpreter.exists(),
        "no {} interpreter is installed: {} does not exist. `cargo xtask interpreters` builds it, and \
         COFFERDAM_INTERPRETERS_DIR names another directory; --server names a host that has one",
        language.as_str(),
        interpreter.display()
    );
    Local::start(config, &program, &output::cache_dir(), &[language])
}

/// The code to run, with the meaning of the words on the command line.
struct Program<'a> {
    language: Language,
    code: String,
    args: &'a [String],
}

impl Exec {
    fn program(&self) -> anyhow::Result<Program<'_>> {
        let (language, code) = match &self.source {
            Source {
                python: Some(code), ..
            } => (Language::Python, code.clone()),
            Source {
                javascript: Some(code),
                ..
            } => (Language::JavaScript, code.clone()),
            Source {
                python_file: Some(path),
                ..
            } => (Language::Python, code::source(path)?),
            Source {
                javascript_file: Some(path),
                ..
            } => (Language::JavaScript, code::source(path)?),
            Source { .. } => return self.file(),
        };
        Ok(Program {
            language,
            code,
            args: &self.words,
        })
    }

    /// The first word as a file of code.
    fn file(&self) -> anyhow::Result<Program<'_>> {
        let Some((file, args)) = self.words.split_first() else {
            let ways = "name a FILE, or give --python CODE or --javascript CODE";
            return Err(Usage(format!("there is no code to run: {ways}")).into());
        };
        let path = Path::new(file);
        let ending = path.extension().and_then(|extension| extension.to_str());
        let language = match (Language::of_file(file), ending) {
            (Some(language), _) => language,
            (None, Some("wasm" | "wat")) => {
                let way = format!("`cofferdam run {file}` runs it");
                return Err(Usage(format!("{file} is a module, not code: {way}")).into());
            }
            (None, Some(_) | None) => {
                let ways = "use --python-file or --javascript-file";
                let why = format!("the name does not end in .py, .js or .ts; {ways}");
                return Err(Usage(format!("{file}: {why}")).into());
            }
        };
        Ok(Program {
            language,
            code: code::source(path)?,
            args,
        })
    }
}

fn body(command: &Exec, program: &Program<'_>) -> anyhow::Result<Value> {
    let mut body = json!({
        "language": program.language.as_str(),
        "code": program.code,
        "args": program.args,
        "files": code::files(&command.file)?,
    });
    if command.stdin {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("standard input cannot be read as text")?;
        body["stdin"] = json!(text);
    }
    if let Some(timeout) = command.timeout {
        body["timeout_ms"] = units::millis(timeout);
    }
    if let Some(cpu) = command.cpu {
        body["cpu_ms"] = units::millis(cpu);
    }
    if let Some(bytes) = command.memory {
        body["memory_limit_mb"] = json!(bytes.div_ceil(1024 * 1024));
    }
    if let Some(isolation) = command.isolation {
        body["isolation"] = json!(isolation.as_str());
    }
    if !command.http.is_empty() {
        body["grants"] = json!({ "http": outward::hosts(&command.http) });
    }
    Ok(body)
}
