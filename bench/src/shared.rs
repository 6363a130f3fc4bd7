//! (h) Durable tasks over one PostgreSQL, beside the queues that are built on it: single submits, draining a
//! backlog, both at once, how soon a lone task begins, and what each costs the database. Ours runs each
//! task in a fresh sandbox and keeps its history; the peers' jobs do nothing, in their own process.
//!
//! All use the same server, one after the other in each round and each with a database of its own. Its
//! settings are durable and nobody changes them for a submit or a completion.

mod ours;
mod peer;

use anyhow::Context;

use self::ours::Ours;
use self::peer::Peer;
use crate::place::Place;
use crate::postgres::{Cost, Postgres};
use crate::report::{Aim, Report, Table};
use crate::stats::{Samples, quantile};

/// How much.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SharedPlan {
    /// Rounds; each takes some minutes.
    #[arg(long, default_value_t = 3, value_parser = crate::rounds)]
    rounds: usize,
    /// Tasks of the backlog; a slow peer gets fewer.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..=900_000))]
    tasks: u64,
    /// Seconds within which our backlog must be submitted: it falls due after them.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=600))]
    lead_s: u64,
    /// Seconds of single submits.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Clients that submit single tasks at once.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    clients: u64,
    /// Lone tasks, one after the other.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    lone: u64,
    /// Who is measured beside us.
    #[arg(long, value_delimiter = ',', default_value = "graphile,pgboss,bullmq")]
    peers: Vec<Peer>,
}

/// What was measured of one queue, round by round.
#[derive(Default)]
struct Series {
    submits: Samples,
    drain: Samples,
    singles: Samples,
    bulk: Samples,
    pickup_p50: Samples,
    pickup_p99: Samples,
    drain_commits: Samples,
    drain_wal: Samples,
    singles_commits: Samples,
    singles_wal: Samples,
}

/// A rate, and what each task cost the database meanwhile.
#[derive(Clone, Copy, Debug)]
struct Rate {
    per_s: f64,
    cost: Cost,
}

/// A queue over the server, as each benchmark asks it. Each call has a database of its own.
trait Contestant {
    /// Single submits that nobody works on, per second.
    fn submits(&self) -> anyhow::Result<f64>;
    /// A backlog, from the moment its work begins until none is left.
    fn drain(&self) -> anyhow::Result<Rate>;
    /// Single submits that are worked on, from the first until none is left.
    fn singles(&self) -> anyhow::Result<Rate>;
    /// The backlog's tasks submitted in bulk while they are worked on.
    fn bulk(&self) -> anyhow::Result<f64>;
    /// Milliseconds until each lone task began, sorted.
    fn pickups(&self) -> anyhow::Result<Vec<f64>>;
}

impl Series {
    fn measure(&mut self, who: &dyn Contestant) -> anyhow::Result<()> {
        self.submits.add(who.submits()?);
        let drain = who.drain()?;
        self.drain.add(drain.per_s);
        self.drain_commits.add(drain.cost.commits);
        self.drain_wal.add(drain.cost.wal_bytes);
        let singles = who.singles()?;
        self.singles.add(singles.per_s);
        self.singles_commits.add(singles.cost.commits);
        self.singles_wal.add(singles.cost.wal_bytes);
        self.bulk.add(who.bulk()?);
        let pickups = who.pickups()?;
        self.pickup_p50.add(quantile(&pickups, 0.5));
        self.pickup_p99.add(quantile(&pickups, 0.99));
        Ok(())
    }

