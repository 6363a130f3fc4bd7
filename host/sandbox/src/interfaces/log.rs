//! `cofferdam:task/log`: structured lines, kept up to a limit as one JSON object a line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use serde::Serialize;
use wasmtime::component::{HasSelf, Linker};

use super::generated::cofferdam::task::log::{self, Field, Host, Level};
use crate::control::Observer;
use cofferdam_domain::attempt::{Captured, Stream};

/// One run's log. All clones are the same one.
#[derive(Clone)]
pub(crate) struct Ctx {
    kept_max: usize,
    kept: Lines,
    observer: Option<Arc<dyn Observer>>,
}

/// The lines that are kept. Cheap to clone; all clones share them.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    bytes: BytesMut,
    truncated: bool,
}

impl Lines {
    /// Takes them; the log continues empty.
    pub(crate) fn take(&self) -> Captured {
        let kept = std::mem::take(&mut *self.kept());
        Captured {
            bytes: kept.bytes.freeze(),
            truncated: kept.truncated,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the interface for a store whose data holds a [`Ctx`].
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut Ctx,
) -> wasmtime::Result<()> {
    log::add_to_linker::<T, HasSelf<Ctx>>(linker, get)
}

impl Ctx {
    /// An empty log that keeps `kept_max` bytes.
    pub(crate) fn new(kept_max: usize, observer: Option<Arc<dyn Observer>>) -> Ctx {
        Ctx {
            kept_max,
            kept: Lines::default(),
            observer,
        }
    }

    /// A line of the host's own.
    pub(crate) fn warn(&self, message: &str, fields: &[(&str, &str)]) {
        let fields: Vec<Field> = fields
            .iter()
            .map(|(key, value)| Field {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
            })
            .collect();
        self.push(Level::Warn, message, &fields);
    }

    /// The kept lines.
    pub(crate) fn lines(&self) -> &Lines {
        &self.kept
    }

    fn push(&self, level: Level, message: &str, fields: &[Field]) {
        let line = Line {
            level: word(level),
            message,
            fields: Fields(fields),
        };
        let mut text = serde_json::to_vec(&line).expect("text and numbers are always JSON");
        text.push(b'\n');
        // Only whole lines are kept, and none after the first dropped one, so the kept text is a
        // prefix.
        let mut kept = self.kept.kept();
        if kept.truncated || kept.bytes.len() + text.len() > self.kept_max {
            kept.truncated = true;
        } else {
            kept.bytes.extend_from_slice(&text);
        }
        drop(kept);
        if let Some(observer) = &self.observer {
            observer.wrote(Stream::Log, &text);
        }
    }
}

impl Host for Ctx {
    fn emit(&mut self, level: Level, message: String, fields: Vec<Field>) {
        self.push(level, &message, &fields);
    }
}

#[derive(Serialize)]
struct Line<'a> {
    level: &'static str,
    message: &'a str,
    fields: Fields<'a>,
}

/// The fields as one JSON object, in the guest's order.
struct Fields<'a>(&'a [Field]);

impl Serialize for Fields<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|field| (&field.key, &field.value)))
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}
