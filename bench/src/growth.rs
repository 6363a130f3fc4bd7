//! (i) What claims and submits cost as the queue grows: with a thousand and with a million tasks pending, on
//! SQLite and PostgreSQL; and on PostgreSQL with a long history and beside a transaction that somebody
//! holds open, which keeps every dead row where it is.
//!
//! It calls storage itself, because at this size the rest of a host would hide the difference. Each cycle
//! submits some tasks, claims as many and finishes them, so that the number of pending tasks stays.

mod history;
mod queue;

use std::time::{Duration, Instant};

use anyhow::ensure;

use self::queue::{Cycle, Queue};
use crate::postgres::Postgres;
use crate::report::{Aim, Report, Table};
use crate::stats::{Samples, figure, quantile};

/// How much.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GrowthPlan {
    /// Rounds of the first table.
    #[arg(long, default_value_t = 5, value_parser = crate::rounds)]
    rounds: usize,
    /// Cycles of a round at each size.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    cycles: u64,
    /// Tasks of a cycle.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=2_000))]
    tasks: u64,
    /// Pending tasks at the small and at the large size.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    few: u64,
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    many: u64,
    /// Finished tasks of the long history; made by SQL, a kilobyte each.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    finished: u64,
    /// Seconds for which the transaction is held open.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(5..=3600))]
    held_s: u64,
    /// Tasks per second beside it.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// Leaves the sizes out.
    #[arg(long)]
    no_sizes: bool,
    /// Leaves the history and the held transaction out.
    #[arg(long)]
    no_history: bool,
}

/// A long history is made quickly, and its WAL is of no use.
const SMALL_WAL: &str = "max_wal_size = 1GB\n";

pub(crate) fn run(plan: &GrowthPlan) -> anyhow::Result<Report> {
    let mut report = Report::new("growth", method(plan));
    let server = Postgres::start(SMALL_WAL);
    if !plan.no_sizes {
        sizes(plan, &server, &mut report)?;
    }
    if !plan.no_history {
        history::measure(plan, &server, &mut report)?;
    }
    Ok(report)
}

/// Rates of one backend at one size.
#[derive(Default)]
struct Rates {
    submits: Samples,
    claims: Samples,
    finishes: Samples,
}

fn sizes(plan: &GrowthPlan, server: &Postgres, report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        "backend",
        "what, tasks/s",
        &format!("{} pending", plan.few),
        &format!("{} pending", plan.many),
        "many ÷ few",
    ]);
    for backend in ["SQLite", "PostgreSQL"] {
        let open = |name: &str| match backend {
            "SQLite" => Queue::open(None),
            _ => Queue::open(Some(server.fresh(name)?)),
        };
        let queues = [open("few")?, open("many")?];
        for (queue, pending) in queues.iter().zip([plan.few, plan.many]) {
            crate::progress(&format!("growth: {backend}, {pending} pending"));
            queue.fill(pending)?;
        }
        if backend == "PostgreSQL" {
            server.run("many", "VACUUM ANALYZE")?;
            server.run("postgres", "CHECKPOINT")?;
        }
        let mut rates = [Rates::default(), Rates::default()];
        for round in 0..plan.rounds {
            for turn in 0..queues.len() {
                let at = (round + turn) % queues.len();
                rates[at].add(plan, &queues[at])?;
            }
        }
        let [few, many] = &rates;
        for (what, few, many) in [
            ("submits", &few.submits, &many.submits),
            ("claims", &few.claims, &many.claims),
            ("finishes", &few.finishes, &many.finishes),
        ] {
            let ratio = many.over(few);
            table.row([
                backend.to_owned(),
                what.to_owned(),
                few.text(),
                many.text(),
                ratio.text(),
            ]);
            if what != "finishes" {
                let goal = format!("{backend}: {what}, many ÷ few");
                report.goal(&goal, Aim::AtLeast(0.9), &ratio);
            }
        }
    }
    report.tables.push(table);
    Ok(())
}

impl Rates {
    fn add(&mut self, plan: &GrowthPlan, queue: &Queue) -> anyhow::Result<()> {
        let mut sums = [Duration::ZERO; 3];
        for _ in 0..plan.cycles {
            let Cycle {
                submit,
                claim,
                finish,
            } = queue.cycle(plan.tasks)?;
            sums = [sums[0] + submit, sums[1] + claim, sums[2] + finish];
        }
        let tasks = (plan.cycles * plan.tasks) as f64;
        let [submit, claim, finish] = sums.map(|sum| tasks / sum.as_secs_f64());
        self.submits.add(submit);
        self.claims.add(claim);
        self.finishes.add(finish);
        Ok(())
    }
}

/// Milliseconds of each claim of cycles that go on for some time at the plan's rate, sorted.
fn claims_ms(plan: &GrowthPlan, queue: &Queue, seconds: u64) -> anyhow::Result<Vec<f64>> {
    let pause = Duration::from_secs_f64(plan.tasks as f64 / plan.rate as f64);
    let (begun, lasts) = (Instant::now(), Duration::from_secs(seconds));
    let mut taken = Vec::new();
    let mut next = begun;
    while begun.elapsed() < lasts {
        taken.push(queue.cycle(plan.tasks)?.claim.as_secs_f64() * 1e3);
        next += pause;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    ensure!(!taken.is_empty(), "no claim was made");
    taken.sort_by(f64::total_cmp);
    Ok(taken)
}

fn p50_p99(sorted: &[f64]) -> (f64, f64) {
    (quantile(sorted, 0.5), quantile(sorted, 0.99))
}

fn method(plan: &GrowthPlan) -> String {
    format!(
        "Storage alone, in this process. A cycle submits {} tasks in one call, claims as many and \
         finishes them; every row's history is kept. SQLite with synchronous=FULL, PostgreSQL with fsync \
         and synchronous_commit on. Sizes: {} rounds of {} cycles at each size in turn.",
        plan.tasks, plan.rounds, plan.cycles
    )
}

fn ms((p50, p99): (f64, f64)) -> [String; 2] {
    [figure(p50), figure(p99)]
}
