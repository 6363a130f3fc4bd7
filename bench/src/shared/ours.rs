//! Our side: hosts over the server, fed over HTTP.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Contestant, Rate, SharedPlan};
use crate::host::{Host, Start};
use crate::place::Place;
use crate::postgres::Postgres;
use crate::wrk::{self, Load};

const DATABASE: &str = "ours";
/// Tasks of one batch.
const BATCH: u64 = 5000;
/// How often the counters are read.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// The longest a queue may take to come to rest.
const DRAIN_MAX: Duration = Duration::from_secs(600);
/// A pause between lone tasks, so that each finds an idle host.
const PAUSE: Duration = Duration::from_millis(5);
/// Nothing is due so late.
const NEVER: &str = "2100-01-01T00:00:00Z";

/// Our queue over the server.
pub(super) struct Ours<'a> {
    place: &'a Place,
    server: &'a Postgres,
    plan: &'a SharedPlan,
}

/// Hosts over one database, and the directories of their own.
struct Hosts(Vec<(Host, TempDir)>);

impl Contestant for Ours<'_> {
    fn submits(&self) -> anyhow::Result<f64> {
        let hosts = self.hosts(&[None])?;
        let body = format!(r#"{{"module":"echo","input":{{"n":1}},"run_at":"{NEVER}"}}"#);
        let seen = self.submit(hosts.first(), &body)?;
        hosts.stop()?;
        Ok(seen.per_second)
    }

    fn drain(&self) -> anyhow::Result<Rate> {
        let hosts = self.hosts(&[None])?;
        self.drain_by(hosts)
    }

    fn singles(&self) -> anyhow::Result<Rate> {
        let hosts = self.hosts(&[None])?;
        let before = self.server.cost(DATABASE)?;
        let begun = Instant::now();
        let seen = self.submit(hosts.first(), r#"{"module":"echo","input":{"n":1}}"#)?;
        let (tasks, ended) = hosts.rest(seen.requests)?;
        hosts.stop()?;
        Ok(Rate {
            per_s: tasks / ended.duration_since(begun).as_secs_f64(),
            cost: self.server.cost(DATABASE)?.since(before, tasks),
        })
    }

    fn bulk(&self) -> anyhow::Result<f64> {
        let hosts = self.hosts(&[None])?;
        let begun = Instant::now();
        self.fill(hosts.first(), &json!({"module": "echo", "input": {"n": 1}}))?;
        let (tasks, ended) = hosts.rest(self.plan.tasks)?;
        hosts.stop()?;
        Ok(tasks / ended.duration_since(begun).as_secs_f64())
    }

    fn pickups(&self) -> anyhow::Result<Vec<f64>> {
        let hosts = self.hosts(&[None])?;
        let client = &hosts.first().client;
        let body = br#"{"module":"echo","input":{"n":1}}"#;
        let mut waits = Vec::new();
        for _ in 0..self.plan.lone {
            let path = "/v1/tasks?wait_ms=5000";
            let task = client.post(path, "application/json", body)?.json(&[200])?;
            ensure!(
                task["status"] == "completed",
                "a lone task did not complete: {task}"
            );
            let (from, to) = (
                instant(&task, "created_at")?,
                instant(&task, "finished_at")?,
            );
            waits.push(to.duration_since(from).as_secs_f64() * 1e3);
            std::thread::sleep(PAUSE);
        }
        hosts.stop()?;
        waits.sort_by(f64::total_cmp);
        Ok(waits)
    }
}

impl<'a> Ours<'a> {
    pub(super) fn new(place: &'a Place, server: &'a Postgres, plan: &'a SharedPlan) -> Ours<'a> {
        Ours {
            place,
            server,
            plan,
        }
    }

    /// Drains a backlog with a host on each of these cores.
    pub(super) fn drain_on(&self, cores: &[usize]) -> anyhow::Result<f64> {
        let cores: Vec<Option<usize>> = cores.iter().copied().map(Some).collect();
        Ok(self.drain_by(self.hosts(&cores)?)?.per_s)
    }

    fn drain_by(&self, hosts: Hosts) -> anyhow::Result<Rate> {
        let lead = Duration::from_secs(self.plan.lead_s);
        let (due, run_at) = (Instant::now() + lead, Timestamp::now() + lead);
        let task = json!({"module": "echo", "input": {"n": 1}, "run_at": format!("{run_at:.3}")});
        self.fill(hosts.first(), &task)?;
        self.server.run(DATABASE, "ANALYZE")?;
        self.server.run("postgres", "CHECKPOINT")?;
        let before = self.server.cost(DATABASE)?;
        if Instant::now() >= due {
            bail!("the backlog took more than {lead:?}; a larger --lead-s or fewer --tasks helps");
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (tasks, ended) = hosts.rest(self.plan.tasks)?;
        hosts.stop()?;
        Ok(Rate {
            per_s: tasks / ended.duration_since(due).as_secs_f64(),
            cost: self.server.cost(DATABASE)?.since(before, tasks),
        })
    }

    fn hosts(&self, cores: &[Option<usize>]) -> anyhow::Result<Hosts> {
        let url = self.server.fresh(DATABASE)?;
        let mut hosts = Vec::new();
        for core in cores {
            let data = TempDir::new()?;
            let start = Start {
                storage: Some(url.clone()),
                core: *core,
                ..Start::default()
            };
            let host = Host::start_with(self.place, data.path(), start)?;
            if hosts.is_empty() {
                host.upload(self.place, "echo")?;
            }
            host.check_echo()?;
            hosts.push((host, data));
        }
        Ok(Hosts(hosts))
    }

    fn fill(&self, host: &Host, task: &Value) -> anyhow::Result<()> {
        let mut left = self.plan.tasks;
        while left > 0 {
            let some = left.min(BATCH);
            let body = json!({"tasks": vec![task; usize::try_from(some)?]}).to_string();
            let answer =
                host.client
                    .post("/v1/tasks/batch", "application/json", body.as_bytes())?;
            answer.json(&[202])?;
            left -= some;
        }
        Ok(())
    }

    fn submit(&self, host: &Host, body: &str) -> anyhow::Result<wrk::Seen> {
        let seen = wrk::run(&Load {
            url: host.client.url("/v1/tasks"),
            content_type: "application/json",
            body,
            connections: usize::try_from(self.plan.clients)?,
            seconds: self.plan.seconds,
            key: None,
        })?;
        ensure!(
            seen.errors == 0,
            "{} of {} submits failed",
            seen.errors,
            seen.requests
        );
        Ok(seen)
    }
}

impl Hosts {
    fn first(&self) -> &Host {
        &self.0[0].0
    }

    /// Waits until all `accepted` tasks are final and nothing runs: how many there were, since requests in
    /// flight when the load stopped may have been accepted too, and when the last of them was seen.
    fn rest(&self, accepted: u64) -> anyhow::Result<(f64, Instant)> {
        let begun = Instant::now();
        while begun.elapsed() < DRAIN_MAX {
            let (mut done, mut active) = (0, 0);
            for (host, _) in &self.0 {
                let seen = host.counters()?;
                ensure!(seen.failed == 0, "{} tasks failed", seen.failed);
                done += seen.completed;
                active += seen.active;
            }
            if done >= accepted && active == 0 {
                return Ok((done as f64, Instant::now()));
            }
            std::thread::sleep(POLL_EVERY);
        }
        bail!("the queue did not come to rest within {DRAIN_MAX:?}")
    }

    fn stop(self) -> anyhow::Result<()> {
        for (host, _data) in self.0 {
            host.server.stop()?;
        }
        Ok(())
    }
}

fn instant(task: &Value, name: &str) -> anyhow::Result<Timestamp> {
    let text = task[name]
        .as_str()
        .with_context(|| format!("no {name}: {task}"))?;
    Ok(text.parse()?)
}
