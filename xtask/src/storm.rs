//! `cargo xtask storm N` and `cargo xtask storm workflows N`: the storms of the suite (`tests/it/proof.rs`), with as
//! many tasks or workflows as one likes. They tell what happened, and what of it should not have.

use std::path::Path;

use anyhow::bail;

use crate::process::run_with;
use crate::{guests, set_up, tools};

const TASKS: &str = "a_storm_over_three_hosts_keeps_every_promise";
const WORKFLOWS: &str = "workflows::workflows_end_whichever_hosts_die";

/// Runs one of them.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let number = |text: &String| text.parse::<u64>().is_ok();
    let (which, variable, many) = match arguments {
        [tasks] if number(tasks) => (TASKS, "STORM_TASKS", tasks),
        [what, workflows] if what == "workflows" && number(workflows) => {
            (WORKFLOWS, "STORM_WORKFLOWS", workflows)
        }
        _ => bail!("usage: cargo xtask storm [workflows] N, with the number of tasks or workflows"),
    };
    set_up::postgres(root)?;
    guests::build(root)?;
    let nextest = tools::NEXTEST.get(root)?;
    let which = format!("test(=proof::{which})");
    let arguments = ["nextest", "run", "--workspace", "--no-capture"];
    let filter = ["--profile", "storm", "-E", &which];
    let environment = [(variable, many.as_str())];
    let arguments = [&arguments[..], &filter].concat();
    run_with(root, &nextest, &arguments, &environment)
}
