//! (c) From starting the program to its first 200 at `/readyz`, with warm caches, and the memory
//! of an idle host. The peer is `wasmtime serve`, which compiles its one component as it starts,
//! or loads it precompiled.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::host::Host;
use crate::place::Place;
use crate::report::{Aim, Report, Table};
use crate::server::Server;
use crate::stats::Samples;
use crate::{machine, peers};

/// An idle server's memory is measured this long after it was ready.
const SETTLE: Duration = Duration::from_secs(2);
/// How long the interpreters may take to be compiled.
const WARM_UP_MAX: Duration = Duration::from_secs(180);
/// Memory is measured in this many starts; it hardly differs between them.
const MEMORY_STARTS: usize = 3;

/// How often.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct StartPlan {
    /// Starts of each server.
    #[arg(long, default_value_t = 15, value_parser = crate::rounds)]
    starts: usize,
}

#[derive(Default)]
struct Series {
    ready_ms: Samples,
    memory_mb: Samples,
}

impl Series {
    /// Records a server that has just become ready.
    fn add(&mut self, server: &Server, start: usize) -> anyhow::Result<()> {
        self.ready_ms
            .add(server.started().elapsed().as_secs_f64() * 1e3);
        if start < MEMORY_STARTS {
            std::thread::sleep(SETTLE);
            self.memory_mb.add(server.resident_mb()?);
        }
        Ok(())
    }
}

pub(crate) fn run(place: &Place, plan: &StartPlan) -> anyhow::Result<Report> {
    let data = TempDir::new()?;
    fill(place, data.path())?;
    let precompiled = precompile(place, data.path())?;
    let [mut ours, mut compiling, mut loading] = [(); 3].map(|()| Series::default());
    for start in 0..plan.starts {
        crate::progress(&format!("start: {} of {}", start + 1, plan.starts));
        let host = Host::start(place, data.path())?;
        ours.add(&host.server, start)?;
        host.server.stop()?;
        compiling.add(&peers::wasmtime_serve(place, &[])?, start)?;
        loading.add(&peers::serve_precompiled(place, &precompiled)?, start)?;
    }
    let mut report = Report::new(
        "start",
        format!(
            "Spawn to the first 200 of `/readyz` ({} starts in turn, median (min–max), on {} \
             cores) over a data directory that holds echo, transform and the interpreters, compiled; resident \
             memory 2 s after that ({MEMORY_STARTS} starts). wasmtime serve is ready at its first \
             answer.",
            plan.starts,
            machine::cores()
        ),
    );
    let mut table = Table::new(&["server", "ready ms", "resident MB"]);
    for (name, series) in [
        ("cofferdam serve", &ours),
        ("wasmtime serve, compiling", &compiling),
        ("wasmtime serve, precompiled", &loading),
    ] {
        table.row([
            name.to_owned(),
            series.ready_ms.text(),
            series.memory_mb.text(),
        ]);
    }
    report.tables.push(table);
    report.goal("start to ready, ms", Aim::AtMost(150.0), &ours.ready_ms);
    report.goal("idle memory, MB", Aim::AtMost(50.0), &ours.memory_mb);
    Ok(report)
}

/// Uploads two modules, waits until the interpreters are compiled where they are installed, and ends
/// the host, so that every measured start finds its caches warm.
fn fill(place: &Place, data: &Path) -> anyhow::Result<()> {
    let host = Host::start(place, data)?;
    let begun = Instant::now();
    while host.client.get("/readyz")?.json(&[200])?["interpreters"]
        .as_object()
        .is_some_and(|states| states.values().any(|state| state == "warming_up"))
    {
        ensure!(
            begun.elapsed() < WARM_UP_MAX,
            "the interpreters took too long"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    host.upload(place, "echo")?;
    host.upload(place, "transform")?;
    host.check_echo()?;
    host.server.stop()
}

fn precompile(place: &Place, folder: &Path) -> anyhow::Result<PathBuf> {
    let precompiled = folder.join("hello.cwasm");
    let output = Command::new(place.wasmtime()?)
        .arg("compile")
        .arg(place.file(peers::HELLO)?)
        .arg("-o")
        .arg(&precompiled)
        .output()
        .context("wasmtime cannot be started")?;
    ensure!(
        output.status.success(),
        "wasmtime compile: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(precompiled)
}
