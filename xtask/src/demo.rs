//! `cargo xtask demo`.
use std::path::Path;
/// x
pub(crate) fn run(_root: &Path) -> anyhow::Result<()> {
    Ok(())
}
