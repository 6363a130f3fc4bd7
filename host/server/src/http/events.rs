//! `GET /v1/tasks/{id}/events`: a task's events, as server-sent events.
//!
//! The stream is pulled: nothing is read from the subscription before the connection has taken the
//! previous event, so a slow reader costs only the subscription's bounded buffer. Each event has
//! the number that `Last-Event-ID` resumes after; the first `status` of a new stream and the
//! closing `result` come from storage and have no number. Each host counts on its own, so where there are
//! several a number is followed by what host gave it; another one begins its stream anew.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::Serialize;
use serde_json::{Value, json};

use crate::http::AppState;
use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::path::{PathParts, unknown_task};
use crate::http::peers::FromAnotherHost;
use crate::http::tasks::{find, view};
use crate::intake::query::Query;
use cofferdam::queue::events::{Event, EventKind};
use cofferdam::queue::watch::{Reach, Watch as TaskWatch};
use cofferdam_domain::caller::Caller;
use cofferdam_domain::task::TaskId;

/// How often a silent stream sends a sign of life.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a watcher may take to get the last events before the listeners close.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Watch a task
///
/// The events are `status`, `progress`, `stdout`, `stderr`, `log`, and at the end `result` with the
/// whole task. Output that is not UTF-8 comes as `base64` instead of `text`.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/events", operation_id = "watch_task", tag = "Tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("Last-Event-ID" = Option<String>, Header, description = "Resume after the event with this id; a host that did not give it tells all that it knows"),
    ),
    responses((status = 200, description = "Events until the task is final", content_type = "text/event-stream")),
)]
pub(crate) async fn events(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
    headers: HeaderMap,
    FromAnotherHost(from_another): FromAnotherHost,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let id = path.task()?;
    // Another host knows who counted.
    let mark = services.peers.mark().filter(|_| !from_another);
    let last = last_event_id(&headers, mark)?;
    let reach = match from_another {
        true => Reach::ThisHost,
        false => Reach::AllHosts,
    };
    let (queue, seen) = (&services.queue, last.unwrap_or(0));
    let watched = queue.watch(&caller, id, seen, reach).await?;
    let (task, watch) = watched.ok_or_else(|| unknown_task(id))?;
    let phase = match (task.state.is_final(), last) {
        (false, None) => Phase::First(json!({
            "status": task.state.as_str(),
            "label": task.label(services.clock.now()).as_str(),
            "attempt": task.attempt,
        })),
        (true, _) | (false, Some(_)) => Phase::Following,
    };
    let watch = Watch {
        services,
        caller,
        id,
        events: watch,
        mark,
        phase,
    };
    let pieces = stream::unfold(watch, |mut watch| async {
        let piece = watch.next().await?;
        Some((Ok::<_, Infallible>(piece), watch))
    });
    Ok(stream_of(pieces))
}

/// A streamed answer of events.
pub(crate) fn stream_of(
    pieces: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Response {
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The event to resume after; `None` if another host gave its number.
fn last_event_id(headers: &HeaderMap, own: Option<u32>) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let read = |text: &str| match text.split_once('.') {
        None => text.parse().ok().map(Some),
        Some((number, mark)) => {
            let number: u64 = number.parse().ok()?;
            let mark = u32::from_str_radix(mark, 16).ok()?;
            Some((own == Some(mark)).then_some(number))
        }
    };
    value.to_str().ok().and_then(read).ok_or_else(|| {
        ApiError::bad_request(
            "invalid_header",
            "Last-Event-ID: not the number of an event",
        )
        .with("field", "Last-Event-ID")
    })
}

struct Watch {
    services: AppState,
    caller: Caller,
    id: TaskId,
    events: TaskWatch,
    /// What follows the numbers.
    mark: Option<u32>,
    phase: Phase,
}

enum Phase {
    /// The status comes first.
    First(Value),
    /// Events are sent as they come.
    Following,
    /// Everything was sent.
    Over,
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::First(status) => {
                self.phase = Phase::Following;
                Some(piece(None, "status", &status))
            }
            Phase::Following => self.follow().await,
            Phase::Over => None,
        }
    }

    async fn follow(&mut self) -> Option<Bytes> {
        let event = tokio::select! {
            event = self.events.next() => event,
            () = tokio::time::sleep(HEARTBEAT) => {
                self.phase = Phase::Following;
                return Some(heartbeat());
            }
            // The client resumes at a host that is not shutting down, after it has got an end that
            // the drain waited for.
            () = self.services.closing.requested() => {
                match tokio::time::timeout(LAST_WORD, self.events.next()).await {
                    Ok(event) => event,
                    Err(_elapsed) => return None,
                }
            }
        };
        match event {
            Some(event) => {
                self.phase = Phase::Following;
                Some(told(&event, self.mark))
            }
            None => self.result().await,
        }
    }

    async fn result(&self) -> Option<Bytes> {
        let found = find(&self.services, &self.caller, self.id, Duration::ZERO).await;
        let shown = match found {
            Ok(task) => view(&self.services, task).await,
            Err(error) => Err(error),
        };
        match shown {
            Ok(task) => Some(piece(None, "result", &task)),
            // The task was pruned, or storage fails: the stream ends without a result, and the next
            // request says why.
            Err(_gone) => None,
        }
    }
}

