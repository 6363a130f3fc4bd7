//! The servers beside us: how each is started. What they are asked is the benchmarks' business.

use std::process::Command;
use std::time::Duration;

use crate::client::Client;
use crate::place::Place;
use crate::server::Server;

/// Flags that keep a slot's memory resident between two instances, the best known for throughput.
pub(crate) const SERVE_TUNED: &[&str] = &[
    "-O",
    "pooling-memory-keep-resident=1048576,pooling-table-keep-resident=65536,pooling-pagemap-scan=y",
];

/// How long a peer may take to answer for the first time.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(30);

/// An axum echo without a sandbox.
pub(crate) fn native_echo(place: &Place) -> anyhow::Result<Server> {
    Server::start(Command::new(place.sibling("native-echo")?), "listening on ")
}

/// `wasmtime serve` with the smallest `wasi:http` component, compiled as it starts.
pub(crate) fn wasmtime_serve(place: &Place, flags: &[&str]) -> anyhow::Result<Server> {
    let mut command = Command::new(place.wasmtime()?);
    command
        .arg("serve")
        .args(flags)
        .args(["--addr", "127.0.0.1:0"])
        .arg(place.file("target/peers/wasm32-wasip2/release/hello.wasm")?);
    let server = Server::start(command, "Serving HTTP on ")?;
    Client::new(server.base()).await_ok("/", FIRST_ANSWER_MAX)?;
    Ok(server)
}
