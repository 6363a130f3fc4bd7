//! (g) Many modules on one host: the memory of a loaded module, and the cost of a run whose module
//! has been unloaded, because more modules are in use than stay loaded.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tempfile::TempDir;

use crate::host::Host;
use crate::machine;
use crate::place::Place;
use crate::report::{Aim, Report, Table};
use crate::stats::{Samples, figure, quantile};

/// This many modules all stay loaded by default; memory is measured with them.
const FEW: usize = 60;
/// Memory is measured this long after the last run.
const SETTLE: Duration = Duration::from_secs(2);

/// How many and how often.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ModulesPlan {
    /// Modules that are run in turn.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(61..=10_000))]
    modules: u32,
    /// The number of runs of each module.
    #[arg(long, default_value_t = 3, value_parser = crate::rounds)]
    rounds: usize,
}

/// A sort of module.
struct Sort {
    name: &'static str,
    /// Bytes of a module that differs from every other.
    make: fn(&Place, usize) -> anyhow::Result<Vec<u8>>,
    content_type: &'static str,
}

const SORTS: [Sort; 2] = [
    Sort {
        name: "tiny WASI 0.1 command",
        make: |_place, number| Ok(tiny(number).into_bytes()),
        content_type: "text/wat",
    },
    Sort {
        name: "echo built with the SDK",
        make: marked_echo,
        content_type: "application/wasm",
    },
];

/// A command that ends at once.
fn tiny(number: usize) -> String {
    format!(
        r#"(module (memory (export "memory") 1) (func (export "_start")) (data (i32.const 0) "{number}"))"#
    )
}

/// The example with an added custom section, which changes only its digest.
fn marked_echo(place: &Place, number: usize) -> anyhow::Result<Vec<u8>> {
    let mut wasm = std::fs::read(place.guest("echo")?)?;
    let content = format!("\u{4}mark{number}");
    wasm.push(0);
    wasm.push(u8::try_from(content.len())?);
    wasm.extend(content.into_bytes());
    Ok(wasm)
}

#[derive(Default)]
struct Measured {
    upload_ms: Samples,
    module_mb: Samples,
    warm_us: Samples,
    turn_p50_us: Samples,
    turn_p99_us: Samples,
    many_mb: Samples,
}

pub(crate) fn run(place: &Place, plan: &ModulesPlan) -> anyhow::Result<Report> {
    let mut report = Report::new(
        "modules",
        format!(
            "Modules that differ from one another on one host with the defaults, on {} cores. \
             Memory: resident, before and after {FEW} of them were uploaded and run once, by \
             module. Warm: the run of a module that is loaded. In turn: {} modules, each run once a \
             round, {} rounds, so that with 256 loaded at once each is loaded anew; then the host's \
             resident memory.",
            machine::cores(),
            plan.modules,
            plan.rounds
        ),
    );
    let mut table = Table::new(&[
        "module",
        "upload ms",
        "MB a loaded module",
        "warm µs",
        "in turn p50 µs",
        "in turn p99 µs",
        "resident MB",
    ]);
    for sort in &SORTS {
        let measured = measure(place, sort, plan)?;
        table.row([
            sort.name.to_owned(),
            measured.upload_ms.text(),
            measured.module_mb.text(),
            measured.warm_us.text(),
            measured.turn_p50_us.text(),
            measured.turn_p99_us.text(),
            measured.many_mb.text(),
        ]);
        if sort.content_type == "text/wat" {
            report.goal(
                "MB a loaded tiny module",
                Aim::AtMost(0.3),
                &measured.module_mb,
            );
        }
    }
    report.tables.push(table);
    Ok(report)
}

fn measure(place: &Place, sort: &Sort, plan: &ModulesPlan) -> anyhow::Result<Measured> {
    let data = TempDir::new()?;
    let host = Host::start(place, data.path())?;
    let mut measured = Measured::default();
    let upload = |number: usize| -> anyhow::Result<f64> {
        let bytes = (sort.make)(place, number)?;
        let begun = Instant::now();
        host.upload_bytes(&name(number), sort.content_type, &bytes)?;
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    };
    // The one-time costs of the first module and its run do not count.
    upload(0)?;
    once(&host, 0)?;
    std::thread::sleep(SETTLE);
    let before = host.server.resident_mb()?;
    for number in 1..=FEW {
        measured.upload_ms.add(upload(number)?);
        once(&host, number)?;
    }
    std::thread::sleep(SETTLE);
    let after = host.server.resident_mb()?;
    measured.module_mb.add((after - before) / FEW as f64);
    for number in 1..=FEW {
        measured.warm_us.add(once(&host, number)?);
    }
    let all = plan.modules as usize;
    for number in FEW + 1..all {
        if number % 100 == 0 {
            crate::progress(&format!(
                "modules: {}, {number} of {all} uploaded",
                sort.name
            ));
        }
        upload(number)?;
    }
    for round in 1..=plan.rounds {
        crate::progress(&format!("modules: {}, round {round}", sort.name));
        let mut taken = (0..all)
            .map(|number| once(&host, number))
            .collect::<anyhow::Result<Vec<f64>>>()?;
        taken.sort_by(f64::total_cmp);
        measured.turn_p50_us.add(quantile(&taken, 0.5));
        measured.turn_p99_us.add(quantile(&taken, 0.99));
    }
    std::thread::sleep(SETTLE);
    measured.many_mb.add(host.server.resident_mb()?);
    host.server.stop()?;
    Ok(measured)
}

/// Runs a module once; microseconds.
fn once(host: &Host, number: usize) -> anyhow::Result<f64> {
    let path = format!("/v1/run/{}", name(number));
    let begun = Instant::now();
    let answer = host.client.post(&path, "application/octet-stream", b"")?;
    let taken = begun.elapsed().as_secs_f64() * 1e6;
    ensure!(
        answer.status == 200,
        "{path} was answered with {} after {} µs: {}",
        answer.status,
        figure(taken),
        String::from_utf8_lossy(&answer.body)
    );
    Ok(taken)
}

fn name(number: usize) -> String {
    format!("m{number}")
}