/// A silent stream's sign of life, which every client skips.
pub(crate) fn heartbeat() -> Bytes {
    Bytes::from_static(b": heartbeat\n\n")
}

fn told(event: &Event, mark: Option<u32>) -> Bytes {
    let (name, data) = match &event.kind {
        EventKind::Status { state, attempt } => (
            "status",
            json!({ "status": state.as_str(), "attempt": attempt }),
        ),
        EventKind::Progress { fraction, note } => (
            "progress",
            json!({ "progress": fraction, "progress_note": note }),
        ),
        EventKind::Wrote { stream, bytes } => (stream.as_str(), written(bytes)),
    };
    let number = event.number;
    let id = match mark {
        None => number.to_string(),
        Some(mark) => format!("{number}.{mark:08x}"),
    };
    piece(Some(&id), name, &data)
}

/// Output of a stream: text, or base64 if it is not UTF-8.
pub(crate) fn written(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// One event. Line breaks in JSON are only whitespace between tokens, so one data line is enough.
/// The value is written unchanged: parsing it into a tree would round its numbers, and would fail
/// if a guest's value is nested too deep.
pub(crate) fn piece(id: Option<&str>, name: &str, data: &impl Serialize) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let data = serde_json::to_string(data)
        .expect("an event is plain JSON")
        .replace(['\n', '\r'], " ");
    Bytes::from(format!("{id}event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_domain::attempt::Stream;

    #[test]
    fn output_of_a_guest_cannot_forge_an_event() {
        let bytes = Bytes::from_static(b"x\n\nevent: result\ndata: {}\n\n");
        let event = Event {
            number: 7,
            kind: EventKind::Wrote {
                stream: Stream::Stdout,
                bytes,
            },
        };
        let text = told(&event, None);
        assert!(text.starts_with(b"id: 7\nevent: stdout\ndata: {\"text\":\"x\\n\\nevent:"));
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 4);
    }

    #[test]
    fn output_that_is_no_text_is_told_without_loss() {
        let bytes = Bytes::from_static(&[0xff, 0]);
        let event = Event {
            number: 1,
            kind: EventKind::Wrote {
                stream: Stream::Log,
                bytes,
            },
        };
        assert_eq!(
            told(&event, None),
            "id: 1\nevent: log\ndata: {\"base64\":\"/wA=\"}\n\n"
        );
    }

    #[test]
    fn last_event_ids_are_numbers() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", HeaderValue::from_static(value));
            last_event_id(&headers, Some(0xab))
        };
        assert_eq!(read("12").unwrap(), Some(12));
        assert_eq!(read("12.000000ab").unwrap(), Some(12));
        assert_eq!(read("12.000000ac").unwrap(), None);
        for bad in ["", "x", "-1", "1.", "1.x", ".ab", "99999999999999999999"] {
            assert_eq!(read(bad).unwrap_err().code(), "invalid_header", "{bad}");
        }
    }
}
