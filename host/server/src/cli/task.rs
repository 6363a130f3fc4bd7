//! `cofferdam task …`

mod submit;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::cli::client::{Client, encoded};
use crate::cli::{EXIT_FAILED, output, units};

/// How often a waiting command asks the server.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What can be done with tasks.
#[derive(Debug, Subcommand)]
pub(super) enum Task {
    /// Submit a task.
    Submit(Box<submit::Submit>),
    /// Show a task.
    Get {
        /// Its id.
        id: String,
    },
    /// Wait until a task is final and write its result to standard output.
    Wait {
        /// Its id.
        id: String,
        /// How long to wait at most.
        #[arg(long, value_parser = units::duration, value_name = "DURATION")]
        timeout: Option<Duration>,
    },
    /// Write what a task wrote.
    Logs {
        /// Its id.
        id: String,
        /// Which stream.
        #[arg(long, value_enum, default_value_t = StreamName::Stdout)]
        stream: StreamName,
    },
    /// Cancel a task.
    Cancel {
        /// Its id.
        id: String,
    },
    /// Remove a final task with its result, its artifacts and its input.
    Purge {
        /// Its id.
        id: String,
    },
    /// List tasks, newest first.
    List {
        /// Only those in this state.
        #[arg(long)]
        status: Option<String>,
        /// Only those of this module.
        #[arg(long)]
        module: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}

/// One of a task's streams.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum StreamName {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Log lines.
    Log,
}

pub(super) fn run(command: Task, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        Task::Submit(submit) => return submit::submit(*submit, client, json),
        Task::Wait { id, timeout } => return wait(client, &id, timeout, json),
        Task::Get { id } => show(&get(client, &id)?, json),
        Task::Logs { id, stream } => {
            let name = match stream {
                StreamName::Stdout => "stdout",
                StreamName::Stderr => "stderr",
                StreamName::Log => "log",
            };
            output::bytes(
                &client
                    .get(&format!("/v1/tasks/{}/logs?stream={name}", encoded(&id)))?
                    .body,
            );
        }
        Task::Cancel { id } => {
            let answer = client.delete(&format!("/v1/tasks/{}", encoded(&id)))?;
            if json {
                output::json(&answer.json()?);
            }
        }
        Task::Purge { id } => {
            client.delete(&format!("/v1/tasks/{}?purge=true", encoded(&id)))?;
        }
        Task::List {
            status,
            module,
            limit,
        } => list(client, status, module, limit, json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn get(client: &Client, id: &str) -> anyhow::Result<Value> {
    client.get(&format!("/v1/tasks/{}", encoded(id)))?.json()
}

fn wait(
    client: &Client,
    id: &str,
    timeout: Option<Duration>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let style = ProgressStyle::with_template("{spinner} {bar:30} {percent:>3}% {msg}")
        .expect("the template is valid");
    let bar = ProgressBar::new(100).with_style(style);
    let started = Instant::now();
    let task = loop {
        let task = get(client, id)?;
        if is_final(&task) {
            break task;
        }
        anyhow::ensure!(
            timeout.is_none_or(|timeout| started.elapsed() < timeout),
            "task {id} is still {}",
            text(&task, "status")
        );
        bar.set_position(percent(&task));
        bar.set_message(format!(
            "{} {}",
            text(&task, "status"),
            text(&task, "progress_note")
        ));
        std::thread::sleep(POLL_INTERVAL);
    };
    bar.finish_and_clear();
    finish(client, &task, json)
}

/// Writes a final task's result, or says why there is none.
fn finish(client: &Client, task: &Value, json: bool) -> anyhow::Result<ExitCode> {
    let completed = task["status"] == "completed";
    if json {
        output::json(task);
    } else if completed {
        output::bytes(
            &client
                .get(&format!("/v1/tasks/{}/result", text(task, "task_id")))?
                .body,
        );
    } else {
        let message = format!(
            "cofferdam: task {} {}: {}: {}\n",
            text(task, "task_id"),
            text(task, "status"),
            text(&task["error"], "kind"),
            text(&task["error"], "message"),
        );
        output::error_bytes(message.as_bytes());
    }
    Ok(if completed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILED)
    })
}

fn is_final(task: &Value) -> bool {
    matches!(
        task["status"].as_str(),
        Some("completed" | "failed" | "cancelled")
    )
}

fn percent(task: &Value) -> u64 {
    let fraction = task["progress"].as_f64().unwrap_or(0.0).clamp(0.0, 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is 0 to 100"
    )]
    let percent = (fraction * 100.0) as u64;
    percent
}

fn list(
    client: &Client,
    status: Option<String>,
    module: Option<String>,
    limit: u32,
    json: bool,
) -> anyhow::Result<()> {
    let mut path = format!("/v1/tasks?limit={limit}");
    for (name, value) in [("status", status), ("module", module)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encoded(&value)));
        }
    }
    for task in client.get(&path)?.json()?["items"]
        .as_array()
        .into_iter()
        .flatten()
    {
        show(task, json);
    }
    Ok(())
}

fn show(task: &Value, json: bool) {
    if json {
        return output::json(task);
    }
    output::line(&format!(
        "{}  {:<10} {:<24} {:>3}%  {}{}",
        text(task, "task_id"),
        text(task, "label"),
        text(task, "module"),
        percent(task),
        text(task, "created_at"),
        task["error"]["message"]
            .as_str()
            .map(|m| format!("  {}", output::printable(m)))
            .unwrap_or_default(),
    ));
}

fn text(value: &Value, field: &str) -> String {
    output::printable(value[field].as_str().unwrap_or_default())
}
