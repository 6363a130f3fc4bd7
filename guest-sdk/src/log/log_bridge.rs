//! The `log` crate's records as lines of the task's log. Targets and source positions become
//! fields only where the author wrote them: the task's log is one module's.

use ::log::kv::{self, Key, Value, VisitSource};
use ::log::{LevelFilter, Log, Metadata, Record};

use super::Level;

struct Bridge;

/// Makes the bridge the global logger, unless the task has set one before.
pub(super) fn install() {
    if ::log::set_logger(&Bridge).is_ok() {
        ::log::set_max_level(LevelFilter::Info);
    }
}

pub(super) fn set_level(least: Level) {
    ::log::set_max_level(match least {
        Level::Trace => LevelFilter::Trace,
        Level::Debug => LevelFilter::Debug,
        Level::Info => LevelFilter::Info,
        Level::Warn => LevelFilter::Warn,
        Level::Error => LevelFilter::Error,
    });
}

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        super::enabled(level(metadata.level()))
    }

    fn log(&self, record: &Record<'_>) {
        let mut fields = Fields(Vec::new());
        // The visitor below never fails, and a source that fails loses only its own fields.
        let _ = record.key_values().visit(&mut fields);
        let fields: Vec<(&str, &str)> = fields
            .0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        super::emit(level(record.level()), &record.args().to_string(), &fields);
    }

    fn flush(&self) {}
}

const fn level(level: ::log::Level) -> Level {
    match level {
        ::log::Level::Trace => Level::Trace,
        ::log::Level::Debug => Level::Debug,
        ::log::Level::Info => Level::Info,
        ::log::Level::Warn => Level::Warn,
        ::log::Level::Error => Level::Error,
    }
}

struct Fields(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.0.push((key.to_string(), value.to_string()));
        Ok(())
    }
}
