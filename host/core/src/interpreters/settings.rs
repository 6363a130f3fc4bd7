//! `[interpreters]`: code execution. The pool's own keys are with the sandbox's fields.

use std::path::PathBuf;
use std::time::Duration;

/// The section.
#[derive(Clone, Debug)]
pub struct InterpretersConfig {
    /// Where `python.wasm` and `javascript.wasm` are; if empty, the directory `interpreters` beside
    /// the program.
    pub dir: PathBuf,
    /// Wheels that Python code may import; if empty, none.
    pub packages: PathBuf,
    /// Executions that begin at once; 0 means one per core. Others wait for their turn.
    pub running_max: usize,
    /// How long the files of an execution are kept.
    pub files_retention: Duration,
}

impl Default for InterpretersConfig {
    fn default() -> InterpretersConfig {
        InterpretersConfig {
            dir: PathBuf::new(),
            packages: PathBuf::new(),
            running_max: 0,
            files_retention: Duration::from_secs(60 * 60),
        }
    }
}
