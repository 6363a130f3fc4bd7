//! Log lines: one subscriber, to standard error, for people or as JSON.
//!
//! Text of a guest or a caller is only ever the value of a string field, where both formats escape
//! it (neither escapes `message`, and the human format does not escape a field logged with `%`).
//! Standard output belongs to the command line's own answers.

use std::borrow::Cow;

use tracing_subscriber::EnvFilter;

use crate::telemetry::settings::{LogConfig, LogFormat};

/// The log target of the MCP library.
const PROTOCOL: &str = "rmcp";

/// The log section cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    /// The level is not a filter.
    #[error("log.level: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// Another subscriber is already installed.
    #[error("logging was set up twice")]
    Twice,
}

/// Sends every log line of the process to standard error from now on.
pub(super) fn init(config: &LogConfig) -> Result<(), LogError> {
    let filter = EnvFilter::builder().parse(quiet(&config.level))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(true);
    let installed = match config.format {
        LogFormat::Human => lines.with_ansi(is_terminal()).try_init(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .try_init(),
    };
    installed.map_err(|_another_is_installed| LogError::Twice)
}

/// The level, without the MCP library's lines about every message, which a filter can turn on by
/// name.
fn quiet(level: &str) -> Cow<'_, str> {
    match level.contains(PROTOCOL) {
        true => Cow::Borrowed(level),
        false => Cow::Owned(format!("{PROTOCOL}=off,{level}")),
    }
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_no_filter_is_refused() {
        let config = LogConfig {
            level: "cofferdam=loud".to_owned(),
            ..LogConfig::default()
        };
        assert!(matches!(init(&config), Err(LogError::Level(_))));
    }

    #[test]
    fn the_protocols_library_is_heard_only_by_name() {
        assert_eq!(quiet("info"), "rmcp=off,info");
        assert_eq!(quiet("info,rmcp=debug"), "info,rmcp=debug");
    }
}
