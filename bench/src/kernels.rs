//! (k) Computing kernels in a process of the engine without checks, beside wasmtime itself without epochs or
//! fuel, and beside the engine that yields at every tick: what checks cost, and that the host costs nothing
//! else. Each kernel is run by all three in each round.

mod plain;
mod work;

use anyhow::ensure;
use tempfile::TempDir;

use self::plain::Plain;
use self::work::Kernel;
use crate::Plan;
use crate::host::Host;
use crate::place::Place;
use crate::report::{Aim, Report, Table};
use crate::stats::Samples;

/// How much longer than by wasmtime itself a kernel may take.
const AT_MOST: f64 = 1.05;
/// Limits above whatever a kernel takes.
const LIMITS: &str = "timeout_ms=60000&cpu_ms=60000";

/// Who runs a kernel.
const RUNNERS: [&str; 3] = ["wasmtime", "dedicated", "process"];

/// One kernel's times, in the order of [`RUNNERS`].
struct Series {
    kernel: Kernel,
    took_ms: [Samples; RUNNERS.len()],
}

pub(crate) fn run(place: &Place, plan: &Plan) -> anyhow::Result<Report> {
    let data = TempDir::new()?;
    let host = Host::start(place, data.path())?;
    let mut measured = Vec::new();
    for kernel in work::all() {
        crate::progress(&format!("kernels: {} is compiled", kernel.name));
        host.upload_bytes(kernel.name, "text/wat", kernel.text.as_bytes())?;
        let plain = Plain::load(&kernel)?;
        let mut series = Series {
            took_ms: RUNNERS.map(|_runner| Samples::default()),
            kernel,
        };
        // Once for the compilers, the processes and the caches.
        series.measure(&host, &plain, 0)?;
        series.took_ms = RUNNERS.map(|_runner| Samples::default());
        for round in 0..plan.rounds {
            let name = series.kernel.name;
            crate::progress(&format!(
                "kernels: {name}, round {} of {}",
                round + 1,
                plan.rounds
            ));
            series.measure(&host, &plain, round)?;
        }
        measured.push(series);
    }
    host.server.stop()?;
    Ok(report(&measured, *plan))
}

impl Series {
    /// Lets each of them run it once, another first in each round.
    fn measure(&mut self, host: &Host, plain: &Plain, round: usize) -> anyhow::Result<()> {
        for turn in 0..RUNNERS.len() {
            let runner = (turn + round) % RUNNERS.len();
            let took_ms = match RUNNERS[runner] {
                "wasmtime" => plain.run()?,
                isolation => self.run_by(host, isolation)?,
            };
            self.took_ms[runner].add(took_ms);
        }
        Ok(())
    }

    /// The milliseconds of a run, as the host tells them.
    fn run_by(&self, host: &Host, isolation: &str) -> anyhow::Result<f64> {
        let limits = match isolation {
            "dedicated" => LIMITS,
            // So little more than its default would have a process for itself too.
            _ => "timeout_ms=60000",
        };
        let path = format!(
            "/v1/run/{}?isolation={isolation}&{limits}",
            self.kernel.name
        );
        let answer = host.client.post(&path, "application/octet-stream", b"")?;
        ensure!(
            answer.status == 200,
            "{path} was answered with {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        ensure!(
            answer.isolation.as_deref() == Some(isolation),
            "{path} ran as {:?}",
            answer.isolation
        );
        let micros = answer.duration_us.unwrap_or(f64::NAN);
        Ok(micros / 1e3)
    }
}

fn report(measured: &[Series], plan: Plan) -> Report {
    let mut report = Report::new(
        "kernels",
        format!(
            "One run at a time, {} rounds, milliseconds, median (min–max). wasmtime: the same version in this \
             program, with neither epochs nor fuel nor a host around it; dedicated: `/v1/run` with \
             `isolation=dedicated`, a process of the engine without checks; process: with `isolation=process`, \
             where the guest yields at every tick. {}",
            plan.rounds,
            work::ABOUT
        ),
    );
    let mut table = Table::new(&[
        "kernel",
        "wasmtime ms",
        "dedicated ms",
        "process ms",
        "dedicated ÷ wasmtime",
        "process ÷ wasmtime",
    ]);
    for Series { kernel, took_ms } in measured {
        let [plain, dedicated, process] = took_ms;
        let ratio = dedicated.over(plain);
        table.row([
            kernel.name.to_owned(),
            plain.text(),
            dedicated.text(),
            process.text(),
            ratio.text(),
            process.over(plain).text(),
        ]);
        let what = format!("{}: dedicated ÷ wasmtime", kernel.name);
        report.goal(&what, Aim::AtMost(AT_MOST), &ratio);
    }
    report.tables.push(table);
    report
}