    fn rows(&self) -> [(&'static str, &Samples); 10] {
        [
            ("single submits, per s", &self.submits),
            ("drain, tasks/s", &self.drain),
            ("end to end, single submits, tasks/s", &self.singles),
            ("end to end, bulk submits, tasks/s", &self.bulk),
            ("pickup p50, ms", &self.pickup_p50),
            ("pickup p99, ms", &self.pickup_p99),
            ("drain: commits per task", &self.drain_commits),
            ("drain: WAL bytes per task", &self.drain_wal),
            (
                "end to end, singles: commits per task",
                &self.singles_commits,
            ),
            ("end to end, singles: WAL bytes per task", &self.singles_wal),
        ]
    }
}

pub(crate) fn run(place: &Place, plan: &SharedPlan) -> anyhow::Result<Report> {
    let server = Postgres::start("");
    let ours = Ours::new(place, &server, plan);
    let mut series: Vec<(String, Series)> = vec![("cofferdam".to_owned(), Series::default())];
    series.extend(
        plan.peers
            .iter()
            .map(|peer| (peer.title().to_owned(), Series::default())),
    );
    let (mut one, mut two) = (Samples::default(), Samples::default());
    for round in 0..plan.rounds {
        for turn in 0..series.len() {
            // Each round begins with another one.
            let at = (turn + round) % series.len();
            let (title, series) = &mut series[at];
            crate::progress(&format!(
                "shared: round {} of {}: {title}",
                round + 1,
                plan.rounds
            ));
            match at.checked_sub(1) {
                None => series.measure(&ours)?,
                Some(peer) => series.measure(&plan.peers[peer].over(place, &server, plan))?,
            }
        }
        crate::progress("shared: one host and two, each on a core of its own");
        one.add(ours.drain_on(&[0])?);
        two.add(ours.drain_on(&[0, 1])?);
    }
    report(plan, &server.version()?, &series, (&one, &two))
}

fn report(
    plan: &SharedPlan,
    version: &str,
    series: &[(String, Series)],
    (one, two): (&Samples, &Samples),
) -> anyhow::Result<Report> {
    let mut report = Report::new("shared", method(plan, version));
    let (ours, peers) = series.split_first().context("nobody was measured")?;
    let mut head = vec!["what".to_owned(), ours.0.clone()];
    head.extend(peers.iter().map(|(title, _)| title.clone()));
    head.extend(peers.iter().map(|(title, _)| format!("ours ÷ {title}")));
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for (at, (what, us)) in ours.1.rows().into_iter().enumerate() {
        let mut cells = vec![what.to_owned(), us.text()];
        cells.extend(peers.iter().map(|(_, them)| them.rows()[at].1.text()));
        cells.extend(
            peers
                .iter()
                .map(|(_, them)| us.over(them.rows()[at].1).text()),
        );
        table.row(cells);
    }
    report.tables.push(table);
    let mut hosts = Table::new(&["drain, tasks/s", "one host", "two hosts", "two ÷ one"]);
    hosts.row([
        "each host on a core of its own".to_owned(),
        one.text(),
        two.text(),
        two.over(one).text(),
    ]);
    report.tables.push(hosts);
    if let Some(at) = plan.peers.iter().position(|peer| *peer == Peer::Graphile) {
        let them = &peers[at].1;
        report.goal(
            "drain ÷ graphile-worker",
            Aim::AtLeast(1.3),
            &ours.1.drain.over(&them.drain),
        );
        let singles = ours.1.singles.over(&them.singles);
        report.goal(
            "end to end, singles ÷ graphile-worker",
            Aim::AtLeast(2.2),
            &singles,
        );
        let bulk = ours.1.bulk.over(&them.bulk);
        report.goal(
            "end to end, bulk ÷ graphile-worker",
            Aim::AtLeast(2.2),
            &bulk,
        );
    }
    report.goal("pickup p50, ms", Aim::AtMost(3.0), &ours.1.pickup_p50);
    report.goal("two hosts ÷ one", Aim::AtLeast(1.6), &two.over(one));
    Ok(report)
}

fn method(plan: &SharedPlan, version: &str) -> String {
    let peers: Vec<&str> = plan.peers.iter().map(|peer| peer.terms()).collect();
    format!(
        "One PostgreSQL {version} on the disk with fsync and synchronous_commit on; submits and \
         completions of every contestant wait for the disk. {} rounds, in each everybody in turn with \
         an empty database for each line. Cofferdam: `echo` in a fresh sandbox for each task, over \
         HTTP, its history kept, one host unless the line says otherwise; its claims do not wait for \
         the disk. {} Single submits: {} clients for {} s. Drain: {} tasks (a twentieth for BullMQ), \
         from the moment they are due, or the worker starts, until the last is final in the database. \
         Bulk: the same number in batches of 5000 (BullMQ 1000) while they are worked on. Pickup: {} \
         lone tasks; the peers' from the call that stores the job until its handler begins; ours from \
         its arrival at the host until the guest has ended, by the stamps of its row, in whole \
         milliseconds. Commits and WAL are those of the server while the line was measured; the \
         checkpoint before it makes each page's first change a full image, for everybody.",
        plan.rounds,
        peers.join(" "),
        plan.clients,
        plan.seconds,
        plan.tasks,
        plan.lone,
    )
}
