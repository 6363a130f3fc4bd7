//! (f) How hostile guests affect others: the latency of `/v1/run/echo` while each guest of the
//! tests' catalogue is run again and again. A native echo measured in the same seconds shows how
//! much of it the machine causes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;
use crate::host::{Host, Start};
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

/// A process of guests is killed so often, as if a guest had found a defect of the runtime.
const KILL_EVERY: Duration = Duration::from_millis(50);

/// What goes on beside a measurement.
#[derive(Clone, Copy)]
enum Beside {
    Nobody,
    /// A guest that runs again and again.
    Guest(&'static str),
    /// Isolated guests, without and with deaths of their processes.
    Isolated {
        dying: bool,
    },
}

impl Beside {
    fn name(self) -> &'static str {
        match self {
            Beside::Nobody => "nobody",
            Beside::Guest(guest) => guest,
            Beside::Isolated { dying: false } => "isolated echoes",
            Beside::Isolated { dying: true } => "isolated echoes whose processes are killed",
        }
    }

    /// What its clients ask for, again and again.
    fn request(self) -> Option<String> {
        match self {
            Beside::Nobody => None,
            Beside::Guest(guest) => Some(format!("/v1/run/{guest}?timeout_ms={TIMEOUT_MS}")),
            Beside::Isolated { .. } => Some("/v1/run/echo?isolation=process".to_owned()),
        }
    }
}

/// The measurements beside something.
struct Case {
    beside: Beside,
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
    // Guests that fail all the time are what is measured.
    let start = Start {
        environment: vec![("COFFERDAM_BREAKER_THRESHOLD", "0".to_owned())],
        ..Start::default()
    };
    let host = Host::start_with(place, data.path(), start)?;
    host.upload(place, "echo")?;
    for guest in GUESTS {
        let wat = std::fs::read(place.file(&format!("tests/guests/{guest}.wat"))?)?;
        host.upload_bytes(guest, "text/wat", &wat)?;
    }
    host.check_echo()?;
    let native = peers::native_echo(place)?;
    let isolated = [false, true].map(|dying| Beside::Isolated { dying });
    let mut cases: Vec<Case> = std::iter::once(Beside::Nobody)
        .chain(GUESTS.map(Beside::Guest))
        .chain(isolated)
        .map(|beside| Case {
            beside,
            ours: Latency::default(),
            native: Latency::default(),
        })
        .collect();
    for round in 1..=plan.rounds {
        for case in &mut cases {
            let name = case.beside.name();
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
            .beside
            .request()
            .iter()
            .flat_map(|path| std::iter::repeat_n(path.clone(), machine::cores()))
            .map(|path| scope.spawn(|| again_and_again(&host.client, path, &over)))
            .collect();
        let killer = match case.beside {
            Beside::Isolated { dying: true } => Some(scope.spawn(|| kill(&host.server, &over))),
            Beside::Nobody | Beside::Guest(_) | Beside::Isolated { dying: false } => None,
        };
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
        if let Some(killer) = killer {
            killer.join().expect("a kill does not panic")?;
        }
        measured
    })
}

/// Runs a guest until it is over; the host must answer for each run in time.
fn again_and_again(client: &Client, path: String, over: &AtomicBool) -> anyhow::Result<()> {
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let answer = client
            .post(&path, "application/octet-stream", b"")
            .with_context(|| path.clone())?;
        ensure!(
            matches!(answer.status, 200 | 422),
            "{path} was answered with {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        std::thread::sleep(BEGIN_EVERY.saturating_sub(begun.elapsed()));
    }
    Ok(())
}

/// Kills one of the processes of guests after the other, until it is over.
fn kill(server: &Server, over: &AtomicBool) -> anyhow::Result<()> {
    for turn in 0_usize.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let children = server.children()?;
        if let Some(child) = children.get(turn % children.len().max(1)) {
            // It may be gone since it was listed.
            let _was_there = kill_process(*child, Signal::KILL);
        }
        std::thread::sleep(KILL_EVERY);
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
            key: None,
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
             measured beside the same guests: its loss is the machine's share. In the last row a process of \
             guests is killed {} times a second, while isolated runs go on. Ratios are to the \
             same round without a hostile guest.",
            plan.rounds,
            plan.seconds,
            1000 / BEGIN_EVERY.as_millis(),
            1000 / KILL_EVERY.as_millis(),
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
            case.beside.name().to_owned(),
            case.ours.p50_us.text(),
            case.ours.p99_us.text(),
            case.ours.p99_us.over(&idle.ours.p99_us).text(),
            case.native.p99_us.text(),
            case.native.p99_us.over(&idle.native.p99_us).text(),
        ]);
    }
    report.tables.push(table);
    for case in hostile {
        let what = format!("p99 ÷ idle beside {}", case.beside.name());
        let ratio = case.ours.p99_us.over(&idle.ours.p99_us);
        report.goal(&what, Aim::AtMost(2.0), &ratio);
    }
    report
}
