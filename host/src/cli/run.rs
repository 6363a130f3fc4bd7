//! `cofferdam run`: one module, here and now, without a server.

use std::process::ExitCode;

use clap::Args;

/// Flags of `run`.
#[derive(Debug, Args)]
pub(super) struct Run {}

pub(super) fn run(_command: Run, _json: bool) -> anyhow::Result<ExitCode> {
    todo!()
}
