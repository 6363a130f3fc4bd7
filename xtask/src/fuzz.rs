//! `cargo xtask fuzz TARGET [--seconds N]`: the long run of a fuzz target, guided by what the code
//! does with each input.
//!
//! Only this project's own crates are instrumented, which are what is tried: instrumenting wasmtime as
//! well would take an hour. So all others are those that the tests use. cargo starts the compiler of
//! the project's crates through this program, which adds what libFuzzer needs.
//!
//! The inputs that it goes on from are kept below `target/`; the committed corpus is only read. What
//! fails lies in `target/fuzz/failed/TARGET` and belongs, once it is mended, into `fuzz/corpus/TARGET`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::process::{self, run_with, say};
use crate::set_up;

/// How long a run takes that does not say.
const SECONDS: u32 = 300;
/// The longest input.
const INPUT_BYTES_MAX: u32 = 4096;
/// What one input may take.
const INPUT_SECONDS_MAX: u32 = 20;
const MEMORY_MIB_MAX: u32 = 4096;

/// Set where cargo is to start compilers through this program.
pub(crate) const COMPILES: &str = "COFFERDAM_FUZZ_COMPILES";
/// What the compiler adds to every crate that is tried: counters of edges, and what is compared.
const INSTRUMENTED: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
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
    build(root, target)?;
    let program = root.join("target/debug").join(target);
    let mut arguments = vec![grown.as_str(), &seeds];
    arguments.extend(limits.iter().map(String::as_str));
    process::run(root, &program.to_string_lossy(), &arguments)?;
    say(&format!("{target}: nothing was found in {seconds} s."));
    Ok(())
}

/// Builds the program of a target.
fn build(root: &Path, target: &str) -> anyhow::Result<()> {
    let compiler = std::env::current_exe().context("this program's own path is unknown")?;
    let compiler = compiler.to_string_lossy();
    let environment = [
        ("RUSTC_WORKSPACE_WRAPPER", &*compiler),
        (COMPILES, "1"),
        // The crates that are tried, and no others.
        ("CARGO_PROFILE_DEV_OPT_LEVEL", "1"),
    ];
    let features = "cofferdam-fuzz/long";
    // There are no examples; asked for them, cargo chooses the features that it chooses for tests.
    let arguments = [
        "build",
        "--workspace",
        "--examples",
        "--bin",
        target,
        "--features",
        features,
    ];
    run_with(root, "cargo", &arguments, &environment)
}

/// Starts the compiler that the arguments name, as cargo asks for it.
pub(crate) fn compile(arguments: &[OsString]) -> ExitCode {
    let Some((compiler, arguments)) = arguments.split_first() else {
        return ExitCode::from(2);
    };
    let mut command = Command::new(compiler);
    command.args(arguments);
    if is_tried(arguments) {
        command.args(INSTRUMENTED);
    }
    let error = command.exec();
    say(&format!("xtask: {}: {error}", compiler.display()));
    ExitCode::FAILURE
}

/// Whether it is a crate of the program that is built: not one that runs while others are compiled.
fn is_tried(arguments: &[OsString]) -> bool {
    arguments.windows(2).all(|pair| {
        let value = pair[1].to_string_lossy();
        match pair[0].to_str() {
            Some("--crate-name") => !value.starts_with("build_script_"),
            Some("--crate-type") => value != "proc-macro",
            Some(_) | None => true,
        }
    })
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
