//! What a run knows about itself, and its reports of progress. Natively the answers come from
//! [`crate::testing::Context`].

use std::time::Duration;

use crate::host;

/// The task's id (a UUID), or the empty string for a run that is not a queued task.
pub fn task_id() -> String {
    host::task_id()
}

/// Which attempt at the task this is, counted from 1.
pub fn attempt() -> u32 {
    host::attempt()
}

/// The time until the run's wall-clock deadline; zero once it has passed.
pub fn remaining() -> Duration {
    Duration::from_millis(host::remaining_ms())
}

/// True once the task was cancelled. The run then has the host's grace period to return what it
/// has, or a failure, before it is killed.
pub fn cancelled() -> bool {
    host::cancelled()
}

/// Reports how far the run has come, from 0 to 1, with a short note for whoever watches.
///
/// The host coalesces reports; calling this often costs little and loses only reports that a newer
/// one replaces.
pub fn progress(fraction: f64, note: impl AsRef<str>) {
    host::progress(fraction, note.as_ref());
}
