//! Server-sent events, as the API sends them, on their way in: to the command line, and to a host that
//! hears what another one tells.

use std::io::BufRead;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// What to resume after.
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    /// JSON, as it came.
    pub(crate) data: String,
}

impl Event {
    /// What is told.
    pub(crate) fn json(&self) -> Result<Value, BadEvent> {
        serde_json::from_str(&self.data).map_err(BadEvent::NotJson)
    }
}

/// An event is not what a host sends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadEvent {
    #[error("the server's event is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("the server's event is not what it should be")]
    NotBase64(#[source] base64::DecodeError),
}

/// The next event; `None` where the stream ends.
pub(crate) fn next(stream: &mut impl BufRead) -> std::io::Result<Option<Event>> {
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

/// A piece of a stream that a guest wrote; `None` if the event has none.
pub(crate) fn written(data: &Value) -> Result<Option<Vec<u8>>, BadEvent> {
    match (data["text"].as_str(), data["base64"].as_str()) {
        (Some(text), _) => Ok(Some(text.as_bytes().to_vec())),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64);
            bytes.map(Some).map_err(BadEvent::NotBase64)
        }
        (None, None) => Ok(None),
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
        let bytes = written(&event.json().unwrap()).unwrap();
        assert_eq!(bytes.as_deref(), Some(&b"a: b"[..]));
        assert_eq!(next(&mut stream).unwrap(), None);
    }
}
