//! The one place that writes to the terminal, in the same form for every command.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::Value;

/// Writes a line to standard output; a closed pipe ends the program quietly.
pub(super) fn line(text: &str) {
    bytes(text.as_bytes());
    bytes(b"\n");
}

/// Writes bytes to standard output unchanged.
pub(super) fn bytes(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    if stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .is_err()
    {
        std::process::exit(0);
    }
}

/// Writes the API's answer.
pub(super) fn json(value: &Value) {
    line(&value.to_string());
}

/// Writes bytes to standard error unchanged.
pub(super) fn error_bytes(bytes: &[u8]) {
    // If standard error is closed, nobody can be told.
    let _closed = std::io::stderr().lock().write_all(bytes);
}

/// Writes an error to standard error.
pub(super) fn complain(error: &anyhow::Error) {
    error_bytes(format!("cofferdam: {error:#}\n").as_bytes());
}

/// A spinner on a terminal, nothing elsewhere.
pub(super) fn spinner(message: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// The directory of compiled code between two commands: in `$XDG_CACHE_HOME`, else in `~/.cache`,
/// else in the directory for temporary files.
pub(super) fn cache_dir() -> PathBuf {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("cofferdam")
}

/// Text that came from a guest or a server, made harmless for a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}
