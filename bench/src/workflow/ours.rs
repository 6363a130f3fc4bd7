//! Our side: a host over SQLite or over the server, fed over HTTP.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use super::shape::Graph;
use super::{Seen, WorkflowPlan};
use crate::host::{Host, Start};
use crate::place::Place;
use crate::postgres::Postgres;
use crate::wrk::{self, Load};

const DATABASE: &str = "ours";
/// How often a lone workflow is asked for.
const ASK_EVERY: Duration = Duration::from_micros(500);
/// The longest that a lone workflow may take.
const LONE_MAX: Duration = Duration::from_secs(300);

pub(super) struct Ours<'a> {
    place: &'a Place,
    server: &'a Postgres,
    plan: &'a WorkflowPlan,
}

impl<'a> Ours<'a> {
    pub(super) fn new(place: &'a Place, server: &'a Postgres, plan: &'a WorkflowPlan) -> Ours<'a> {
        Ours {
            place,
            server,
            plan,
        }
    }

    pub(super) fn over_sqlite(&self, graph: &Graph) -> anyhow::Result<Seen> {
        let data = TempDir::new()?;
        self.measure(Host::start(self.place, data.path())?, graph)
    }

    pub(super) fn over_postgres(&self, graph: &Graph) -> anyhow::Result<Seen> {
        let (data, url) = (TempDir::new()?, self.server.fresh(DATABASE)?);
        let start = Start {
            storage: Some(url),
            ..Start::default()
        };
        let host = Host::start_with(self.place, data.path(), start)?;
        self.measure(host, graph)
    }

    fn measure(&self, host: Host, graph: &Graph) -> anyhow::Result<Seen> {
        host.upload(self.place, "echo")?;
        host.check_echo()?;
        let body = graph.request();
        let mut lone_ms = Vec::new();
        for _ in 0..self.plan.lone {
            lone_ms.push(lone(&host, &body)?.as_secs_f64() * 1e3);
        }
        lone_ms.sort_by(f64::total_cmp);
        let before = host.counters()?.completed;
        let begun = Instant::now();
        let load = wrk::run(&Load {
            url: host.client.url("/v1/workflows"),
            content_type: "application/json",
            body: &body,
            connections: usize::try_from(self.plan.clients)?,
            seconds: self.plan.seconds,
            key: None,
        })?;
        ensure!(load.errors == 0, "{} submits failed", load.errors);
        let nodes = u64::try_from(graph.parents.len())?;
        let (ended, last) = host.rest(before, load.requests * nodes)?;
        let seconds = last.duration_since(begun).as_secs_f64();
        host.server.stop()?;
        Ok(Seen {
            per_second: ended as f64 / nodes as f64 / seconds,
            lone_ms,
        })
    }
}

fn lone(host: &Host, body: &str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let accepted = host
        .client
        .post("/v1/workflows", "application/json", body.as_bytes())?;
    let accepted = accepted.json(&[202])?;
    let id = accepted["workflow_id"].as_str().context("no id")?;
    let path = format!("/v1/workflows/{id}");
    while begun.elapsed() < LONE_MAX {
        let status = host.client.get(&path)?.json(&[200])?["status"].take();
        match status.as_str() {
            Some("completed") => return Ok(begun.elapsed()),
            Some("running") => std::thread::sleep(ASK_EVERY),
            _ => bail!("a lone workflow is {status}"),
        }
    }
    bail!("a lone workflow did not end within {LONE_MAX:?}")
}
