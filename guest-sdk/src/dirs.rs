//! The directories of a task: its large input, its output files, and scratch space. `std::fs` reads
//! and writes them.
//!
//! In a sandbox they are `/in`, `/out` and `/work`. In a native test they are directories of the
//! test's [`Context`](crate::testing::Context); a task that asks here instead of hard-coding the
//! paths can be tested with files.

use std::path::PathBuf;

/// The task's input files, read-only: a large input is the file `payload`.
pub fn input() -> PathBuf {
    crate::host::dir("in")
}

/// The task's output files: every file below becomes an artifact.
pub fn out() -> PathBuf {
    crate::host::dir("out")
}

/// Scratch space, removed when the attempt ends.
pub fn work() -> PathBuf {
    crate::host::dir("work")
}
