//! The `tracing` crate's events as lines of the task's log, with the fields of the spans around
//! them. Spans themselves are not lines: the log has no durations.

use std::fmt::{self, Write as _};

use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Dispatch, Event, Interest, Metadata, Subscriber, dispatcher};

use super::spans::{self, Fields};
use super::{Level, enabled};

struct Bridge;

/// Makes the bridge the global subscriber, unless the task has set one before.
pub(super) fn install() {
    if !dispatcher::has_been_set() {
        // Another thread of a native test may have installed the same bridge first.
        let _ = dispatcher::set_global_default(Dispatch::new(Bridge));
    }
}

/// Call sites remember whether they are enabled; this makes them ask again.
pub(super) fn level_changed() {
    tracing_core::callsite::rebuild_interest_cache();
}

impl Subscriber for Bridge {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        enabled(level(*metadata.level()))
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Line::default();
        span.record(&mut fields);
        Id::from_u64(spans::open(span.metadata().name(), fields.fields))
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut fields = Line::default();
        values.record(&mut fields);
        spans::record(span.into_u64(), fields.fields);
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line {
            message: String::new(),
            fields: spans::entered_fields(),
        };
        event.record(&mut line);
        let fields: Vec<(&str, &str)> = line
            .fields
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        super::emit(level(*event.metadata().level()), &line.message, &fields);
    }

    fn enter(&self, span: &Id) {
        spans::enter(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        spans::exit(span.into_u64());
    }

    fn clone_span(&self, span: &Id) -> Id {
        spans::retain(span.into_u64());
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        spans::release(span.into_u64())
    }
}

fn level(level: tracing_core::Level) -> Level {
    // `tracing`'s level is not an enum; its order is from ERROR up to TRACE.
    if level == tracing_core::Level::ERROR {
        Level::Error
    } else if level == tracing_core::Level::WARN {
        Level::Warn
    } else if level == tracing_core::Level::INFO {
        Level::Info
    } else if level == tracing_core::Level::DEBUG {
        Level::Debug
    } else {
        Level::Trace
    }
}

/// Collects an event's message and fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: Fields,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.fields
                .push((field.name().to_owned(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string fails only if the value's own `Debug` fails; the text written until
        // then is kept.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }
}
