//! `cofferdam worker …`: the hosts that share a storage.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::client::{Client, encoded};
use crate::cli::output;
use crate::cli::told::Told;

/// The commands on workers.
#[derive(Debug, Subcommand)]
pub(super) enum Worker {
    /// List the hosts that share the server's storage.
    List,
    /// Ask a host to take no more tasks; it finishes those it has and answers everything else.
    Drain {
        /// Its id.
        id: String,
        /// Ask it to take tasks again.
        #[arg(long)]
        undo: bool,
    },
}

pub(super) fn run(command: &Worker, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        Worker::List => client.each("/v1/workers?limit=1000", |worker| show(worker, json))?,
        Worker::Drain { id, undo } => {
            let path = format!("/v1/workers/{}/drain", encoded(id));
            let answer = match undo {
                true => client.delete(&path)?,
                false => client.post(&path, &[], &json!({}))?,
            };
            show(&answer.told()?, json);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(worker: &Told, json: bool) {
    if json {
        return output::line(worker.as_it_came());
    }
    let text = |field: &str| output::printable(worker[field].as_str().unwrap_or("-"));
    let words = |field: &str| {
        let words = worker[field].as_array().into_iter().flatten();
        let words: Vec<&str> = words.filter_map(Value::as_str).collect();
        output::printable(&words.join(","))
    };
    output::line(&format!(
        "{}  {:<10} {:>5}/{:<5} {:>8} ms  {:<16} {}  {}  {}",
        text("id"),
        text("state"),
        worker["load"],
        worker["slots"],
        worker["heartbeat_age_ms"],
        text("name"),
        text("address"),
        words("capabilities"),
        words("groups"),
    ));
}
