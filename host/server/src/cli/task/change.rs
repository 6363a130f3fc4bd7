//! `cofferdam task cancel` and `task retry`: one task, a batch, or every task that a filter finds.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::client::Client;
use crate::cli::task::{batch, changed, path};
use crate::cli::{Usage, output, units};

/// Flags of `task cancel`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Cancel {
    #[command(flatten)]
    which: Which,
    /// Every task of a batch that is not final.
    #[arg(long, value_name = "ID", conflicts_with_all = ["id", "filter"])]
    batch: Option<String>,
}

/// Flags of `task retry`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Retry {
    #[command(flatten)]
    which: Which,
}

/// Which tasks are changed.
#[derive(Debug, Args)]
struct Which {
    /// Its id.
    #[arg(conflicts_with = "filter")]
    id: Option<String>,
    /// Every task that this finds, as a parameter of the list: status=failed, module=NAME, label=…,
    /// metadata.KEY=VALUE. May be repeated. Without --expect they are only counted.
    #[arg(long, value_parser = units::pair, value_name = "NAME=VALUE")]
    filter: Vec<(String, String)>,
    /// Change them, if they are not more than this.
    #[arg(long, requires = "filter", value_name = "N")]
    expect: Option<u64>,
}

impl Which {
    /// The one task, unless a filter finds them.
    fn one(&self) -> Result<Option<&str>, Usage> {
        match self.id.is_none() && self.filter.is_empty() {
            true => Err(Usage("give the id of a task, or --filter".to_owned())),
            false => Ok(self.id.as_deref()),
        }
    }
}

pub(super) fn cancel(command: &Cancel, client: &Client, json: bool) -> anyhow::Result<()> {
    if let Some(id) = &command.batch {
        return batch::cancel(id, client, json);
    }
    match command.which.one()? {
        Some(id) => changed(client.delete(&path(id, ""))?, json),
        None => many(&command.which, "/v1/tasks/cancel", client, json),
    }
}

pub(super) fn retry(command: &Retry, client: &Client, json: bool) -> anyhow::Result<()> {
    match command.which.one()? {
        Some(id) => {
            let path = path(id, "/retry");
            changed(client.send("POST", &path, &[], Vec::new())?, json)
        }
        None => many(&command.which, "/v1/tasks/retry", client, json),
    }
}

/// Counts the tasks that a filter finds, or changes them; prints how many they are.
fn many(which: &Which, path: &str, client: &Client, json: bool) -> anyhow::Result<()> {
    let filter = which.filter.iter().cloned();
    let filter: Map<String, Value> = filter.map(|(name, value)| (name, value.into())).collect();
    let mut body = json!({ "filter": filter });
    if let Some(expect) = which.expect {
        body["expect"] = expect.into();
    }
    let answer = client.post(path, &[], &body)?.json()?;
    match json {
        true => output::json(&answer),
        false => output::line(&answer["matches"].to_string()),
    }
    Ok(())
}
