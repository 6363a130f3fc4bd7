//! (f) How hostile guests affect others: the latency of `/v1/run/echo` while each guest of the
//! tests' catalogue is run again and again. A native echo measured in the same seconds shows how
//! much of it the machine causes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::client::Client;
use crate::host::Host;
use crate::place::Place;
use crate::report::{Aim, Report, Table};
use crate::server::Server;
use crate::stats::Samples;
use crate::wrk::{self, Load};
use crate::{Plan, machine, peers};

/// The guests, by their files below `tests/guests`.
const GUESTS: [&str; 14] = [
    "spin",
    "sleep",
    "block",
    "recurse",
    "grow-memory",
    "grow-many-memories",
    "grow-tables",
    "fill-memory",
    "flood-stdout",
    "fill-disk",
    "sparse",
    "many-files",
    "leak-handles",
    "leak-pollables",
];
/// A guest that ends at once is not started more often than this: the benchmark is about the
/// guest's effect on others, not about a flood of requests.
const BEGIN_EVERY: Duration = Duration::from_millis(50);
/// The time-out of guests that do not end by themselves.
const TIMEOUT_MS: u64 = 1000;
/// The guests get this long to start before anything is measured.
const AHEAD: Duration = Duration::from_millis(300);

/// One guest, or none, and the measurements beside it.
struct Case {
    guest: Option<&'static str>,
    ours: Latency,
    native: Latency,
}

#[derive(Default)]
struct Latency {
    p50_us: Samples,
    p99_us: Samples,
}

pub(crate) fn run(place: &Place, plan: &Plan) -> anyhow::Result<Report> {
    let data = TempDir::new()?;
    let host = Host::start(place, data.path())?;
    host.upload(place, "echo")?;
    for guest in GUESTS {
        let wat = std::fs::read(place.file(&format!("tests/guests/{guest}.wat"))?)?;
        host.upload_bytes(guest, "text/wat", &wat)?;
    }
    host.check_echo()?;
    let native = peers::native_echo(place)?;
    let guests = GUESTS.into_iter().map(Some);
    let mut cases: Vec<Case> = std::iter::once(None)
        .chain(guests)
        .map(|guest| Case {
            guest,
            ours: Latency::default(),
            native: Latency::default(),
        })
        .collect();
    for round in 1..=plan.rounds {
        for case in &mut cases {
            let name = case.guest.unwrap_or("nobody");
            crate::progress(&format!(
                "hostile: {name}, round {round} of {}",
                plan.rounds
            ));
            measure(case, &host, &native, plan)?;
        }
    }
    Ok(report(&cases, plan))
}

fn measure(case: &mut Case, host: &Host, native: &Server, plan: &Plan) -> anyhow::Result<()> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let hostile: Vec<_> = case
            .guest
            .iter()
            .flat_map(|guest| std::iter::repeat_n(*guest, machine::cores()))
            .map(|guest| scope.spawn(|| again_and_again(&host.client, guest, &over)))
            .collect();
        std::thread::sleep(AHEAD);
        let measured = (|| {
            case.ours
                .measure(host.client.url("/v1/run/echo"), plan.seconds)?;
            case.native
                .measure(format!("{}/", native.base()), plan.seconds)
        })();
        over.store(true, Ordering::Relaxed);
        for guest in hostile {
            guest.join().expect("a request does not panic")?;
        }
        measured
    })
}

/// Runs a guest until it is over; the host must answer for each run in time.
fn again_and_again(client: &Client, guest: &str, over: &AtomicBool) -> anyhow::Result<()> {
    let path = format!("/v1/run/{guest}?timeout_ms={TIMEOUT_MS}");
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let answer = client
            .post(&path, "application/octet-stream", b"")
            .with_context(|| guest.to_owned())?;
        ensure!(
            matches!(answer.status, 200 | 422),
            "{guest} was answered with {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        std::thread::sleep(BEGIN_EVERY.saturating_sub(begun.elapsed()));
    }
    Ok(())
}

impl Latency {
    /// One connection, so that its requests do not wait for one another.
    fn measure(&mut self, url: String, seconds: u64) -> anyhow::Result<()> {
        let seen = wrk::run(&Load {
            url,
            content_type: "application/octet-stream",
            body: "0123456789abcdef",
            connections: 1,
            seconds,
        })?;
        ensure!(seen.errors == 0, "{} answers were errors", seen.errors);
        self.p50_us.add(seen.p50_us);
        self.p99_us.add(seen.p99_us);
        Ok(())
    }
}

fn report(cases: &[Case], plan: &Plan) -> Report {
    let cores = machine::cores();
    let mut report = Report::new(
        "hostile",
        format!(
            "`/v1/run/echo` over one connection (wrk -t1, {} rounds of {} s, median (min–max)) \
             while {cores} clients run a hostile guest of `tests/guests` again and again, at most \
             {} times a second each and for {TIMEOUT_MS} ms at most. The native axum echo is \
             measured beside the same guests: its loss is the machine's share. Ratios are to the \
             same round without a hostile guest.",
            plan.rounds,
            plan.seconds,
            1000 / BEGIN_EVERY.as_millis(),
        ),
    );
    let mut table = Table::new(&[
        "guest",
        "p50 µs",
        "p99 µs",
        "p99 ÷ idle",
        "native p99 µs",
        "native p99 ÷ idle",
    ]);
    let Some((idle, hostile)) = cases.split_first() else {
        return report;
    };
    for case in cases {
        table.row([
            case.guest.unwrap_or("nobody").to_owned(),
            case.ours.p50_us.text(),
            case.ours.p99_us.text(),
            case.ours.p99_us.over(&idle.ours.p99_us).text(),
            case.native.p99_us.text(),
            case.native.p99_us.over(&idle.native.p99_us).text(),
        ]);
    }
    report.tables.push(table);
    for case in hostile {
        let what = format!("p99 ÷ idle beside {}", case.guest.unwrap_or_default());
        let ratio = case.ours.p99_us.over(&idle.ours.p99_us);
        report.goal(&what, Aim::AtMost(2.0), &ratio);
    }
    report
}
