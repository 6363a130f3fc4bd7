//! (d) How guests that compute affect others: the latency of `/v1/run/echo` while as many
//! guests as there are cores, and four times as many, spin for seconds. A native echo measured in
//! the same seconds shows how much of that the machine causes: with every core taken, any server
//! waits for its turn.

use std::thread::Scope;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::client::Client;
use crate::host::{Host, Start};
use crate::place::Place;
use crate::report::{Aim, Report, Table};
use crate::server::Server;
use crate::stats::Samples;
use crate::wrk::{self, Load, Seen};
use crate::{Plan, machine, peers};

/// Computes until it is stopped. It is a WASI 0.1 command, so it needs no import.
const SPIN: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $again (br $again))))"#;
const CONNECTIONS: usize = 16;
/// The spinning guests get this long to start before anything is measured.
const AHEAD: Duration = Duration::from_millis(500);
/// The spinning guests go on this long after the measurement should have ended.
const BEYOND: Duration = Duration::from_millis(1500);

#[derive(Default)]
struct Series {
    per_second: Samples,
    p50_us: Samples,
    p99_us: Samples,
    errors: u64,
}

impl Series {
    fn add(&mut self, seen: Seen) {
        self.per_second.add(seen.per_second);
        self.p50_us.add(seen.p50_us);
        self.p99_us.add(seen.p99_us);
        self.errors += seen.errors;
    }
}

/// The number of spinning guests, and the server measured meanwhile.
struct Case {
    spinning: usize,
    ours: Series,
    native: Series,
}

pub(crate) fn run(place: &Place, plan: &Plan) -> anyhow::Result<Report> {
    let data = TempDir::new()?;
    // Guests that fail all the time are what is measured.
    let start = Start {
        environment: vec![("COFFERDAM_BREAKER_THRESHOLD", "0".to_owned())],
        ..Start::default()
    };
    let host = Host::start_with(place, data.path(), start)?;
    host.upload(place, "echo")?;
    host.upload_bytes("spin", "text/wat", SPIN.as_bytes())?;
    host.check_echo()?;
    let native = peers::native_echo(place)?;
    let cores = machine::cores();
    let mut cases = [0, cores, 4 * cores].map(|spinning| Case {
        spinning,
        ours: Series::default(),
        native: Series::default(),
    });
    for round in 0..plan.rounds {
        for case in &mut cases {
            crate::progress(&format!(
                "busy: {} spinning, round {} of {}",
                case.spinning,
                round + 1,
                plan.rounds
            ));
            measure(case, &host, &native, plan)?;
        }
    }
    Ok(report(&cases, plan))
}

fn measure(case: &mut Case, host: &Host, native: &Server, plan: &Plan) -> anyhow::Result<()> {
    // Both measurements take place while the same guests spin.
    let measured = Duration::from_secs(2 * plan.seconds);
    let spin_for = AHEAD + measured + BEYOND;
    std::thread::scope(|scope| {
        let spinning: Vec<_> = (0..case.spinning)
            .map(|_| spin(scope, host.client.clone(), spin_for))
            .collect();
        if case.spinning > 0 {
            std::thread::sleep(AHEAD);
        }
        let begun = Instant::now();
        case.ours.add(wrk::run(&load(
            host.client.url("/v1/run/echo"),
            plan.seconds,
        ))?);
        case.native.add(wrk::run(&load(
            format!("{}/", native.base()),
            plan.seconds,
        ))?);
        ensure!(
            case.spinning == 0 || begun.elapsed() < measured + BEYOND,
            "the measurement outlasted the spinning guests"
        );
        for guest in spinning {
            guest.join().expect("a request does not panic")?;
        }
        Ok(())
    })
}

/// One guest that spins until its time-out ends it; any other end is an error.
fn spin<'scope>(
    scope: &'scope Scope<'scope, '_>,
    client: Client,
    duration: Duration,
) -> std::thread::ScopedJoinHandle<'scope, anyhow::Result<()>> {
    scope.spawn(move || {
        let milliseconds = duration.as_millis();
        let cpu_ms = milliseconds.max(10_000);
        let path = format!("/v1/run/spin?timeout_ms={milliseconds}&cpu_ms={cpu_ms}");
        let failure = client
            .post(&path, "application/octet-stream", b"")?
            .json(&[422])
            .context("a spinning guest was not ended by its time-out")?;
        ensure!(
            failure["code"] == "timeout",
            "a spinning guest ended with {failure}"
        );
        Ok(())
    })
}

fn load(url: String, seconds: u64) -> Load<'static> {
    Load {
        url,
        content_type: "application/octet-stream",
        body: "0123456789abcdef",
        connections: CONNECTIONS,
        seconds,
        key: None,
    }
}

fn report(cases: &[Case], plan: &Plan) -> Report {
    let mut report = Report::new(
        "busy",
        format!(
            "`/v1/run/echo` with {CONNECTIONS} connections (wrk -t1, {} rounds of {} s, median \
             (min–max)), idle and while guests spin through `/v1/run/spin`. The native axum echo \
             is measured while the same guests spin: its loss is the machine's share.",
            plan.rounds, plan.seconds
        ),
    );
    let mut table = Table::new(&[
        "spinning guests",
        "measured",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "errors",
    ]);
    for case in cases {
        for (name, series) in [("/v1/run/echo", &case.ours), ("native echo", &case.native)] {
            table.row([
                case.spinning.to_string(),
                name.to_owned(),
                series.per_second.text(),
                series.p50_us.text(),
                series.p99_us.text(),
                series.errors.to_string(),
            ]);
        }
    }
    report.tables.push(table);
    for case in cases {
        if case.spinning > 0 {
            let what = format!("p99 with {} spinning guests, ms", case.spinning);
            report.goal(&what, Aim::AtMost(5.0), &case.ours.p99_us.times(1e-3));
        }
    }
    report
}
