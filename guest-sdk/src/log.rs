//! Structured lines in the task's log: [`emit`], the level below which nothing is sent, and the
//! bridges from the `log` and `tracing` crates (features of the same names), which are installed
//! before the task runs.

#[cfg(feature = "log")]
mod log_bridge;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(feature = "tracing")]
mod tracing_bridge;

use std::sync::atomic::{AtomicU8, Ordering};

use crate::host;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What an operator wants to read.
    Info,
    /// Something is off, and the run goes on.
    Warn,
    /// Something failed.
    Error,
}

static LEAST: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Sets the least important level that is sent to the host; [`Level::Info`] at the start.
///
/// Call it at the beginning of the task. It covers [`emit`] and both bridges.
pub fn set_level(least: Level) {
    LEAST.store(least as u8, Ordering::Relaxed);
    #[cfg(feature = "log")]
    log_bridge::set_level(least);
    #[cfg(feature = "tracing")]
    tracing_bridge::level_changed();
}

/// Whether a line of this level would be sent.
pub fn enabled(level: Level) -> bool {
    level as u8 >= LEAST.load(Ordering::Relaxed)
}

/// Sends one line with its fields to the task's log.
///
/// ```
/// use cofferdam_guest::log::{self, Level};
///
/// log::emit(Level::Warn, "row skipped", &[("line", "17"), ("reason", "no price")]);
/// ```
pub fn emit(level: Level, message: &str, fields: &[(&str, &str)]) {
    if enabled(level) {
        host::log(level, message, fields);
    }
}

/// Connects the crates whose features are on. A task that has installed its own logger keeps it.
#[cfg_attr(
    not(any(feature = "log", feature = "tracing")),
    expect(
        clippy::missing_const_for_fn,
        reason = "with a feature on it is not const"
    )
)]
pub(crate) fn install() {
    #[cfg(feature = "log")]
    log_bridge::install();
    #[cfg(feature = "tracing")]
    tracing_bridge::install();
}
