//! (q) The pages for people over a host with a long history: how long each takes until it is drawn in a browser,
//! how long each request takes that it makes, and what many who look at it cost a host that has nothing to do.
//!
//! Which requests a page makes is seen in the browser; nothing here repeats it. There is no peer: the aims are
//! what people call at once, and what nobody minds.

mod drawn;
mod fill;
mod watchers;

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use tempfile::TempDir;

use self::drawn::Drawn;
use self::fill::Site;
use crate::host::{Host, Start};
use crate::place::Place;
use crate::postgres::Postgres;
use crate::report::{Aim, Report, Table};
use crate::stats::{Samples, figure, quantile};

/// How much.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct PagesPlan {
    /// Tasks of the history; one in a hundred failed.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    tasks: u64,
    /// Workflows of the history, of three nodes each.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    workflows: u64,
    /// Loads of each page.
    #[arg(long, default_value_t = 5, value_parser = crate::rounds)]
    loads: usize,
    /// How often each request is made.
    #[arg(long, default_value_t = 50, value_parser = crate::rounds)]
    asks: usize,
    /// Those who look at a page at the same time.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(3..=1_000))]
    watchers: u64,
    /// Seconds for which they look.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..=600))]
    seconds: u64,
    /// Leaves PostgreSQL out.
    #[arg(long)]
    no_postgres: bool,
}

/// The history is made quickly, and its WAL is of no use.
const SMALL_WAL: &str = "max_wal_size = 1GB\n";

/// What was seen over one database.
struct Seen {
    drawn: Drawn,
    /// Each request, with its milliseconds, sorted.
    requests: Vec<(String, Vec<f64>)>,
    idle_percent: f64,
    watched_percent: f64,
}

pub(crate) fn run(place: &Place, plan: &PagesPlan) -> anyhow::Result<Report> {
    let mut report = Report::new("pages", method(plan));
    let data = TempDir::new()?;
    add(
        &mut report,
        "SQLite",
        &measure(plan, place, data.path(), None)?,
    );
    if !plan.no_postgres {
        let (server, data) = (Postgres::start(SMALL_WAL), TempDir::new()?);
        let url = server.fresh("pages")?;
        let seen = measure(plan, place, data.path(), Some(url))?;
        add(&mut report, "PostgreSQL", &seen);
    }
    Ok(report)
}

fn measure(
    plan: &PagesPlan,
    place: &Place,
    data: &Path,
    storage: Option<String>,
) -> anyhow::Result<Seen> {
    let start = Start {
        // The module of the tasks that fail does nothing but fail, and goes on all the same.
        environment: vec![("COFFERDAM_BREAKER_THRESHOLD", "0".to_owned())],
        storage,
        ..Start::default()
    };
    let host = Host::start_with(place, data, start)?;
    let site = Site::fill(plan, place, &host)?;
    crate::progress("pages: in the browser");
    let drawn = drawn::drawn(plan, place, &site)?;
    site.rests(&host)?;
    let asked = drawn.pages.iter().flat_map(|page| &page.requests);
    let mut paths: Vec<&String> = asked.collect();
    paths.sort_unstable();
    paths.dedup();
    crate::progress("pages: their requests");
    let mut requests = Vec::new();
    for path in paths {
        requests.push((path.clone(), asked_ms(plan, &host, path)?));
    }
    crate::progress(&format!("pages: {} who look", plan.watchers));
    let [idle_percent, watched_percent] = watchers::cost_percent(plan, &host, &site)?;
    host.server.stop()?;
    Ok(Seen {
        drawn,
        requests,
        idle_percent,
        watched_percent,
    })
}

/// Milliseconds of each of so many requests in a row, sorted.
fn asked_ms(plan: &PagesPlan, host: &Host, path: &str) -> anyhow::Result<Vec<f64>> {
    let mut taken = Vec::new();
    for _ in 0..plan.asks {
        let begun = Instant::now();
        let answer = host.client.get_as_browser(path)?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
        ensure!(answer.status == 200, "{path}: status {}", answer.status);
    }
    taken.sort_by(f64::total_cmp);
    Ok(taken)
}

fn add(report: &mut Report, database: &str, seen: &Seen) {
    let mut loads = Table::new(&[
        &format!("{database}: page"),
        "from nothing p50, ms",
        "slowest, ms",
        "gone to p50, ms",
        "slowest, ms",
    ]);
    let mut worst: [f64; 2] = [0.0; 2];
    for page in &seen.drawn.pages {
        let mut row = vec![page.name.clone()];
        for (worst, ms) in worst.iter_mut().zip([&page.drawn_ms, &page.moved_ms]) {
            let p50 = quantile(ms, 0.5);
            *worst = worst.max(p50);
            row.extend([figure(p50), figure(quantile(ms, 1.0))]);
        }
        loads.row(row);
    }
    let [from_nothing, gone_to] = worst;
    let mut requests = Table::new(&[&format!("{database}: request"), "p50, ms", "p99, ms"]);
    let mut worst_request: f64 = 0.0;
    for (path, ms) in &seen.requests {
        let (p50, p99) = (quantile(ms, 0.5), quantile(ms, 0.99));
        worst_request = worst_request.max(p99);
        requests.row([format!("`{path}`"), figure(p50), figure(p99)]);
    }
    report.tables.extend([loads, requests]);
    let mut goal = |what: &str, aim, value| {
        let mut sample = Samples::default();
        sample.add(value);
        report.goal(&format!("{database}: {what}"), aim, &sample);
    };
    goal(
        "slowest page's p50 from nothing, ms",
        Aim::AtMost(200.0),
        from_nothing,
    );
    goal(
        "slowest page's p50 gone to, ms",
        Aim::AtMost(200.0),
        gone_to,
    );
    goal(
        "slowest request's p99, ms",
        Aim::AtMost(200.0),
        worst_request,
    );
    goal(
        "watchers, % of a core",
        Aim::AtMost(5.0),
        seen.watched_percent,
    );
    report.notes.push(format!(
        "{database}: with nobody who looks, the same host took {} % of a core. The browser needs {} ms to draw an \
         answer of two bytes from nothing.",
        figure(seen.idle_percent),
        figure(quantile(&seen.drawn.floor_ms, 0.5))
    ));
}

fn method(plan: &PagesPlan) -> String {
    format!(
        "A host with {} final tasks, one in a hundred of which failed, and {} final workflows of three nodes, all \
         made over HTTP; then one workflow that waits. Chromium loads each page {} times from nothing, without a \
         cache of its own, until it shows what it asked for, and goes to it as often within the open tab. Each request that it was seen to make is then made {} \
         times in a row. {} watchers, a third each with the overview, the list of tasks and the waiting workflow, ask \
         as those pages do, for {} s: the CPU time of the host's process as a part of one core.",
        plan.tasks, plan.workflows, plan.loads, plan.asks, plan.watchers, plan.seconds
    )
}
