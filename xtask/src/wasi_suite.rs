//! `cargo xtask wasi-suite PATH`: the public tests of WASI 0.1, from a checkout of their repository,
//! against `cofferdam run`.
//!
//! No package contains those tests, so they are not part of `cargo xtask test`. `tests/wasi/run.py`
//! runs them.

use std::path::Path;

use anyhow::{Context, bail};

use crate::process;
use crate::set_up;

/// Builds the program and runs every test of the checkout.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let [checkout] = arguments else {
        bail!("usage: cargo xtask wasi-suite PATH, a checkout of wasi-testsuite");
    };
    let checkout = std::fs::canonicalize(checkout).with_context(|| checkout.clone())?;
    set_up::programs(root, &[("python3", "python3")])?;
    let build = ["build", "--workspace", "--bin", "cofferdam"];
    process::run(root, "cargo", &build)?;
    let arguments = [
        "tests/wasi/run.py",
        "target/debug/cofferdam",
        &checkout.to_string_lossy(),
    ];
    process::run(root, "python3", &arguments)
}
