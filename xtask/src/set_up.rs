//! What the machine must have: targets of the Rust toolchain, and programs from Debian's packages.
//!
//! Installed programs are left alone, whoever installed them. Missing ones are installed with
//! `apt-get`, or named with their packages if that is not possible.

use std::path::Path;

use anyhow::{Context, bail};

use crate::process::{self, exists, run, run_with, say};

/// Debian's name of a C compiler for WebAssembly.
pub(crate) const CLANG: &str = "clang-19";
/// The C compiler with its linker and the C library to go with it.
const C_PACKAGES: [&str; 4] = [
    "clang-19",
    "lld-19",
    "wasi-libc",
    "libclang-rt-19-dev-wasm32",
];
/// A file of the C library.
const C_LIBRARY: &str = "/usr/include/wasm32-wasi/stdlib.h";

/// Adds WebAssembly targets to the Rust toolchain if it lacks them.
pub(crate) fn rust_targets(root: &Path, targets: &[&str]) -> anyhow::Result<()> {
    let installed = process::output(root, "rustup", &["target", "list", "--installed"])?;
    for target in targets {
        if !installed.lines().any(|line| line.trim() == *target) {
            say(&format!("The Rust toolchain lacks {target}; adding it."));
            run(root, "rustup", &["target", "add", target])?;
        }
    }
    Ok(())
}

/// Makes sure that there is a C compiler for WebAssembly.
pub(crate) fn c_compiler(root: &Path) -> anyhow::Result<()> {
    if exists(CLANG, "--version") && Path::new(C_LIBRARY).exists() {
        return Ok(());
    }
    say("A C compiler for WebAssembly is missing.");
    debian(root, &C_PACKAGES)
}

/// Makes sure that programs are there: `(program, Debian's package)`.
pub(crate) fn programs(root: &Path, wanted: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| !on_path(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    debian(root, &missing)?;
    match wanted.iter().find(|(program, _)| !on_path(program)) {
        Some((program, package)) => bail!("{package} did not bring {program}"),
        None => Ok(()),
    }
}

/// Sees to a PostgreSQL server, which tests start themselves, unless they are told of another.
pub(crate) fn postgres(root: &Path) -> anyhow::Result<()> {
    if std::env::var_os("COFFERDAM_TEST_POSTGRES").is_some() {
        return programs(root, &[("psql", "postgresql-client")]);
    }
    let is_there = || {
        std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .any(|version| version.path().join("bin/postgres").exists())
    };
    if !is_there() {
        debian(root, &["postgresql"])?;
    }
    match is_there() {
        true => Ok(()),
        false => bail!("the package postgresql did not bring a server"),
    }
}

/// Installs Debian packages.
pub(crate) fn debian(root: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let names = packages.join(" ");
    if !exists("apt-get", "--version") {
        bail!("these Debian packages are needed, and there is no apt-get to install them: {names}");
    }
    say(&format!("Installing {names}."));
    // RUNLEVEL keeps a package from starting its service.
    let environment = [("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")];
    let mut install = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    install.extend(packages);
    run_with(root, "apt-get", &["update", "--quiet"], &environment)
        .and_then(|()| run_with(root, "apt-get", &install, &environment))
        .with_context(|| format!("as root: apt-get install {names}"))
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
