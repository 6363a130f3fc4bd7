//! `cargo xtask fuzz TARGET [--seconds N]`: the long run of a fuzz target, guided by what the code
//! does with each input.
//!
//! The inputs that it goes on from are kept below `target/`; the committed corpus is only read. What
//! fails lies in `target/fuzz/failed/TARGET` and belongs, once it is mended, into `fuzz/corpus/TARGET`.

use std::path::Path;

use anyhow::{Context, bail};

use crate::process::{run_with, say};
use crate::set_up;
use crate::tools;

/// How long a run takes that does not say.
const SECONDS: u32 = 300;
/// The longest input.
const INPUT_BYTES_MAX: u32 = 4096;
/// What one input may take.
const INPUT_SECONDS_MAX: u32 = 20;
const MEMORY_MIB_MAX: u32 = 4096;

/// Link-time optimisation takes minutes, and an instrumented program gains nothing by it.
const SOON: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_STRIP", "none"),
];

/// Runs a target for so long, or until it fails.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let targets = targets(root)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let usage = || {
        let targets = targets.join(", ");
        format!("usage: cargo xtask fuzz TARGET [--seconds N]; the targets are {targets}")
    };
    let (target, seconds) = match arguments.as_slice() {
        [target] => (*target, SECONDS),
        [target, "--seconds", seconds] => (*target, seconds.parse().with_context(usage)?),
        _ => bail!(usage()),
    };
    if !targets.iter().any(|known| known == target) {
        bail!(usage());
    }
    // libFuzzer is C++.
    set_up::programs(root, &[("c++", "g++")])?;
    let cargo_fuzz = tools::FUZZ.get(root)?;
    let grown = format!("target/fuzz/corpus/{target}");
    let failed = format!("target/fuzz/failed/{target}/");
    std::fs::create_dir_all(root.join(&grown))?;
    std::fs::create_dir_all(root.join(&failed))?;
    let seeds = format!("fuzz/corpus/{target}");
    let limits = [
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_BYTES_MAX}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
        format!("-artifact_prefix={failed}"),
        "-print_final_stats=1".to_owned(),
    ];
    // Nothing here is unsafe code of this project's, so no sanitizer is needed; those would take
    // another toolchain.
    let mut arguments = vec![
        "run",
        "--fuzz-dir",
        "fuzz",
        "--sanitizer",
        "none",
        "--strip-dead-code",
        "--features",
        "long",
        "--target-dir",
        "target/fuzz/build",
        target,
        &grown,
        &seeds,
        "--",
    ];
    arguments.extend(limits.iter().map(String::as_str));
    run_with(root, &cargo_fuzz, &arguments, &SOON)?;
    say(&format!("{target}: nothing was found in {seconds} s."));
    Ok(())
}

/// The targets, each of which has a corpus.
fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(root.join("fuzz/corpus"))? {
        targets.push(entry?.file_name().to_string_lossy().into_owned());
    }
    targets.sort();
    Ok(targets)
}
