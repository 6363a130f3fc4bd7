//! `cofferdam workflow …`: tasks of a server that wait for each other.

mod definition;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use self::definition::Definition;
use crate::cli::client::{Client, encoded};
use crate::cli::output;
use crate::cli::told::Told;
use crate::cli::{EXIT_FAILED, Usage};

/// The shortest and the longest wait between two looks at a workflow.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The commands on workflows.
#[derive(Debug, Subcommand)]
pub(super) enum Workflow {
    /// Submit a workflow and print its id.
    Submit {
        /// A file with the workflow, as POST /v1/workflows takes it; - for standard input.
        file: PathBuf,
        /// A key that makes a repeated submission the same one.
        #[arg(long)]
        idempotency_key: Option<String>,
        /// Wait until it is final, and show it.
        #[arg(long)]
        wait: bool,
    },
    /// List workflows, newest first.
    List {
        /// Only those that are running, paused, completed, failed or cancelled.
        #[arg(long)]
        status: Option<String>,
    },
    /// Show a workflow with its nodes.
    Show {
        /// Its id.
        id: String,
    },
    /// Wait until a workflow is final; exit code 1 if it did not complete.
    Wait {
        /// Its id.
        id: String,
    },
    /// Cancel all of a workflow that is not final.
    Cancel {
        /// Its id.
        id: String,
    },
    /// Try nodes of a final workflow again.
    Retry {
        /// Its id.
        id: String,
        /// failed, failed_and_downstream or all.
        #[arg(long, default_value = "failed")]
        mode: String,
        /// A node to begin with, instead of those that did not complete; may be repeated.
        #[arg(long, value_name = "NODE")]
        from: Vec<String>,
    },
    /// Let no node begin until the workflow is resumed.
    Pause {
        /// Its id.
        id: String,
    },
    /// Let a paused workflow go on.
    Resume {
        /// Its id.
        id: String,
    },
    /// Give a signal to a workflow.
    Signal {
        /// Its id.
        id: String,
        /// The signal's name.
        name: String,
        /// What comes with it, as JSON.
        #[arg(long, value_name = "JSON")]
        content: Option<String>,
        /// A key that makes a repeated signal the same one.
        #[arg(long)]
        idempotency_key: Option<String>,
    },
    /// Keep what workflows may be submitted by.
    #[command(subcommand)]
    Definition(Definition),
}

pub(super) fn run(command: &Workflow, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        Workflow::Submit {
            file,
            idempotency_key,
            wait,
        } => {
            let body = read(file)?;
            let headers = headers(idempotency_key.as_deref());
            let answer = client
                .send("POST", "/v1/workflows", &headers, body)?
                .told()?;
            let id = answer["workflow_id"].as_str().unwrap_or_default();
            match (wait, json) {
                (true, _) => return awaited(client, id, json),
                (false, true) => output::line(answer.as_it_came()),
                (false, false) => output::line(id),
            }
        }
        Workflow::List { status } => {
            let status = status
                .as_deref()
                .map(|it| format!("&status={}", encoded(it)));
            let list = format!("/v1/workflows?limit=1000{}", status.unwrap_or_default());
            client.each(&list, |it| show_summary(it, json))?;
        }
        Workflow::Show { id } => show(&client.get(&path(id, ""))?.told()?, json),
        Workflow::Wait { id } => return awaited(client, id, json),
        Workflow::Cancel { id } => done(&client.delete(&path(id, ""))?.told()?, json),
        Workflow::Retry { id, mode, from } => {
            let body = json!({"mode": mode, "from": from}).to_string().into_bytes();
            let answer = client.send("POST", &path(id, "/retry"), &headers(None), body)?;
            done(&answer.told()?, json);
        }
        Workflow::Pause { id } => {
            done(
                &client
                    .send("POST", &path(id, "/pause"), &[], Vec::new())?
                    .told()?,
                json,
            );
        }
        Workflow::Resume { id } => {
            done(
                &client
                    .send("POST", &path(id, "/resume"), &[], Vec::new())?
                    .told()?,
                json,
            );
        }
        Workflow::Definition(command) => return definition::run(command, client, json),
        Workflow::Signal {
            id,
            name,
            content,
            idempotency_key,
        } => {
            let signal = path(id, &format!("/signals/{}", encoded(name)));
            let body = content.clone().unwrap_or_else(|| "null".to_owned());
            let headers = headers(idempotency_key.as_deref());
            done(
                &client
                    .send("POST", &signal, &headers, body.into_bytes())?
                    .told()?,
                json,
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path(id: &str, below: &str) -> String {
    format!("/v1/workflows/{}{below}", encoded(id))
}

fn headers(idempotency_key: Option<&str>) -> Vec<(&str, &str)> {
    let key = idempotency_key.map(|key| ("idempotency-key", key));
    std::iter::once(("content-type", "application/json"))
        .chain(key)
        .collect()
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    if file == Path::new("-") {
        std::io::stdin()
            .read_to_end(&mut text)
            .context("standard input cannot be read")?;
    } else {
        text = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    }
    match serde_json::from_slice::<Value>(&text) {
        Ok(_json) => Ok(text),
        Err(error) => Err(Usage(format!("{}: {error}", file.display())).into()),
    }
}

/// Waits until it is final, and shows it.
fn awaited(client: &Client, id: &str, json: bool) -> anyhow::Result<ExitCode> {
    let mut wait = LOOK.0;
    loop {
        let found = client.get(&path(id, ""))?.told()?;
        let status = found["status"].as_str().unwrap_or_default();
        if !["running", "paused"].contains(&status) {
            let completed = status == "completed";
            show(&found, json);
            return Ok(match completed {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(EXIT_FAILED),
            });
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(LOOK.1);
    }
}

fn done(answer: &Told, json: bool) {
    if json {
        output::line(answer.as_it_came());
    }
}

fn show_summary(workflow: &Told, json: bool) {
    if json {
        return output::line(workflow.as_it_came());
    }
    let text = |field: &str| workflow[field].as_str().unwrap_or_default();
    let counts = &workflow["counts"];
    let line = format!(
        "{} {:<9} {}/{} nodes  {}",
        text("workflow_id"),
        text("status"),
        counts["nodes"].as_u64().unwrap_or(0) - counts["open"].as_u64().unwrap_or(0),
        counts["nodes"],
        text("name"),
    );
    output::line(&output::printable(line.trim_end()));
}

fn show(workflow: &Told, json: bool) {
    show_summary(workflow, json);
    if json {
        return;
    }
    for node in workflow["nodes"].as_array().into_iter().flatten() {
        let text = |field: &str| node[field].as_str().unwrap_or_default();
        let why = match node["error"]["message"].as_str() {
            Some(message) => message,
            None => text("reason"),
        };
        let (id, label, task) = (text("id"), text("label"), text("task_id"));
        let line = format!("  {id:<24} {label:<10} {task}  {why}");
        output::line(&output::printable(line.trim_end()));
    }
}
