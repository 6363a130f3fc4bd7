//! The history of a host, made as callers make it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::PagesPlan;
use crate::host::Host;
use crate::place::Place;

/// Tasks of one request.
const BATCH: u64 = 5_000;
/// Tasks that wait at most, so that the host is never asked for more than it takes.
const WAITING_MAX: u64 = 50_000;
/// One in so many fails.
const FAILS: u64 = 100;
/// Workflows that are submitted at the same time.
const CLIENTS: u64 = 8;
/// How often the counters are read.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long nothing may change before the host counts as stuck.
const STUCK: Duration = Duration::from_secs(60);
/// How long what runs may run, and how long what waits may wait.
const RUNS_MS: u64 = 600_000;
const WAITS_MS: u64 = 3_600_000;
/// A program that traps at once.
const TRAP: &[u8] =
    br#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#;

/// What there is on the host, by the names that the test of the pages uses.
pub(super) struct Site {
    base: String,
    completed: String,
    failed: String,
    running: String,
    batch: String,
    /// A workflow that waits for a signal.
    workflow: String,
}

impl Site {
    pub(super) fn fill(plan: &PagesPlan, place: &Place, host: &Host) -> anyhow::Result<Site> {
        host.upload(place, "echo")?;
        host.upload_bytes("trap", "text/wat", TRAP)?;
        let sleep = std::fs::read(place.file("tests/guests/sleep.wat")?)?;
        host.upload_bytes("sleep", "text/wat", &sleep)?;
        let batch = tasks(plan, host)?;
        workflows(plan, host)?;
        let newest = |status: &str| {
            let path = format!("/v1/tasks?limit=1&status={status}");
            let list = host.client.get(&path)?.json(&[200])?;
            text(&list["items"][0]["task_id"])
        };
        let (completed, failed) = (newest("completed")?, newest("failed")?);
        let sleeps = json!({"module": "sleep", "limits": {"timeout_ms": RUNS_MS}});
        let running = text(&post(host, "/v1/tasks", &sleeps)?["task_id"])?;
        let waits = json!({"name": "nightly report", "nodes": [
            {"id": "fetch", "module": "echo", "input": {"a": 1}},
            {"id": "left", "module": "echo", "input": {"$from": "fetch"}},
            {"id": "right", "module": "echo", "input": {"$from": "fetch"}},
            {"id": "approval", "wait": {"signal": "approved", "timeout_ms": WAITS_MS}},
            {"id": "publish", "module": "echo", "input": {"$from": "left"}},
        ], "edges": [["fetch", "left"], ["fetch", "right"], ["left", "approval"], ["right", "approval"],
            ["approval", "publish"], ["left", "publish"]]});
        let workflow = text(&post(host, "/v1/workflows", &waits)?["workflow_id"])?;
        Ok(Site {
            base: host.server.base().to_owned(),
            completed,
            failed,
            running,
            batch,
            workflow,
        })
    }

    /// As the browser is told of it.
    pub(super) fn told(&self) -> Value {
        json!({
            "base": self.base, "completed": self.completed, "failed": self.failed, "running": self.running,
            "batch": self.batch, "workflow": self.workflow, "described": "echo",
        })
    }

    /// The workflow that waits.
    pub(super) fn waiting(&self) -> &str {
        &self.workflow
    }

    /// Ends what runs.
    pub(super) fn rests(&self, host: &Host) -> anyhow::Result<()> {
        let path = format!("/v1/tasks/{}", self.running);
        host.client.delete(&path)?.json(&[200, 202])?;
        Ok(())
    }
}

/// Has the tasks run; gives the last batch of them.
fn tasks(plan: &PagesPlan, host: &Host) -> anyhow::Result<String> {
    let (mut sent, mut batch) = (0, String::new());
    let mut waits = Waits::default();
    while sent < plan.tasks {
        let some = (plan.tasks - sent).min(BATCH);
        let one = |number: u64| match number % FAILS {
            0 => json!({"module": "trap", "input": number, "retry": {"max_attempts": 1}}),
            _ => json!({"module": "echo", "input": {"n": number}}),
        };
        let tasks: Vec<Value> = (sent..sent + some).map(one).collect();
        batch = text(&post(host, "/v1/tasks/batch", &json!({ "tasks": tasks }))?["batch_id"])?;
        sent += some;
        waits.until(host, sent.saturating_sub(WAITING_MAX))?;
        if sent % (20 * BATCH) == 0 {
            crate::progress(&format!("pages: {sent} tasks"));
        }
    }
    waits.until(host, sent)?;
    Ok(batch)
}

fn workflows(plan: &PagesPlan, host: &Host) -> anyhow::Result<()> {
    crate::progress(&format!("pages: {} workflows", plan.workflows));
    let graph = json!({"name": "import", "nodes": [
        {"id": "first", "module": "echo", "input": {"n": 1}}, {"id": "second", "module": "echo", "input": {"$from": "first"}},
        {"id": "third", "module": "echo", "input": {"$from": "second"}},
    ], "edges": [["first", "second"], ["second", "third"]]});
    let ended = |host: &Host| host.counters().map(|it| it.completed + it.failed);
    let before = ended(host)?;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let graph = &graph;
                scope.spawn(move || -> anyhow::Result<()> {
                    for _ in (client..plan.workflows).step_by(CLIENTS as usize) {
                        post(host, "/v1/workflows", graph)?;
                    }
                    Ok(())
                })
            })
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| match client.join() {
                Ok(done) => done,
                Err(_panicked) => bail!("a client panicked"),
            })
    })?;
    Waits::default().until(host, before + 3 * plan.workflows)
}

/// Waits for ends of tasks.
struct Waits {
    seen: u64,
    changed: Instant,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits {
            seen: 0,
            changed: Instant::now(),
        }
    }
}

impl Waits {
    /// Until so many tasks have ended since the host began.
    fn until(&mut self, host: &Host, ended: u64) -> anyhow::Result<()> {
        self.changed = Instant::now();
        loop {
            let counters = host.counters()?;
            let now = counters.completed + counters.failed;
            if now >= ended {
                return Ok(());
            }
            if now != self.seen {
                (self.seen, self.changed) = (now, Instant::now());
            }
            ensure!(
                self.changed.elapsed() < STUCK,
                "{now} of {ended} tasks have ended, and none for {STUCK:?}"
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

fn post(host: &Host, path: &str, said: &Value) -> anyhow::Result<Value> {
    let body = said.to_string();
    let answer = host
        .client
        .post(path, "application/json", body.as_bytes())?;
    answer.json(&[202]).with_context(|| path.to_owned())
}

fn text(value: &Value) -> anyhow::Result<String> {
    let text = value
        .as_str()
        .with_context(|| format!("{value} is no text"))?;
    Ok(text.to_owned())
}
