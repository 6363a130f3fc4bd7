//! Stands for telemetry until it lands.
pub fn init(_config: &crate::config::telemetry::LogConfig) -> anyhow::Result<()> {
    todo!()
}
