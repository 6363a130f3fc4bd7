//! A task's events on the terminal, as they arrive.
//!
//! A broken stream is resumed after the last event that arrived; if the server cannot be reached,
//! the command ends.

use std::io::BufReader;
use std::time::Duration;

use serde_json::json;

use super::{get, is_final, path, percent, text};
use crate::cli::client::Client;
use crate::cli::events::{self, Event, written};
use crate::cli::output;
use crate::cli::told::Told;

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
                output::bytes(&written(&event.json()?)?);
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
            // Letter by letter: a number that is read would be rounded.
            let (number, name) = (json!(number), json!(name));
            output::line(&format!(
                r#"{{"id":{number},"event":{name},"data":{data}}}"#
            ));
        } else {
            output::line(&shown(event)?);
        }
        Ok(())
    })
}

fn shown(event: &Event) -> anyhow::Result<String> {
    let data = &event.json()?;
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

/// Tells every event until the closing `result`.
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
        let stream = client.stream("GET", &path(id, "/events"), &headers, Vec::new())?;
        let mut stream = BufReader::new(stream);
        // One that breaks is taken up again as one that ends is.
        while let Some(event) = events::next(&mut stream).unwrap_or(None) {
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
