//! (n) Workflows from their submission to their last node's end, over SQLite and over PostgreSQL, beside
//! engines on the same PostgreSQL and on Redis. Ours runs each node in a fresh sandbox and is fed over HTTP;
//! the peers' nodes do nothing, in their own process.
//!
//! Everybody is measured alone and in turn, in every round, with an empty database.

mod ours;
mod peer;
mod shape;

use anyhow::Context;

use self::ours::Ours;
use self::peer::Peer;
use self::shape::{SIZES, Shape};
use crate::place::Place;
use crate::postgres::Postgres;
use crate::report::{Aim, Report, Table};
use crate::stats::{Samples, quantile};

/// Workflows a second over SQLite and over PostgreSQL, at each size.
const GOALS: [(usize, f64, f64); 3] =
    [(5, 3000.0, 1500.0), (15, 1500.0, 700.0), (30, 800.0, 350.0)];
/// Times the best peer on the same PostgreSQL.
const TIMES_PEER: f64 = 5.0;

/// How much.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WorkflowPlan {
    /// Rounds; each takes some minutes.
    #[arg(long, default_value_t = 3, value_parser = crate::rounds)]
    rounds: usize,
    /// Seconds in which workflows are submitted.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Clients that submit at once.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    clients: u64,
    /// Lone workflows, one after the other.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    lone: u64,
    /// Sizes.
    #[arg(long, value_delimiter = ',', default_value = "5,15,30")]
    sizes: Vec<usize>,
    /// Who is measured beside us.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "pgboss,pgboss-shipped,bullmq,bullmq-redis,dbos"
    )]
    peers: Vec<Peer>,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    OursSqlite,
    OursPostgres,
    Peer(Peer),
}

/// One contestant with workflows of one shape and size.
struct Series {
    who: Who,
    shape: Shape,
    nodes: usize,
    per_second: Samples,
    lone_p50_ms: Samples,
    lone_p99_ms: Samples,
}

/// What was seen of workflows of one shape.
struct Seen {
    per_second: f64,
    /// Milliseconds from the submission of each lone workflow until it was final, sorted.
    lone_ms: Vec<f64>,
}

pub(crate) fn run(place: &Place, plan: &WorkflowPlan) -> anyhow::Result<Report> {
    let server = Postgres::start("");
    let ours = Ours::new(place, &server, plan);
    let mut series = contestants(plan)?;
    for round in 0..plan.rounds {
        for turn in 0..series.len() {
            // Each round begins with another one.
            let at = (turn + round) % series.len();
            let one = &mut series[at];
            crate::progress(&format!(
                "workflow: round {} of {}: {}, {} nodes, {}",
                round + 1,
                plan.rounds,
                one.who.title(),
                one.nodes,
                one.shape.word()
            ));
            let graph = one.shape.graph(one.nodes);
            let seen = match one.who {
                Who::OursSqlite => ours.over_sqlite(&graph)?,
                Who::OursPostgres => ours.over_postgres(&graph)?,
                Who::Peer(peer) => peer.measure(place, &server, plan, &graph)?,
            };
            one.per_second.add(seen.per_second);
            one.lone_p50_ms.add(quantile(&seen.lone_ms, 0.5));
            one.lone_p99_ms.add(quantile(&seen.lone_ms, 0.99));
        }
    }
    report(plan, &server.version()?, &series)
}

fn contestants(plan: &WorkflowPlan) -> anyhow::Result<Vec<Series>> {
    let mut all = Vec::new();
    for nodes in &plan.sizes {
        anyhow::ensure!(SIZES.contains(nodes), "sizes are {SIZES:?}");
        for shape in Shape::ALL {
            let peers = plan.peers.iter().map(|peer| Who::Peer(*peer));
            let ours = [Who::OursSqlite, Who::OursPostgres];
            all.extend(
                ours.into_iter()
                    .chain(peers)
                    .filter(|who| who.knows(shape, *nodes))
                    .map(|who| Series {
                        who,
                        shape,
                        nodes: *nodes,
                        per_second: Samples::default(),
                        lone_p50_ms: Samples::default(),
                        lone_p99_ms: Samples::default(),
                    }),
            );
        }
    }
    Ok(all)
}

