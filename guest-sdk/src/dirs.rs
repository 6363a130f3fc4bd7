//! The directories of a task: its large input, what it leaves, and scratch space. `std::fs` reads
//! and writes them.
//!
//! In a sandbox they are `/in`, `/out` and `/work`. In a native test they are directories of the
//! test's [`Context`](crate::testing::Context); a task that asks here instead of writing the paths
//! down can be tested with files.

use std::path::PathBuf;

/// What was given to the task: a large input is the file `payload`. Read-only.
pub fn input() -> PathBuf {
    crate::host::dir("in")
}

/// What the task leaves: every file below becomes an artifact.
pub fn out() -> PathBuf {
    crate::host::dir("out")
}

/// Scratch space. It goes with the attempt.
pub fn work() -> PathBuf {
    crate::host::dir("work")
}
