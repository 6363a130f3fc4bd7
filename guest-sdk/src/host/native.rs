//! The host of a native test: the thread's [`Context`](crate::testing::Context), or plain answers
//! when no test has entered one.

use std::path::PathBuf;

use crate::log::Level;
use crate::testing::{Line, Progress, current};

/// The answer of `remaining` outside a test's context: the host's default time-out.
const DEFAULT_REMAINING_MS: u64 = 30_000;

pub(crate) fn task_id() -> String {
    current(|state| state.task_id.clone()).unwrap_or_default()
}

pub(crate) fn attempt() -> u32 {
    current(|state| state.attempt).unwrap_or(1)
}

pub(crate) fn remaining_ms() -> u64 {
    current(|state| state.remaining_ms).unwrap_or(DEFAULT_REMAINING_MS)
}

pub(crate) fn cancelled() -> bool {
    current(|state| state.ask_cancelled()).unwrap_or(false)
}

/// The directories of the context. Outside a context the paths are those of a sandbox, which a
/// native program does not have.
pub(crate) fn dir(name: &str) -> PathBuf {
    current(|state| state.folder().area(name)).unwrap_or_else(|| PathBuf::from(format!("/{name}")))
}

pub(crate) fn progress(fraction: f64, note: &str) {
    let fraction = fraction.clamp(0.0, 1.0);
    current(|state| {
        state.progress.push(Progress {
            fraction,
            note: note.to_owned(),
        })
    });
}

pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields = fields
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    current(|state| {
        state.log.push(Line {
            level,
            message: message.to_owned(),
            fields,
        })
    });
}

/// The context answers; outside of one, and in one that was told no answers, nothing is granted.
#[cfg(feature = "http")]
pub(crate) fn send(
    request: &crate::http::Request,
) -> Result<crate::http::Response, crate::http::Error> {
    let answers = current(|state| state.answers.clone()).flatten();
    match answers {
        Some(answers) => (answers.0)(request),
        None => Err(crate::http::Error::Denied(request.about())),
    }
}
