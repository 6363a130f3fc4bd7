//! A task's events on the terminal, as they arrive.
//!
//! A broken stream is resumed after the last event that arrived; if the server cannot be reached,
//! the command ends.

use std::io::BufReader;
use std::time::Duration;

use serde_json::{Value, json};

use super::{get, is_final, path, percent, text};
use crate::cli::client::Client;
use crate::cli::output;
use crate::cli::told::Told;
use crate::sse::{self, Event, written};

/// How often a stream without new events is resumed.
const RESUMES_MAX: u32 = 5;
/// How long to wait before that.
const RESUME_AFTER: Duration = Duration::from_secs(1);

/// Writes one stream of a task: what is there, or with `follow` what comes until it is final.
pub(super) fn logs(client: &Client, id: &str, stream: &str, follow: bool) -> anyhow::Result<()> {
    let mut followed = false;
    let is_over = |task: Told| is_final(&task);
    if follow && !is_over(get(client, id)?) {
        watch(client, id, |event| {
            if event.name == stream {
                followed = true;
                output::bytes(&written(&event.json()?)?.unwrap_or_default());
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
            let Event { id, name, data } = event;
            // Letter by letter: a number that is read would be rounded.
            let (id, name) = (shown_id(id.as_deref()), json!(name));
            output::line(&format!(r#"{{"id":{id},"event":{name},"data":{data}}}"#));
        } else {
            output::line(&shown(event)?);
        }
        Ok(())
    })
}

/// The id of an event in JSON: a number where there is one host.
fn shown_id(id: Option<&str>) -> Value {
    let number = id.and_then(|id| id.parse::<u64>().ok());
    number.map_or_else(|| json!(id), |number| json!(number))
}

fn shown(event: &Event) -> anyhow::Result<String> {
    let data = &event.json()?;
    let what = match event.name.as_str() {
        "status" => format!("{} (attempt {})", text(data, "status"), data["attempt"]),
        "progress" => format!("{:>3}% {}", percent(data), text(data, "progress_note")),
        "stdout" | "stderr" | "log" => {
            let bytes = written(data)?.unwrap_or_default();
            output::printable(String::from_utf8_lossy(&bytes).trim_end())
        }
        _ => text(data, "status"),
    };
    Ok(format!("{:<8} {what}", output::printable(&event.name)))
}

/// Tells every event until the closing `result`.
fn watch(
    client: &Client,
    id: &str,
    mut told: impl FnMut(&Event) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut last, mut resumes) = (None::<String>, 0);
    loop {
        let seen = last.clone();
        let header = seen.as_deref().map(|id| ("last-event-id", id));
        let headers: Vec<(&str, &str)> = header.into_iter().collect();
        let stream = client.stream("GET", &path(id, "/events"), &headers, Vec::new())?;
        let mut stream = BufReader::new(stream);
        // One that breaks is taken up again as one that ends is.
        while let Some(event) = sse::next(&mut stream).unwrap_or(None) {
            last = event.id.clone().or(last);
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
