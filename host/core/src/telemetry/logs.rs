//! Log lines: one subscriber, to standard error, for people or as JSON.
//!
//! Text of a guest's or a caller's is only ever the value of a text field, where both formats
//! escape it (neither does so in `message`, nor the human one where a field is told by `%`);
//! standard output belongs to the command line's own answers.

use std::borrow::Cow;

use tracing_subscriber::EnvFilter;

use crate::telemetry::settings::{LogConfig, LogFormat};

/// What the lines of the protocol's library begin with.
const PROTOCOL: &str = "rmcp";

/// The log section cannot be put to use.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    /// The level is no filter.
    #[error("log.level: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// Another subscriber is installed already.
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

/// The level, without what the library of the Model Context Protocol says of every message. Whoever
/// wants to read that names it.
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
