//! Claims beside a long history, and beside a transaction that stays open.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use cofferdam_domain::time::Timestamp;

use super::queue::Queue;
use super::{GrowthPlan, claims_ms, ms, p50_p99};
use crate::postgres::Postgres;
use crate::report::{Aim, Report, Table};
use crate::stats::{Samples, figure, quantile};

/// Finished tasks made by one statement: more have no numbers left in one transaction.
const CHUNK: u64 = 200_000;
/// Seconds of each figure without the held transaction.
const WINDOW_S: u64 = 20;
/// Tasks removed in one call, as by a host.
const PRUNED: u32 = 500;
const DATABASE: &str = "history";

/// As a host leaves them: of one module, each with one attempt. Ids are in the order of time.
const FINISHED: &str = "
    WITH n AS (SELECT nextval('cofferdam.task_seq') AS seq, g AS place FROM generate_series(1, $n) g),
    t AS (
        INSERT INTO cofferdam.task (seq, state, priority, run_at, attempt, max_attempts, updated_at,
            change, worker, claimed_at, finished_at)
        SELECT seq, 3, 2, 1000 + seq, 1, 1, 1000 + seq,
            (SELECT cofferdam.change_number(0)) + place,
            '00000000-0000-0000-0000-00000000a11c', 1000 + seq, 1001 + seq
        FROM n),
    a AS (
        INSERT INTO cofferdam.attempt (seq, number, worker, started_at, finished_at, duration_us,
            cpu_us, peak_memory_bytes, disk_bytes, truncated, content_type, output)
        SELECT seq, 1, '00000000-0000-0000-0000-00000000a11c', 1000 + seq, 1001 + seq, 12, 8, 65536,
            0, 0, 'application/json', '42'
        FROM n)
    INSERT INTO cofferdam.task_spec (seq, id, template, name, created_at, fingerprint, content_type,
        body)
    SELECT n.seq, ('01800000-0000-7000-8000-' || lpad(to_hex(n.seq), 12, '0'))::uuid, p.id, p.name,
        1000 + n.seq, decode(lpad(to_hex(n.seq), 32, '0'), 'hex'), 'application/json', '{}'
    FROM n CROSS JOIN (SELECT id, name FROM cofferdam.template LIMIT 1) p;
    INSERT INTO cofferdam.counter AS c (shard, state, tasks) VALUES (63, 3, $n)
    ON CONFLICT (shard, tenant, state) DO UPDATE SET tasks = c.tasks + excluded.tasks";

/// A transaction that sees the database as it is now, until it is dropped.
struct Held<'a> {
    server: &'a Postgres,
    client: Child,
}

impl Held<'_> {
    fn open(server: &Postgres) -> anyhow::Result<Held<'_>> {
        let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM cofferdam.worker; \
                   SELECT pg_sleep(86400)";
        let client = server
            .psql(DATABASE)
            .args(["-c", sql])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("psql cannot be started")?;
        Ok(Held { server, client })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // A server that sleeps for its client does not see that it is gone.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()";
        if let Err(error) = self.server.run(DATABASE, end) {
            crate::progress(&format!("growth: the transaction stays open: {error:#}"));
        }
        // It may have ended already.
        let _gone = self.client.kill();
        let _waited_for = self.client.wait();
    }
}

pub(super) fn measure(
    plan: &GrowthPlan,
    server: &Postgres,
    report: &mut Report,
) -> anyhow::Result<()> {
    let queue = Queue::open(Some(server.fresh(DATABASE)?))?;
    queue.fill(plan.few)?;
    let mut table = Table::new(&[
        "finished tasks",
        "transaction",
        "claim p50, ms",
        "claim p99, ms",
    ]);
    let mut row = |finished: u64, what: &str, seen: (f64, f64)| {
        let [p50, p99] = ms(seen);
        table.row([finished.to_string(), what.to_owned(), p50, p99]);
    };
    crate::progress("growth: claims without a history");
    let without = p50_p99(&claims_ms(plan, &queue, WINDOW_S)?);
    row(0, "none", without);
    crate::progress(&format!("growth: making {} finished tasks", plan.finished));
    finish(plan, server)?;
    let with = p50_p99(&claims_ms(plan, &queue, WINDOW_S)?);
    row(plan.finished, "none", with);
    let held = Held::open(server)?;
    crate::progress(&format!(
        "growth: a transaction is held for {} s",
        plan.held_s
    ));
    let rest = plan.held_s.saturating_sub(WINDOW_S);
    if rest > 0 {
        claims_ms(plan, &queue, rest)?;
    }
    let beside = p50_p99(&claims_ms(plan, &queue, WINDOW_S)?);
    drop(held);
    let what = format!("held for {} s", plan.held_s);
    row(plan.finished, &what, beside);
    report.tables.push(table);
    report.tables.push(pruning(plan, server, &queue)?);
    let mut ratio = |what: &str, value: f64| {
        let mut sample = Samples::default();
        sample.add(value);
        report.goal(what, Aim::AtMost(2.0), &sample);
    };
    ratio("claim p99 with the history ÷ without", with.1 / without.1);
    ratio(
        "claim p99 beside the held transaction ÷ without both",
        beside.1 / without.1,
    );
    Ok(())
}

/// Removes finished tasks of the history for some time, in calls of the size that a host makes.
fn pruning(plan: &GrowthPlan, server: &Postgres, queue: &Queue) -> anyhow::Result<Table> {
    crate::progress("growth: removing finished tasks");
    // Those of the history finished in the first moments of time.
    let before = Timestamp::from_millis(i64::try_from(plan.finished)? + 1_000_000);
    let cost = server.cost(DATABASE)?;
    let (begun, mut removed, mut calls) = (Instant::now(), 0, Vec::new());
    while begun.elapsed() < Duration::from_secs(WINDOW_S) {
        let called = Instant::now();
        let some = queue.prune(before, PRUNED)?;
        calls.push(called.elapsed().as_secs_f64() * 1e3);
        removed += some;
        if some < PRUNED as usize {
            break;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let fifth = (calls.len() / 5).max(1);
    let median = |calls: &[f64]| {
        let mut calls = calls.to_vec();
        calls.sort_by(f64::total_cmp);
        figure(quantile(&calls, 0.5))
    };
    let mut table = Table::new(&[
        "removed tasks",
        "tasks/s",
        "first calls p50, ms",
        "last calls p50, ms",
        "WAL bytes per task",
    ]);
    table.row([
        removed.to_string(),
        figure(removed as f64 / took),
        median(&calls[..fifth]),
        median(&calls[calls.len() - fifth..]),
        figure(server.cost(DATABASE)?.since(cost, removed as f64).wal_bytes),
    ]);
    Ok(table)
}

fn finish(plan: &GrowthPlan, server: &Postgres) -> anyhow::Result<()> {
    let mut left = plan.finished;
    while left > 0 {
        let some = left.min(CHUNK);
        server.run(DATABASE, &FINISHED.replace("$n", &some.to_string()))?;
        left -= some;
    }
    server.run(DATABASE, "VACUUM ANALYZE")?;
    server.run("postgres", "CHECKPOINT")?;
    Ok(())
}
