//! The composition root.

use crate::config::Config;

/// Serves until asked to stop.
pub fn serve(_config: Config) -> anyhow::Result<()> {
    todo!()
}
