//! (m) How one tenant's backlog affects another: how long a lone task of tenant B takes on an idle host, and
//! while tenant A has so many tasks waiting that they outlast the measurement.
//!
//! Each round has a new, empty host. A native floor is not measured: the goal is a ratio within one round.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;
use crate::host::{Host, Start};
use crate::place::Place;
use crate::report::{Aim, Report, Table};
use crate::stats::{Samples, quantile};

/// An administrator's key.
const ADMIN: &str = "the-administrator-of-a-benchmark-0123456789";
/// Tasks of one request.
const BATCH: u64 = 10_000;
/// From when the backlog falls due until the measurement.
const BEHIND: Duration = Duration::from_secs(1);

/// How much.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct FairPlan {
    /// Rounds.
    #[arg(long, default_value_t = 3, value_parser = crate::rounds)]
    rounds: usize,
    /// Tasks of the backlog.
    #[arg(long, default_value_t = 600_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    tasks: u64,
    /// Lone tasks, one after the other, on the idle host and beside the backlog.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    lone: u64,
}

#[derive(Default)]
struct Series {
    p50_ms: Samples,
    p99_ms: Samples,
}

impl Series {
    fn add(&mut self, sorted: &[f64]) {
        self.p50_ms.add(quantile(sorted, 0.5));
        self.p99_ms.add(quantile(sorted, 0.99));
    }
}

pub(crate) fn run(place: &Place, plan: &FairPlan) -> anyhow::Result<Report> {
    let (mut idle, mut beside) = (Series::default(), Series::default());
    for round in 1..=plan.rounds {
        crate::progress(&format!("fair: round {round} of {}", plan.rounds));
        let data = TempDir::new()?;
        let start = Start {
            environment: vec![
                ("COFFERDAM_ACCESS_ADMIN_KEY", ADMIN.to_owned()),
                // What is written of interpreters that were just compiled would slow down the idle host's commits.
                ("COFFERDAM_INTERPRETERS_DIR", "/nowhere".to_owned()),
            ],
            ..Start::default()
        };
        let host = Host::start_with(place, data.path(), start)?;
        let admin = host.client.with_key(ADMIN);
        let [a, b] = ["a", "b"].map(|name| tenant(&host.client, &admin, place, name));
        let (a, b) = (a?, b?);
        idle.add(&lone(&b, plan)?);
        backlog(&a, plan)?;
        beside.add(&lone(&b, plan)?);
        let path = "/v1/tasks?status=pending&limit=1";
        let waiting = a.get(path)?.json(&[200])?;
        ensure!(
            waiting["items"] != json!([]),
            "the backlog was done before the measurement; more --tasks or fewer --lone help"
        );
    }
    Ok(report(plan, &idle, &beside))
}

/// A client of a new tenant that has the module.
fn tenant(base: &Client, admin: &Client, place: &Place, name: &str) -> anyhow::Result<Client> {
    let json = |value: &Value| value.to_string().into_bytes();
    let path = format!("/v1/tenants/{name}");
    let put = admin.put(&path, "application/json", &json(&json!({})))?;
    put.json(&[201])?;
    let asked = json!({"tenant": name, "name": "bench", "scopes": ["run", "read", "modules"]});
    let made = admin.post("/v1/keys", "application/json", &json(&asked))?;
    let made = made.json(&[201])?;
    let client = base.with_key(made["key"].as_str().context("a key has a text")?);
    let wasm = std::fs::read(place.guest("echo")?)?;
    let put = client.put("/v1/modules/echo", "application/wasm", &wasm)?;
    put.json(&[201])?;
    Ok(client)
}

/// Submits the backlog, and returns once it has fallen due.
fn backlog(a: &Client, plan: &FairPlan) -> anyhow::Result<()> {
    let begun = Instant::now();
    // No task begins before all of them wait.
    let delay_ms = plan.tasks / 10 + 2_000;
    let task = json!({"module": "echo", "input": {"n": 1}, "delay_ms": delay_ms});
    let mut left = plan.tasks;
    while left > 0 {
        let some = left.min(BATCH);
        let tasks = vec![&task; usize::try_from(some)?];
        let body = json!({ "tasks": tasks }).to_string();
        let stored = a.post("/v1/tasks/batch", "application/json", body.as_bytes())?;
        stored.json(&[202])?;
        left -= some;
    }
    let due = begun + Duration::from_millis(delay_ms);
    std::thread::sleep((due + BEHIND).saturating_duration_since(Instant::now()));
    Ok(())
}

/// Milliseconds of each call, sorted.
fn lone(b: &Client, plan: &FairPlan) -> anyhow::Result<Vec<f64>> {
    let body = br#"{"module":"echo","input":{"n":1}}"#;
    let mut taken = Vec::new();
    for _ in 0..plan.lone {
        let begun = Instant::now();
        let answer = b.post("/v1/tasks?wait_ms=30000", "application/json", body)?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
        let task = answer.json(&[200])?;
        ensure!(
            task["status"] == "completed",
            "a lone task ended so: {task}"
        );
    }
    taken.sort_by(f64::total_cmp);
    Ok(taken)
}

fn report(plan: &FairPlan, idle: &Series, beside: &Series) -> Report {
    let mut report = Report::new(
        "fair",
        format!(
            "A lone durable task of tenant B (`POST /v1/tasks?wait_ms=30000` with the `echo` module, the whole \
             call, {} in a row), on an idle host and while {} such tasks of tenant A wait and are worked off; \
             {} rounds, each with an empty data directory and without interpreters, SQLite with synchronous=FULL.",
            plan.lone, plan.tasks, plan.rounds
        ),
    );
    let mut table = Table::new(&["beside", "p50, ms", "p99, ms", "p99 ÷ idle"]);
    for (what, series) in [("nobody", idle), ("a backlog of A", beside)] {
        table.row([
            what.to_owned(),
            series.p50_ms.text(),
            series.p99_ms.text(),
            series.p99_ms.over(&idle.p99_ms).text(),
        ]);
    }
    report.tables.push(table);
    let ratio = beside.p99_ms.over(&idle.p99_ms);
    report.goal("lone task p99 ÷ idle", Aim::AtMost(2.0), &ratio);
    report
}
