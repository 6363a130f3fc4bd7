//! `cargo xtask storm N`: the storm that ends the suite (`tests/it/proof.rs`), with as many tasks as one
//! likes. It tells what happened, and what of it should not have.

use std::path::Path;

use anyhow::bail;

use crate::process::run_with;
use crate::{guests, set_up, tools};

/// Runs it.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let tasks = match arguments {
        [tasks] if tasks.parse::<u64>().is_ok() => tasks,
        _ => bail!("usage: cargo xtask storm N, with the number of tasks"),
    };
    set_up::postgres(root)?;
    guests::build(root)?;
    let nextest = tools::NEXTEST.get(root)?;
    let which = "test(=proof::a_storm_over_three_hosts_keeps_every_promise)";
    let arguments = ["nextest", "run", "--workspace", "--no-capture"];
    let filter = ["--profile", "storm", "-E", which];
    let environment = [("STORM_TASKS", tasks.as_str())];
    let arguments = [&arguments[..], &filter].concat();
    run_with(root, &nextest, &arguments, &environment)
}