impl Who {
    fn title(self) -> &'static str {
        match self {
            Who::OursSqlite => "cofferdam on SQLite",
            Who::OursPostgres => "cofferdam on PostgreSQL",
            Who::Peer(peer) => peer.title(),
        }
    }

    fn knows(self, shape: Shape, nodes: usize) -> bool {
        match self {
            Who::OursSqlite | Who::OursPostgres => true,
            Who::Peer(peer) => peer.knows(shape, nodes),
        }
    }

    fn is_on_postgres(self) -> bool {
        match self {
            Who::OursSqlite => false,
            Who::OursPostgres => true,
            Who::Peer(peer) => peer.is_on_postgres(),
        }
    }
}

fn report(plan: &WorkflowPlan, version: &str, series: &[Series]) -> anyhow::Result<Report> {
    let mut report = Report::new("workflow", method(plan, version));
    let mut table = Table::new(&[
        "nodes",
        "shape",
        "who",
        "workflows/s",
        "lone p50 ms",
        "lone p99 ms",
        "ours on PostgreSQL ÷ this",
    ]);
    for one in series {
        let ours = of(series, Who::OursPostgres, one.shape, one.nodes)?;
        table.row([
            one.nodes.to_string(),
            one.shape.word().to_owned(),
            one.who.title().to_owned(),
            one.per_second.text(),
            one.lone_p50_ms.text(),
            one.lone_p99_ms.text(),
            ours.per_second.over(&one.per_second).text(),
        ]);
    }
    report.tables.push(table);
    for (nodes, sqlite, postgres) in GOALS {
        if !plan.sizes.contains(&nodes) {
            continue;
        }
        let layered = |who: Who| of(series, who, Shape::Layered, nodes);
        let mut goal = |what: &str, least: f64, measured: &Samples| {
            let what = format!("{nodes} nodes: {what}");
            report.goal(&what, Aim::AtLeast(least), measured);
        };
        let ours = layered(Who::OursPostgres)?;
        goal(
            "a second on SQLite",
            sqlite,
            &layered(Who::OursSqlite)?.per_second,
        );
        goal("a second on PostgreSQL", postgres, &ours.per_second);
        if let Some(best) = best_peer(series, nodes) {
            let ours = of(series, Who::OursPostgres, best.shape, nodes)?;
            goal(
                "× the best peer on PostgreSQL",
                TIMES_PEER,
                &ours.per_second.over(&best.per_second),
            );
        }
    }
    Ok(report)
}

fn of(series: &[Series], who: Who, shape: Shape, nodes: usize) -> anyhow::Result<&Series> {
    series
        .iter()
        .find(|one| (one.who, one.shape, one.nodes) == (who, shape, nodes))
        .context("not measured")
}

fn best_peer(series: &[Series], nodes: usize) -> Option<&Series> {
    series
        .iter()
        .filter(|one| matches!(one.who, Who::Peer(_)) && one.who.is_on_postgres())
        .filter(|one| one.nodes == nodes)
        .max_by(|a, b| a.per_second.median().total_cmp(&b.per_second.median()))
}

fn method(plan: &WorkflowPlan, version: &str) -> String {
    let peers: Vec<&str> = plan.peers.iter().map(|peer| peer.terms()).collect();
    format!(
        "Layered: one node, levels of nodes with two parents each, one node. Tree: node i waits for nodes \
         2i+1 and 2i+2. PostgreSQL {version} on the disk with fsync and synchronous_commit on; SQLite syncs \
         each commit. Cofferdam: `echo` in a fresh sandbox for each node; {} clients submit over HTTP for {} s, \
         and the time ends with the last node. Peers: as many clients, each of which submits its next \
         workflow when its last one has ended. {} Lone: {} workflows, one after the other, from the \
         submission until it is seen that the last node has ended; ours is asked over HTTP every half \
         millisecond. {} rounds, everybody in turn with an empty database, median (min–max).",
        plan.clients,
        plan.seconds,
        peers.join(" "),
        plan.lone,
        plan.rounds,
    )
}
