//! (b) Durable tasks, each in a fresh sandbox: draining a backlog, single submits from end to end,
//! and how soon a lone task is picked up. The peer is BullMQ over a Redis that syncs each write,
//! with jobs that do nothing.
//!
//! Each round has a new, empty host and Redis, so that no round pays for the data of earlier ones.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use jiff::Timestamp;
use tempfile::TempDir;

use crate::host::Host;
use crate::peers;
use crate::place::Place;
use crate::report::{Aim, Report, Table};
use crate::stats::{Samples, quantile};
use crate::wrk::{self, Load};

/// Connections that submit, in the backlog's preparation and in the single submits.
const CONNECTIONS: usize = 128;
/// One slice of the backlog's submission.
const SLICE_S: u64 = 2;

/// How much.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct QueuePlan {
    /// Rounds; each takes about a minute.
    #[arg(long, default_value_t = 3, value_parser = crate::rounds)]
    rounds: usize,
    /// Tasks of the backlog, at least.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=900_000))]
    tasks: u64,
    /// Seconds within which the backlog must be submitted: it falls due after them.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    lead_s: u64,
    /// Seconds of single submits.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Lone tasks, one after the other.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    lone: u64,
    /// Leaves BullMQ out.
    #[arg(long)]
    no_peer: bool,
}

#[derive(Default)]
struct Series {
    drain_per_s: Samples,
    singles_per_s: Samples,
    lone_p50_ms: Samples,
}

pub(crate) fn run(place: &Place, plan: &QueuePlan) -> anyhow::Result<Report> {
    let (mut ours, mut bullmq) = (Series::default(), Series::default());
    let mut lone_p99_ms = Samples::default();
    for round in 0..plan.rounds {
        crate::progress(&format!("queue: round {} of {}", round + 1, plan.rounds));
        ours.drain_per_s
            .add(with_host(place, |host| backlog(host, plan))?);
        ours.singles_per_s
            .add(with_host(place, |host| singles(host, plan))?);
        let lone = with_host(place, |host| pickup(host, plan))?;
        ours.lone_p50_ms.add(quantile(&lone, 0.5));
        lone_p99_ms.add(quantile(&lone, 0.99));
        if !plan.no_peer {
            crate::progress("queue: BullMQ");
            let seen = peers::bullmq(place, plan.tasks, plan.seconds, CONNECTIONS, plan.lone)?;
            bullmq.drain_per_s.add(seen.drain_per_s);
            bullmq.singles_per_s.add(seen.singles_per_s);
            bullmq.lone_p50_ms.add(seen.lone_p50_ms);
        }
    }
    Ok(report(plan, &ours, &bullmq, &lone_p99_ms))
}

fn report(plan: &QueuePlan, ours: &Series, bullmq: &Series, lone_p99_ms: &Samples) -> Report {
    let mut report = Report::new(
        "queue",
        format!(
            "Durable tasks of the `echo` module, each in a fresh sandbox, SQLite with \
             synchronous=FULL, submitted one by one over HTTP; {} rounds, each with an empty data \
             directory. Backlog: at least {} pending tasks with one `run_at`; from that instant \
             until the last is final. Singles: {CONNECTIONS} connections submit for {} s; tasks by \
             the time from the first submit until the last is final. Lone: {} calls of `POST \
             /v1/tasks?wait_ms=5000` on one connection, the whole call. Beside it BullMQ 6.7 on \
             Redis with appendfsync always: no-op jobs in the same process, concurrency 50, the \
             same amounts, called without HTTP.",
            plan.rounds, plan.tasks, plan.seconds, plan.lone
        ),
    );
    let mut table = Table::new(&[
        "what",
        "cofferdam",
        "BullMQ, appendfsync always",
        "ours ÷ this",
    ]);
    for (what, us, them) in [
        ("backlog, tasks/s", &ours.drain_per_s, &bullmq.drain_per_s),
        (
            "singles, tasks/s",
            &ours.singles_per_s,
            &bullmq.singles_per_s,
        ),
        ("lone task p50, ms", &ours.lone_p50_ms, &bullmq.lone_p50_ms),
    ] {
        table.row([
            what.to_owned(),
            us.text(),
            them.text(),
            us.over(them).text(),
        ]);
    }
    let nothing = || Samples::default().text();
    table.row([
        "lone task p99, ms".to_owned(),
        lone_p99_ms.text(),
        nothing(),
        nothing(),
    ]);
    report.tables.push(table);
    report.goal(
        "backlog, tasks/s",
        Aim::AtLeast(50_000.0),
        &ours.drain_per_s,
    );
    report.goal(
        "singles, tasks/s",
        Aim::AtLeast(20_000.0),
        &ours.singles_per_s,
    );
    report.goal("lone task p50, ms", Aim::AtMost(2.0), &ours.lone_p50_ms);
    report
}

