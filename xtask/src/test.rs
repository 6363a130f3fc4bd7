//! `cargo xtask test`: everything that can show a fault, cheapest first.

use std::path::Path;

use anyhow::ensure;

use crate::process::{self, exists, run_with, say};
use crate::{guests, interpreters, peers};

/// Runs the whole suite.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    say("== form");
    process::run(root, "cargo", &["fmt", "--all", "--check"])?;
    process::run(
        &root.join("examples"),
        "cargo",
        &["fmt", "--all", "--check"],
    )?;
    say("== guests");
    guests::build(root)?;
    peers::of_tests(root)?;
    for native in ["python3", "node"] {
        ensure!(
            exists(native, "--version"),
            "{native} is not installed; what the interpreters print is compared with it"
        );
    }
    say("== lints");
    process::run(
        root,
        "cargo",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    say("== builds");
    process::run(root, "cargo", &["build", "--workspace", "--all-targets"])?;
    interpreters::install(root)?;
    say("== tests");
    tests(root)?;
    process::run(&root.join("examples"), "cargo", &["test", "--quiet"])?;
    process::run(root, "cargo", &["test", "--workspace", "--doc", "--quiet"])?;
    say("== documentation");
    let warnings_denied = [("RUSTDOCFLAGS", "-D warnings")];
    run_with(
        root,
        "cargo",
        &["doc", "--workspace", "--no-deps"],
        &warnings_denied,
    )?;
    say("== dependencies");
    if exists("cargo-deny", "--version") {
        process::run(
            root,
            "cargo",
            &["deny", "check", "licenses", "bans", "sources"],
        )?;
    } else {
        say("cargo-deny is not installed; licences, bans and sources were not checked.");
    }
    say("Everything passed.");
    Ok(())
}

fn tests(root: &Path) -> anyhow::Result<()> {
    if exists("cargo-nextest", "--version") {
        process::run(
            root,
            "cargo",
            &["nextest", "run", "--workspace", "--no-fail-fast"],
        )
    } else {
        say("cargo-nextest is not installed; using cargo test.");
        process::run(
            root,
            "cargo",
            &[
                "test",
                "--workspace",
                "--lib",
                "--bins",
                "--tests",
                "--no-fail-fast",
            ],
        )
    }
}
