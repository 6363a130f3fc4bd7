//! A task's events on the terminal, as they arrive.
//!
//! A broken stream is resumed after the last event that arrived; if the server cannot be reached,
//! the command ends.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{get, is_final, path, percent, text};
use crate::cli::client::Client;
use crate::cli::output;

/// How often a stream without new events is resumed.
const RESUMES_MAX: u32 = 5;
/// How long to wait before that.
const RESUME_AFTER: Duration = Duration::from_secs(1);

/// What happened.
struct Event {
    number: Option<u64>,
    name: String,
    data: Value,
}

/// Writes one stream of a task: its present content, or with `follow` everything until the task is
/// final.
pub(super) fn logs(client: &Client, id: &str, stream: &str, follow: bool) -> anyhow::Result<()> {
    let mut followed = false;
    if follow && !is_final(&get(client, id)?) {
        watch(client, id, |event| {
            if event.name == stream {
                followed = true;
                output::bytes(&written(&event.data)?);
            }
            Ok(())
        })?;
    }
    if !followed {
        let path = path(id, &format!("/logs?stream={stream}"));
        output::bytes(&client.get(&path)?.body);
    }
    Ok(())
}

/// Shows every event of a task.
pub(super) fn events(client: &Client, id: &str, json: bool) -> anyhow::Result<()> {
    watch(client, id, |event| {
        if json {
            let Event { number, name, data } = event;
            output::json(&json!({ "id": number, "event": name, "data": data }));
        } else {
            output::line(&shown(event)?);
        }
        Ok(())
    })
}

fn shown(event: &Event) -> anyhow::Result<String> {
    let data = &event.data;
    let what = match event.name.as_str() {
        "status" => format!("{} (attempt {})", text(data, "status"), data["attempt"]),
        "progress" => format!("{:>3}% {}", percent(data), text(data, "progress_note")),
        "stdout" | "stderr" | "log" => {
            output::printable(String::from_utf8_lossy(&written(data)?).trim_end())
        }
        _ => text(data, "status"),
    };
    Ok(format!("{:<8} {what}", output::printable(&event.name)))
}

/// A piece of a stream.
fn written(data: &Value) -> anyhow::Result<Vec<u8>> {
    match (data["text"].as_str(), data["base64"].as_str()) {
        (Some(text), _) => Ok(text.as_bytes().to_vec()),
        (None, Some(base64)) => STANDARD
            .decode(base64)
            .context("the server's event has an unexpected form"),
        (None, None) => Ok(Vec::new()),
    }
}

/// Passes on every event until the closing `result`.
fn watch(
    client: &Client,
    id: &str,
    mut told: impl FnMut(&Event) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut last, mut resumes) = (None::<u64>, 0);
    loop {
        let seen = last;
        let number = last.map(|number| number.to_string());
        let header = number.as_deref().map(|number| ("last-event-id", number));
        let headers: Vec<(&str, &str)> = header.into_iter().collect();
        let mut lines = BufReader::new(client.stream(&path(id, "/events"), &headers)?).lines();
        while let Some(event) = next(&mut lines)? {
            last = event.number.or(last);
            told(&event)?;
            if event.name == "result" {
                return Ok(());
            }
        }
        resumes = if last == seen { resumes + 1 } else { 0 };
        anyhow::ensure!(
            resumes < RESUMES_MAX,
            "the server ended the stream of task {id}'s events before the task was final"
        );
        std::thread::sleep(RESUME_AFTER);
    }
}

/// The next event; `None` if the stream ends or breaks.
fn next(
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
) -> anyhow::Result<Option<Event>> {
    let (mut number, mut name, mut data) = (None, None, None);
    for line in lines.map_while(Result::ok) {
        match line.split_once(": ") {
            Some(("id", value)) => number = value.parse().ok(),
            Some(("event", value)) => name = Some(value.to_owned()),
            Some(("data", value)) => data = Some(serde_json::from_str(value)),
            // A heartbeat is a comment, and an empty line ends an event.
            Some(_) => {}
            None => {
                if let (Some(name), Some(data)) = (name.take(), data.take()) {
                    let data = data.context("the server's event is not JSON")?;
                    return Ok(Some(Event { number, name, data }));
                }
            }
        }
    }
    Ok(None)
}
