//! Code on the terminal while it runs: what it writes is shown as it comes.
//!
//! The answer at the end has all of it again. What the stream of events left out, because it was not
//! read soon enough, is shown from there.

use std::io::BufReader;

use serde_json::Value;

use crate::cli::client::{Answer, Client, cause, problem};
use crate::cli::{output, warm_up};
use crate::sse::{self, Event};

/// What was shown of standard output and standard error.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) stdout: Told,
    pub(super) stderr: Told,
}

/// What was told of one stream, up to where something was left out.
#[derive(Debug, Default)]
pub(super) struct Told {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Told {
    fn add(&mut self, bytes: &[u8]) -> bool {
        if !self.is_cut {
            self.bytes.extend_from_slice(bytes);
        }
        !self.is_cut
    }

    /// What of the whole was not told.
    pub(super) fn rest<'a>(&self, whole: &'a str) -> &'a str {
        // The whole is text, in which what is none was replaced.
        let told = String::from_utf8_lossy(&self.bytes);
        match self.is_cut {
            true => whole.strip_prefix(&*told).unwrap_or(whole),
            false => "",
        }
    }
}

/// POSTs code that is shown while it runs. Gives the answer and what was shown.
pub(super) fn run(client: &Client, path: &str, body: &Value) -> anyhow::Result<(String, Shown)> {
    let headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
    ];
    let text = body.to_string().into_bytes();
    let begin = || client.stream("POST", path, &headers, text.clone());
    let mut stream = BufReader::new(warm_up::when_ready(body, begin)?);
    let mut shown = Shown::default();
    while let Some(event) = sse::next(&mut stream).map_err(cause)? {
        match event.name.as_str() {
            "stdout" | "stderr" => show(&event, &mut shown)?,
            "truncated" => match event.json()?["stream"].as_str() {
                Some("stderr") => shown.stderr.is_cut = true,
                Some(_) | None => shown.stdout.is_cut = true,
            },
            "result" => return Ok((event.data, shown)),
            "error" => return Err(refusal(event)),
            // What a later host tells.
            _ => {}
        }
    }
    anyhow::bail!("the answer ended before the code did")
}

fn show(event: &Event, shown: &mut Shown) -> anyhow::Result<()> {
    let bytes = sse::written(&event.json()?)?.unwrap_or_default();
    match event.name.as_str() {
        "stdout" if shown.stdout.add(&bytes) => output::bytes(&bytes),
        "stderr" if shown.stderr.add(&bytes) => output::error_bytes(&bytes),
        _ => {}
    }
    Ok(())
}

/// A host that could begin and not go on.
fn refusal(event: Event) -> anyhow::Error {
    let status = event.json().ok().and_then(|told| told["status"].as_u64());
    let status = status.and_then(|status| u16::try_from(status).ok());
    let body = event.data.into_bytes();
    problem(Answer {
        status: status.unwrap_or(500),
        body,
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_shown_from_the_answer() {
        let mut told = Told::default();
        assert!(told.add(b"a\xffb"));
        assert_eq!(told.rest("a\u{fffd}b"), "");
        told.is_cut = true;
        assert!(!told.add(b"later"));
        assert_eq!(told.rest("a\u{fffd}b, between, later"), ", between, later");
    }
}