fn with_host<T>(
    place: &Place,
    measure: impl FnOnce(&Host) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let data = TempDir::new()?;
    let host = Host::start(place, data.path())?;
    host.upload(place, "echo")?;
    host.check_echo()?;
    let measured = measure(&host)?;
    host.server.stop()?;
    Ok(measured)
}

/// Tasks per second from the common `run_at` until the last is final.
fn backlog(host: &Host, plan: &QueuePlan) -> anyhow::Result<f64> {
    let before = host.counters()?;
    let lead = Duration::from_secs(plan.lead_s);
    let due = Instant::now() + lead;
    let run_at = Timestamp::now() + lead;
    let body = format!(r#"{{"module":"echo","input":{{"n":1}},"run_at":"{run_at:.3}"}}"#);
    let mut accepted = 0;
    while accepted < plan.tasks {
        accepted += submit(host, &body, SLICE_S)?;
        if Instant::now() >= due {
            bail!(
                "{accepted} tasks were submitted in {} s; a larger --lead-s or fewer --tasks helps",
                plan.lead_s
            );
        }
    }
    crate::progress(&format!(
        "queue: {accepted} tasks wait; due in {:.0} s",
        due.duration_since(Instant::now()).as_secs_f64()
    ));
    ensure!(
        host.counters()?.completed == before.completed,
        "tasks were run before their time"
    );
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
    let (done, last) = host.rest(before.completed, accepted)?;
    Ok(done as f64 / last.duration_since(due).as_secs_f64())
}

/// Tasks per second from the first submit until the last is final.
fn singles(host: &Host, plan: &QueuePlan) -> anyhow::Result<f64> {
    let before = host.counters()?;
    let begun = Instant::now();
    let body = r#"{"module":"echo","input":{"n":1}}"#;
    let accepted = submit(host, body, plan.seconds)?;
    let (done, last) = host.rest(before.completed, accepted)?;
    Ok(done as f64 / last.duration_since(begun).as_secs_f64())
}

/// Milliseconds of each call, sorted.
fn pickup(host: &Host, plan: &QueuePlan) -> anyhow::Result<Vec<f64>> {
    let body = br#"{"module":"echo","input":{"n":1}}"#;
    let mut taken = Vec::new();
    for _ in 0..plan.lone {
        let begun = Instant::now();
        let answer = host
            .client
            .post("/v1/tasks?wait_ms=5000", "application/json", body)?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
        let task = answer.json(&[200])?;
        ensure!(
            task["status"] == "completed",
            "a lone task did not complete: {task}"
        );
    }
    taken.sort_by(f64::total_cmp);
    Ok(taken)
}

/// Submits one task over and over; returns how many submits were acknowledged. Requests in flight
/// when `wrk` stopped may have been accepted as well.
fn submit(host: &Host, body: &str, seconds: u64) -> anyhow::Result<u64> {
    let seen = wrk::run(&Load {
        url: host.client.url("/v1/tasks"),
        content_type: "application/json",
        body,
        connections: CONNECTIONS,
        seconds,
        key: None,
    })?;
    ensure!(
        seen.errors == 0,
        "{} of {} submits failed",
        seen.errors,
        seen.requests
    );
    Ok(seen.requests)
}
