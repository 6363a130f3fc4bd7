//! `cofferdam task submit --batch FILE` and `task batch`: many tasks at once.

use std::process::ExitCode;

use anyhow::Context;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::cli::client::{Client, encoded};
use crate::cli::{Usage, output};

/// Submits the tasks in `file`, which is a JSON array of them or has one on each line.
pub(super) fn submit(
    file: &str,
    parallelism: Option<u32>,
    idempotency_key: Option<&str>,
    client: &Client,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let text = match file {
        "-" => std::io::read_to_string(std::io::stdin()),
        file => std::fs::read_to_string(file),
    };
    let text = text.with_context(|| format!("{file} cannot be read"))?;
    let mut body = format!("{{\"tasks\":{}", tasks(&text)?);
    if let Some(parallelism) = parallelism {
        body.push_str(&format!(",\"parallelism\":{parallelism}"));
    }
    body.push('}');
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(idempotency_key.map(|key| ("idempotency-key", key)));
    let answer = client
        .send("POST", "/v1/tasks/batch", &headers, body.into_bytes())?
        .json()?;
    match json {
        true => output::json(&answer),
        false => output::line(&super::text(&answer, "batch_id")),
    }
    Ok(ExitCode::SUCCESS)
}

/// The tasks as one JSON array, each as it was written.
fn tasks(text: &str) -> Result<String, Usage> {
    if text.trim_start().starts_with('[') {
        let parsed: Result<Vec<IgnoredAny>, _> = serde_json::from_str(text);
        return match parsed {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(Usage(format!("--batch: the array is not JSON: {error}"))),
        };
    }
    let mut all = String::from("[");
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let task: &RawValue = serde_json::from_str(line)
            .map_err(|error| Usage(format!("--batch: line {number} is not JSON: {error}")))?;
        if all.len() > 1 {
            all.push(',');
        }
        all.push_str(task.get());
    }
    all.push(']');
    Ok(all)
}

/// What is told of a batch.
#[derive(Deserialize)]
struct Counted {
    tasks: u64,
    removed: u64,
    counts: serde_json::Map<String, serde_json::Value>,
}

/// Shows how many tasks of a batch there are in each state.
pub(super) fn show(id: &str, client: &Client, json: bool) -> anyhow::Result<()> {
    let batch = client.get(&path(id))?.json()?;
    if json {
        output::json(&batch);
        return Ok(());
    }
    let counted: Counted = serde_json::from_value(batch)?;
    let mut line = format!("{} tasks:", counted.tasks);
    for (status, tasks) in &counted.counts {
        line.push_str(&format!(" {tasks} {status}"));
    }
    line.push_str(&format!(" {} removed", counted.removed));
    output::line(&output::printable(&line));
    Ok(())
}

/// Cancels every task of a batch that is not final, and says how many these are.
pub(super) fn cancel(id: &str, client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.delete(&path(id))?.json()?;
    match json {
        true => output::json(&answer),
        false => output::line(&answer["tasks"].to_string()),
    }
    Ok(())
}

fn path(id: &str) -> String {
    format!("/v1/batches/{}", encoded(id))
}

#[cfg(test)]
mod tests {
    use super::tasks;

    #[test]
    fn lines_and_arrays_are_sent_as_they_are() {
        let lines = "{\"module\":\"m\",\"input\":1.0}\n\n{\"module\":\"n\"}\n";
        let array = "[{\"module\":\"m\",\"input\":1.0},{\"module\":\"n\"}]";
        assert_eq!(tasks(lines).unwrap(), array);
        assert_eq!(tasks(array).unwrap(), array);
        let told = tasks("{}\n{]\n").unwrap_err().to_string();
        assert!(told.contains("line 2"), "{told}");
        assert!(tasks("[{}").is_err());
    }
}
