//! `cofferdam task …`

mod batch;
mod change;
mod follow;
mod list;
mod submit;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::cli::client::{Answer, Client, encoded};
use crate::cli::told::Told;
use crate::cli::{EXIT_FAILED, code, output, units};

/// How often a waiting command asks the server.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The commands on tasks.
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
        /// The longest wait, as 250ms, 5s, 2m or 1h [default: no limit].
        #[arg(long, value_parser = units::duration, value_name = "DURATION")]
        timeout: Option<Duration>,
    },
    /// Print a stream of a task.
    Logs {
        /// Its id.
        id: String,
        /// Which stream.
        #[arg(long, value_enum, default_value_t = StreamName::Stdout)]
        stream: StreamName,
        /// Go on printing until the task is final.
        #[arg(long, short)]
        follow: bool,
    },
    /// Show a task's events until it is final.
    Events {
        /// Its id.
        id: String,
    },
    /// List a task's finished attempts.
    Attempts {
        /// Its id.
        id: String,
    },
    /// List the files that a task left under /out, or fetch them.
    Artifacts {
        /// Its id.
        id: String,
        /// The directory to put them into; without it they are only named.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Show how many tasks of a batch there are in each state.
    Batch {
        /// Its id.
        id: String,
    },
    /// Cancel a task, a batch, or every task that a filter finds.
    Cancel(change::Cancel),
    /// Remove a final task with its result, its artifacts and its input.
    Purge {
        /// Its id.
        id: String,
    },
    /// Try a failed or cancelled task again, or every one that a filter finds.
    Retry(change::Retry),
    /// List tasks, newest first, or what changed since an earlier answer.
    List(list::List),
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
        Task::Logs { id, stream, follow } => follow::logs(client, &id, stream.as_str(), follow)?,
        Task::Events { id } => follow::events(client, &id, json)?,
        Task::Attempts { id } => attempts(client, &id, json)?,
        Task::Artifacts { id, out } => artifacts(client, &id, out.as_deref(), json)?,
        Task::Batch { id } => batch::show(&id, client, json)?,
        Task::Cancel(cancel) => change::cancel(&cancel, client, json)?,
        Task::Retry(retry) => change::retry(&retry, client, json)?,
        Task::Purge { id } => {
            client.delete(&path(&id, "?purge=true"))?;
        }
        Task::List(list) => list::list(&list, client, json)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl StreamName {
    fn as_str(self) -> &'static str {
        match self {
            StreamName::Stdout => "stdout",
            StreamName::Stderr => "stderr",
            StreamName::Log => "log",
        }
    }
}

fn path(id: &str, rest: &str) -> String {
    format!("/v1/tasks/{}{rest}", encoded(id))
}

fn get(client: &Client, id: &str) -> anyhow::Result<Told> {
    client.get(&path(id, ""))?.told()
}

/// Prints the task's state after a change.
fn changed(answer: Answer, json: bool) -> anyhow::Result<()> {
    let answer = answer.json()?;
    match json {
        true => output::json(&answer),
        false => output::line(&text(&answer, "label")),
    }
    Ok(())
}

fn attempts(client: &Client, id: &str, json: bool) -> anyhow::Result<()> {
    let list = path(id, "/attempts?limit=100");
    client.each(&list, |attempt| show_attempt(attempt, json))
}

fn show_attempt(attempt: &Told, json: bool) {
    if json {
        return output::line(attempt.as_it_came());
    }
    let error = &attempt["error"];
    let ended = match error["kind"].as_str() {
        None => "completed".to_owned(),
        Some(kind) => format!("{kind}: {}", text(error, "message")),
    };
    output::line(&format!(
        "{:>3}  {}  {}  {:>10} us  {ended}",
        attempt["attempt"],
        text(attempt, "started_at"),
        text(attempt, "finished_at"),
        attempt["usage"]["duration_us"],
    ));
}

fn artifacts(client: &Client, id: &str, out: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let list = client.get(&path(id, "/artifacts"))?.json()?;
    for artifact in list["items"].as_array().into_iter().flatten() {
        let name = artifact["path"].as_str().unwrap_or_default();
        if let Some(folder) = out {
            let rest = format!("/artifacts/{}?attempt={}", encoded(name), list["attempt"]);
            code::put(folder, name, &client.get(&path(id, &rest))?.body)?;
        }
        match json {
            true => output::json(artifact),
            false => {
                let name = output::printable(name);
                output::line(&format!("{:>12}  {name}", artifact["size_bytes"]));
            }
        }
    }
    Ok(())
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

/// Writes a final task's result, or says why it has none.
fn finish(client: &Client, task: &Told, json: bool) -> anyhow::Result<ExitCode> {
    let completed = task["status"] == "completed";
    if json {
        output::line(task.as_it_came());
    } else if completed {
        output::bytes(&client.get(&path(&text(task, "task_id"), "/result"))?.body);
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

fn show(task: &Told, json: bool) {
    if json {
        return output::line(task.as_it_came());
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
