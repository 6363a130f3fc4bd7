//! The one place that writes to the terminal.

use std::io::Write;

use serde_json::Value;

/// Writes a line to standard output; a closed pipe ends the program quietly.
pub(super) fn line(text: &str) {
    bytes(text.as_bytes());
    bytes(b"\n");
}

/// Writes bytes to standard output as they are.
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

/// Writes what the API returned.
pub(super) fn json(value: &Value) {
    line(&value.to_string());
}

/// Writes bytes to standard error as they are.
pub(super) fn error_bytes(bytes: &[u8]) {
    // There is nobody left to tell if standard error is closed.
    let _closed = std::io::stderr().lock().write_all(bytes);
}

/// Says on standard error what went wrong.
pub(super) fn complain(error: &anyhow::Error) {
    error_bytes(format!("cofferdam: {error:#}\n").as_bytes());
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
