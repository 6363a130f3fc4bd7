//! `cofferdam:task/log`: structured lines, kept up to a limit as one JSON object a line.

use std::sync::Arc;

use bytes::BytesMut;
use serde::Serialize;
use wasmtime::component::{HasSelf, Linker};

use super::generated::cofferdam::task::log::{self, Field, Host, Level};
use crate::control::Observer;
use cofferdam_domain::attempt::{Captured, Stream};

/// One run's log.
pub(crate) struct Ctx {
    kept_max: usize,
    kept: BytesMut,
    truncated: bool,
    observer: Option<Arc<dyn Observer>>,
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
            kept: BytesMut::new(),
            truncated: false,
            observer,
        }
    }

    /// Takes the kept lines; the log continues empty.
    pub(crate) fn take(&mut self) -> Captured {
        Captured {
            bytes: std::mem::take(&mut self.kept).freeze(),
            truncated: std::mem::take(&mut self.truncated),
        }
    }
}

impl Host for Ctx {
    fn emit(&mut self, level: Level, message: String, fields: Vec<Field>) {
        let line = Line {
            level: word(level),
            message: &message,
            fields: Fields(&fields),
        };
        let mut text = serde_json::to_vec(&line).expect("text and numbers are always JSON");
        text.push(b'\n');
        // Only whole lines are kept, and none after the first dropped one, so the kept text is a
        // prefix.
        if self.truncated || self.kept.len() + text.len() > self.kept_max {
            self.truncated = true;
        } else {
            self.kept.extend_from_slice(&text);
        }
        if let Some(observer) = &self.observer {
            observer.wrote(Stream::Log, &text);
        }
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
