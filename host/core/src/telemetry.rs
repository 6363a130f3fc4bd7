//! Log lines and metrics of the host.
//!
//! Any module may use this one; it uses only the domain. It has no endpoint (that is in `http`) and
//! no sampling thread; gauges are read when they are requested.

pub mod classic;
mod logs;
pub mod metrics;
pub mod process;
pub mod settings;
pub mod spread;

use crate::telemetry::settings::LogConfig;

/// Sends every log line of the process to standard error from now on.
pub fn init(config: &LogConfig) -> anyhow::Result<()> {
    Ok(logs::init(config)?)
}
