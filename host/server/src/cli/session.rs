//! `cofferdam session …`: keeps an interpreter between calls.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::client::{Client, encoded};
use crate::cli::code::{self, Executed};
use crate::cli::live::{self, Shown};
use crate::cli::{output, units, warm_up};
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::module::Language;

/// The commands on sessions.
#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// Start a session and print its id.
    Start(Start),
    /// Run code in a session. Code that meets a limit ends the session.
    Exec(Exec),
    /// List the server's sessions by their handles; only the caller that started a session knows
    /// its id.
    List,
    /// Show a session.
    Show {
        /// Its id.
        id: String,
    },
    /// List a session's files, or fetch them.
    Files {
        /// Its id.
        id: String,
        /// The directory to put them into; without it they are only named.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Keep a copy of a session's files and print its id, which `start --snapshot` takes.
    Snapshot {
        /// Its id.
        id: String,
    },
    /// End a session; its files are removed.
    End {
        /// Its id.
        id: String,
    },
}

/// A session as flags.
#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// The language: python or javascript.
    #[arg(value_parser = language)]
    language: Language,
    /// A file for the working directory; its own name if NAME is left out. May be repeated.
    #[arg(long, value_name = "NAME=PATH")]
    file: Vec<String>,
    /// A snapshot whose files are put into the working directory.
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// How long an idle session is kept, as 30s, 5m or 1h [default: the host's, 10m].
    #[arg(long, value_parser = units::duration_limit, value_name = "DURATION")]
    idle: Option<Duration>,
    /// Memory limit, as 64MiB or 1GiB; rounded up to whole MiB [default: 512MiB].
    #[arg(long, value_parser = units::bytes_limit, value_name = "SIZE")]
    memory: Option<u64>,
    /// shared, process or dedicated; code always runs in a jailed process, whatever is asked for, and in one for
    /// itself with dedicated.
    #[arg(long, value_parser = units::isolation, value_name = "WORD")]
    isolation: Option<Isolation>,
}

/// A call as flags.
#[derive(Debug, clap::Args)]
pub(super) struct Exec {
    /// The session's id.
    id: String,
    /// The code; - reads it from standard input.
    code: String,
    /// A file to write into the working directory first. May be repeated.
    #[arg(long, value_name = "NAME=PATH")]
    file: Vec<String>,
    /// Wall-clock limit, as 250ms, 5s, 2m or 1h [default: the session's].
    #[arg(long, value_parser = units::duration_limit, value_name = "DURATION")]
    timeout: Option<Duration>,
}

fn language(name: &str) -> Result<Language, String> {
    Language::parse(name).ok_or_else(|| "write python or javascript".to_owned())
}

pub(super) fn run(command: Session, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        Session::Start(start) => begin(&start, client, json)?,
        Session::Exec(exec) => return execute(&exec, client, json),
        Session::List => {
            let list = client.get("/v1/sessions")?.json()?;
            for session in list["items"].as_array().into_iter().flatten() {
                show(session, json);
            }
        }
        Session::Show { id } => show(&client.get(&path(&id))?.json()?, json),
        Session::Files { id, out } => files(client, &id, out.as_deref(), json)?,
        Session::Snapshot { id } => {
            let answer = client.post(&format!("{}/snapshot", path(&id)), &[], &json!({}))?;
            one(&answer.json()?, "snapshot", json);
        }
        Session::End { id } => {
            client.delete(&path(&id))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn begin(start: &Start, client: &Client, json: bool) -> anyhow::Result<()> {
    let language = start.language.as_str();
    let mut body = json!({ "language": language, "files": code::files(&start.file)? });
    if let Some(snapshot) = &start.snapshot {
        body["snapshot"] = json!(snapshot);
    }
    if let Some(idle) = start.idle {
        body["idle_timeout_ms"] = units::millis(idle);
    }
    if let Some(bytes) = start.memory {
        body["memory_limit_mb"] = json!(bytes.div_ceil(1024 * 1024));
    }
    if let Some(isolation) = start.isolation {
        body["isolation"] = json!(isolation.as_str());
    }
    let session = warm_up::post(client, "/v1/sessions", &body)?;
    let session = serde_json::from_str(&session).context("the server's answer is not JSON")?;
    one(&session, "session_id", json);
    Ok(())
}

fn execute(exec: &Exec, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    let source = match exec.code.as_str() {
        "-" => code::source("-".as_ref())?,
        code => code.to_owned(),
    };
    let mut body = json!({ "code": source, "files": code::files(&exec.file)? });
    if let Some(timeout) = exec.timeout {
        body["timeout_ms"] = units::millis(timeout);
    }
    let path = format!("{}/exec", path(&exec.id));
    let (answer, shown) = match json {
        true => (warm_up::post(client, &path, &body)?, Shown::default()),
        false => live::run(client, &path, &body)?,
    };
    let executed = Executed::read(&answer)?;
    match json {
        true => output::line(&answer),
        // The answer lists all files of the session each time; `session files` names them.
        false => executed.show(&shown, false),
    }
    Ok(executed.exit_code())
}

fn files(
    client: &Client,
    id: &str,
    out: Option<&std::path::Path>,
    json: bool,
) -> anyhow::Result<()> {
    let list = client.get(&format!("{}/files", path(id)))?.json()?;
    if json {
        output::json(&list);
    }
    for (name, file) in list["files"].as_object().into_iter().flatten() {
        if let (Some(folder), Some(url)) = (out, file["url"].as_str()) {
            code::put(folder, name, &client.get(url)?.body)?;
        }
        if !json {
            let name = output::printable(name);
            output::line(&format!("{:>12}  {name}", file["size_bytes"]));
        }
    }
    Ok(())
}

fn path(id: &str) -> String {
    format!("/v1/sessions/{}", encoded(id))
}

/// Writes the one field that the next command needs, or everything.
fn one(answer: &Value, field: &str, json: bool) {
    match json {
        true => output::json(answer),
        false => output::line(answer[field].as_str().unwrap_or_default()),
    }
}

fn show(session: &Value, json: bool) {
    if json {
        return output::json(session);
    }
    let text = |field: &str| output::printable(session[field].as_str().unwrap_or_default());
    output::line(&format!(
        "{}  {:<10} {:<8} {:>5} calls  until {}",
        match session["session_id"].is_string() {
            true => text("session_id"),
            false => text("handle"),
        },
        text("language"),
        text("state"),
        session["calls"],
        text("expires_at"),
    ));
}
