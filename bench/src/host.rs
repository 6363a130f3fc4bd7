//! The host under test: the release binary over a data directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::client::Client;
use crate::place::Place;
use crate::server::Server;

/// How long a host may take to be ready; with cold caches it compiles interpreters first.
const READY_MAX: Duration = Duration::from_secs(120);
/// How often the counters are read.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// The queue is at rest when its counters have not changed for this long and nothing runs.
const REST: Duration = Duration::from_millis(500);
/// The longest a queue may take to come to rest.
const DRAIN_MAX: Duration = Duration::from_secs(300);

/// A running host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) server: Server,
    pub(crate) client: Client,
}

/// How a host is started.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// The program, if it is not the one under test.
    pub(crate) program: Option<PathBuf>,
    /// The one core that it has alone.
    pub(crate) core: Option<usize>,
    /// More variables of its environment.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The database that it shares with other hosts, if it has none of its own.
    pub(crate) storage: Option<String>,
}

/// A program, on one core alone if it is named.
fn on_core(program: &Path, core: Option<usize>) -> Command {
    let Some(core) = core else {
        return Command::new(program);
    };
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", &core.to_string()]).arg(program);
    pinned
}

impl Host {
    /// Starts the host and waits until it is ready.
    pub(crate) fn start(place: &Place, data: &Path) -> anyhow::Result<Host> {
        Host::start_with(place, data, Start::default())
    }

    /// The same in another way.
    pub(crate) fn start_with(place: &Place, data: &Path, start: Start) -> anyhow::Result<Host> {
        let program = start.program.map_or_else(|| place.host(), Ok)?;
        let mut command = on_core(&program, start.core);
        command
            .envs(start.environment)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data);
        if let Some(url) = start.storage {
            command.args(["--storage", &url]);
        }
        let server = Server::start(command, "listening on ")?;
        let client = Client::new(server.base());
        client
            .await_ok("/readyz", READY_MAX)
            .with_context(|| format!("the host wrote:\n{}", server.output()))?;
        Ok(Host { server, client })
    }

    /// Uploads an example module under its own name.
    pub(crate) fn upload(&self, place: &Place, guest: &str) -> anyhow::Result<()> {
        let wasm = std::fs::read(place.guest(guest)?)?;
        self.upload_bytes(guest, "application/wasm", &wasm)
    }

    /// Uploads a module.
    pub(crate) fn upload_bytes(
        &self,
        name: &str,
        content_type: &str,
        bytes: &[u8],
    ) -> anyhow::Result<()> {
        let path = format!("/v1/modules/{name}");
        self.client
            .put(&path, content_type, bytes)?
            .json(&[200, 201])
            .with_context(|| format!("{name} was not accepted"))?;
        Ok(())
    }

    /// Checks, before the measurement, that `echo` answers with its input.
    pub(crate) fn check_echo(&self) -> anyhow::Result<()> {
        let answer = self
            .client
            .post("/v1/run/echo", "application/octet-stream", b"as it was")?;
        ensure!(
            answer.status == 200 && answer.body == b"as it was",
            "echo answered {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        Ok(())
    }

    /// The queue's counters.
    pub(crate) fn counters(&self) -> anyhow::Result<Counters> {
        let json = self.client.get("/metrics")?.json(&[200])?;
        let number = |name: &str| {
            json.get(name)
                .and_then(Value::as_u64)
                .with_context(|| format!("/metrics has no {name}: {json}"))
        };
        Ok(Counters {
            completed: number("tasks_completed")?,
            failed: number("tasks_failed")?,
            active: number("active_tasks")?,
        })
    }

    /// Waits until all `accepted` tasks are final and nothing runs: how many completed, and when the
    /// last of them was seen.
    pub(crate) fn rest(
        &self,
        completed_before: u64,
        accepted: u64,
    ) -> anyhow::Result<(u64, Instant)> {
        let begun = Instant::now();
        let mut seen = self.counters()?;
        let mut changed = Instant::now();
        while begun.elapsed() < DRAIN_MAX {
            std::thread::sleep(POLL_EVERY);
            let now = self.counters()?;
            if (now.completed, now.failed) != (seen.completed, seen.failed) {
                changed = Instant::now();
            }
            seen = now;
            ensure!(seen.failed == 0, "{} tasks failed", seen.failed);
            let done = seen
                .completed
                .checked_sub(completed_before)
                .context("the counter of completed tasks went back")?;
            if done >= accepted && seen.active == 0 && changed.elapsed() >= REST {
                return Ok((done, changed));
            }
        }
        bail!("the queue did not come to rest within {DRAIN_MAX:?}: {seen:?}, {accepted} accepted")
    }
}

/// The host's own counters since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) active: u64,
}
