//! What the host says of itself: log lines and metrics.
//!
//! A leaf that anything may use and that uses nothing of ours but the domain's words. What is not
//! here: no endpoint (that is `http`), no sampling thread; gauges are read when asked for.

pub mod classic;
mod logs;
pub mod metrics;
pub mod process;
pub mod settings;

use crate::telemetry::settings::LogConfig;

/// Sends every log line of the process to standard error from now on.
pub fn init(config: &LogConfig) -> anyhow::Result<()> {
    Ok(logs::init(config)?)
}
