//! Server-sent events, as the API sends them, on their way in.

use std::io::BufRead;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// What to resume after.
    pub(super) id: Option<String>,
    pub(super) name: String,
    /// JSON, as it came.
    pub(super) data: String,
}

impl Event {
    /// What is told.
    pub(super) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.data).context("the server's event is not JSON")
    }
}

/// The next event; `None` where the stream ends.
pub(super) fn next(stream: &mut impl BufRead) -> std::io::Result<Option<Event>> {
    let (mut id, mut name, mut data) = (None, None, None);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end_matches(['\n', '\r']).split_once(": ") {
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("event", value)) => name = Some(value.to_owned()),
            Some(("data", value)) => data = Some(value.to_owned()),
            // A heartbeat is a comment, and an empty line ends an event.
            Some(_) => {}
            None => {
                if let (Some(name), Some(data)) = (name.take(), data.take()) {
                    return Ok(Some(Event { id, name, data }));
                }
            }
        }
    }
}

/// A piece of a stream that a guest wrote.
pub(super) fn written(data: &Value) -> anyhow::Result<Vec<u8>> {
    match (data["text"].as_str(), data["base64"].as_str()) {
        (Some(text), _) => Ok(text.as_bytes().to_vec()),
        (None, Some(base64)) => STANDARD
            .decode(base64)
            .context("the server's event is not what it should be"),
        (None, None) => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_no_events_and_an_end_within_one_is_the_end() {
        let text = b": alive\n\nid: 7\nevent: stdout\ndata: {\"text\":\"a: b\"}\n\nevent: result\n";
        let mut stream = &text[..];
        let event = next(&mut stream).unwrap().unwrap();
        assert_eq!(
            (event.id.as_deref(), event.name.as_str()),
            (Some("7"), "stdout")
        );
        assert_eq!(written(&event.json().unwrap()).unwrap(), b"a: b");
        assert_eq!(next(&mut stream).unwrap(), None);
    }
}
