//! The peer servers and how each is started. The benchmarks decide what they are asked.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::place::Place;
use crate::server::Server;

/// Flags that keep a slot's memory resident between two instances, the best known for throughput.
pub(crate) const SERVE_TUNED: &[&str] = &[
    "-O",
    "pooling-memory-keep-resident=1048576,pooling-table-keep-resident=65536,pooling-pagemap-scan=y",
];

/// The component that `wasmtime serve` serves.
pub(crate) const HELLO: &str = "target/peers/wasm32-wasip2/release/hello.wasm";

/// How long a peer may take to answer for the first time.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(30);

/// An axum echo without a sandbox.
pub(crate) fn native_echo(place: &Place) -> anyhow::Result<Server> {
    Server::start(Command::new(place.sibling("native-echo")?), "listening on ")
}

/// `wasmtime serve` with the smallest `wasi:http` component, compiled as it starts.
pub(crate) fn wasmtime_serve(place: &Place, flags: &[&str]) -> anyhow::Result<Server> {
    serve(place, flags, &place.file(HELLO)?)
}

/// `wasmtime serve` with the same component, compiled before.
pub(crate) fn serve_precompiled(place: &Place, component: &Path) -> anyhow::Result<Server> {
    serve(place, &["--allow-precompiled"], component)
}

fn serve(place: &Place, flags: &[&str], component: &Path) -> anyhow::Result<Server> {
    let mut command = Command::new(place.wasmtime()?);
    command
        .arg("serve")
        .args(flags)
        .args(["--addr", "127.0.0.1:0"])
        .arg(component);
    let server = Server::start(command, "Serving HTTP on ")?;
    Client::new(server.base()).await_ok("/", FIRST_ANSWER_MAX)?;
    Ok(server)
}

/// BullMQ's figures in the queue's three measurements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bullmq {
    pub(crate) drain_per_s: f64,
    pub(crate) singles_per_s: f64,
    pub(crate) lone_p50_ms: f64,
}

/// A Redis that syncs each write, with its data in a folder.
pub(crate) fn redis(folder: &Path, socket: &Path) -> anyhow::Result<Server> {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", "0", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--save", ""])
        .arg("--unixsocket")
        .arg(socket)
        .arg("--dir")
        .arg(folder);
    Server::start(command, "ready to accept connections at ")
}

/// Runs BullMQ's measurements against their own Redis.
pub(crate) fn bullmq(
    place: &Place,
    jobs: u64,
    seconds: u64,
    connections: usize,
    lone: u64,
) -> anyhow::Result<Bullmq> {
    let folder = TempDir::new()?;
    let socket = folder.path().join("redis");
    let _redis = redis(folder.path(), &socket)?;
    let output = Command::new("node")
        .arg(place.file("bench/peers/bullmq.mjs")?)
        .arg(place.file("target/bench-bullmq/node_modules")?)
        .arg(&socket)
        .args([jobs, seconds].map(|number| number.to_string()))
        .arg(connections.to_string())
        .arg(lone.to_string())
        .output()
        .context("node cannot be started")?;
    ensure!(
        output.status.success(),
        "BullMQ's measurement ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| seen[name].as_f64().with_context(|| format!("no {name}"));
    Ok(Bullmq {
        drain_per_s: number("drain_per_s")?,
        singles_per_s: number("singles_per_s")?,
        lone_p50_ms: number("lone_p50_ms")?,
    })
}
