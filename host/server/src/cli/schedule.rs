//! `cofferdam schedule …`: tasks that a server submits again and again.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::Usage;
use crate::cli::client::{Client, encoded};
use crate::cli::key::put;
use crate::cli::output;
use crate::cli::told::Told;

/// The commands on schedules.
#[derive(Debug, Subcommand)]
pub(super) enum Schedule {
    /// Make a schedule, or replace what was said of it.
    Put(Put),
    /// List the schedules.
    List,
    /// Show a schedule with its next five instants.
    Show {
        /// Its name.
        name: String,
    },
    /// Remove a schedule; tasks that it submitted stay.
    Rm {
        /// Its name.
        name: String,
    },
    /// Submit a schedule's task now.
    Run {
        /// Its name.
        name: String,
    },
}

/// What is said of a schedule.
#[derive(Debug, Args)]
pub(super) struct Put {
    /// Its name: a-z 0-9 . _ -.
    name: String,
    /// The module that its task runs.
    #[arg(required_unless_present = "task")]
    module: Option<String>,
    /// A cron pattern, such as "0 3 * * *".
    #[arg(
        long,
        required_unless_present = "every_ms",
        conflicts_with = "every_ms"
    )]
    cron: Option<String>,
    /// The interval in milliseconds.
    #[arg(long)]
    every_ms: Option<u64>,
    /// The time zone of the pattern, such as Europe/Berlin [default: UTC].
    #[arg(long, requires = "cron")]
    time_zone: Option<String>,
    /// The input of the task, as JSON.
    #[arg(long, value_name = "JSON", conflicts_with = "task")]
    input: Option<String>,
    /// A file with the whole task, as POST /v1/tasks takes it.
    #[arg(long, value_name = "FILE", conflicts_with = "module")]
    task: Option<PathBuf>,
    /// What becomes of instants at which no server was there: none, one or all.
    #[arg(long)]
    catch_up: Option<String>,
    /// What becomes of an instant while the last task goes on: allow, skip or cancel.
    #[arg(long)]
    overlap: Option<String>,
    /// Keep it without firing it.
    #[arg(long)]
    paused: bool,
}

pub(super) fn run(command: &Schedule, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    let path = |name: &str| format!("/v1/schedules/{}", encoded(name));
    match command {
        Schedule::Put(asked) => {
            let body = request(asked)?.to_string().into_bytes();
            let headers = [("content-type", "application/json")];
            let answer = client.send("PUT", &path(&asked.name), &headers, body)?;
            show(&answer.told()?, json);
        }
        Schedule::List => client.each("/v1/schedules?limit=1000", |it| show(it, json))?,
        Schedule::Show { name } => show(&client.get(&path(name))?.told()?, json),
        Schedule::Rm { name } => {
            client.delete(&path(name))?;
        }
        Schedule::Run { name } => {
            let run = format!("{}/run", path(name));
            let submitted = client.send("POST", &run, &[], Vec::new())?.told()?;
            match json {
                true => output::line(submitted.as_it_came()),
                false => output::line(submitted["task_id"].as_str().unwrap_or_default()),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn request(asked: &Put) -> anyhow::Result<Value> {
    let task = match (&asked.task, &asked.module) {
        (Some(file), _) => {
            let text = std::fs::read(file)
                .with_context(|| format!("{} cannot be read", file.display()))?;
            serde_json::from_slice(&text)
                .map_err(|error| Usage(format!("{}: {error}", file.display())))?
        }
        (None, module) => {
            let mut task = json!({"module": module});
            if let Some(input) = &asked.input {
                task["input"] = serde_json::from_str(input)
                    .map_err(|error| Usage(format!("--input: {error}")))?;
            }
            task
        }
    };
    let mut body = json!({"task": task, "paused": asked.paused});
    let text = |text: &Option<String>| text.clone().map(Value::from);
    put(&mut body, "cron", text(&asked.cron));
    put(&mut body, "every_ms", asked.every_ms.map(Value::from));
    put(&mut body, "time_zone", text(&asked.time_zone));
    put(&mut body, "catch_up", text(&asked.catch_up));
    put(&mut body, "overlap", text(&asked.overlap));
    Ok(body)
}

fn show(schedule: &Told, json: bool) {
    if json {
        return output::line(schedule.as_it_came());
    }
    let text = |field: &str| schedule[field].as_str().unwrap_or_default().to_owned();
    let when = match schedule["every_ms"].as_u64() {
        Some(every_ms) => format!("every {every_ms} ms"),
        None => format!("{} ({})", text("cron"), text("time_zone")),
    };
    let next: Vec<&str> = schedule["next"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let next = match schedule["paused"].as_bool() {
        Some(true) => "paused".to_owned(),
        _ => format!("next {}", next.join(" ")),
    };
    let name = text("name");
    output::line(&output::printable(&format!("{name:<24} {when}, {next}")));
}
