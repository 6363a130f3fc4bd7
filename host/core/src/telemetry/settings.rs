//! `[log]`: the host's log on standard error.

/// The section.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The format of a line.
    pub format: LogFormat,
    /// A level, or a filter such as `info,cofferdam::queue=debug`.
    pub level: String,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
        }
    }

    /// The format with that name.
    pub fn parse(word: &str) -> Option<LogFormat> {
        [LogFormat::Human, LogFormat::Json]
            .into_iter()
            .find(|format| format.as_str() == word)
    }
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            format: LogFormat::Human,
            level: "info".to_owned(),
        }
    }
}
