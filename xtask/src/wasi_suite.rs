//! `cargo xtask wasi-suite PATH`: the public tests of WASI 0.1, from a checkout of theirs, against
//! `cofferdam run`.
//!
//! No package brings those tests, so they are no part of `cargo xtask test`. Their own runner runs
//! them; `tests/wasi/adapter.py` tells it how to start ours.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::peers::{self, pip};
use crate::process::{self, say};

/// What the runner of the tests imports, from PyPI.
const RUNNER_NEEDS: [&str; 2] = ["colorama", "requests"];
/// Where a checkout has tests of this version, below the folder of the language that made them.
const TESTS: &str = "testsuite/wasm32-wasip1";

/// Builds the program and runs every test of the checkout.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let [checkout] = arguments else {
        bail!("usage: cargo xtask wasi-suite PATH, a checkout of wasi-testsuite");
    };
    let checkout = std::fs::canonicalize(checkout).with_context(|| checkout.clone())?;
    let tests = count(&checkout)?;
    ensure!(
        tests > 0,
        "{} has no compiled tests; its branch prod/testsuite-base has",
        checkout.display()
    );
    let venv = peers::venv(root)?;
    for package in RUNNER_NEEDS {
        pip(root, &venv, package)?;
    }
    let build = ["build", "--workspace", "--bin", "cofferdam"];
    process::run(root, "cargo", &build)?;
    let program = path(root, "target/debug/cofferdam");
    let arguments = [
        "run-tests",
        "--disable-colors",
        "--runtime-adapter",
        &path(root, "tests/wasi/adapter.py"),
    ];
    let python = path(&venv, "bin/python");
    process::run_with(&checkout, &python, &arguments, &[("COFFERDAM", &program)])?;
    say(&format!("All {tests} public tests of WASI 0.1 passed."));
    Ok(())
}

/// How many tests there are.
fn count(checkout: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    let languages = checkout.join("tests");
    let listing =
        std::fs::read_dir(&languages).with_context(|| format!("{}", languages.display()))?;
    for language in listing {
        let Ok(tests) = std::fs::read_dir(language?.path().join(TESTS)) else {
            continue;
        };
        let paths: Vec<PathBuf> = tests.flatten().map(|entry| entry.path()).collect();
        let is_test = |path: &&PathBuf| path.extension().is_some_and(|it| it == "wasm");
        count += paths.iter().filter(is_test).count();
    }
    Ok(count)
}

fn path(folder: &Path, below: &str) -> String {
    folder.join(below).to_string_lossy().into_owned()
}
