//! Benchmarks of the host beside its peers: each prints its tables, and its goals beside the
//! measured values. README.md says how they measure. `cargo xtask bench` installs and builds what
//! they need; this program only measures.

mod busy;
mod cached;
mod client;
mod cores;
mod exec;
mod fair;
mod growth;
mod host;
mod hostile;
mod kernels;
mod machine;
mod modules;
mod pages;
mod peers;
mod place;
mod postgres;
mod queue;
mod report;
mod run;
mod server;
mod shared;
mod sieve;
mod start;
mod stats;
mod tls;
mod workflow;
mod wrk;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::cores::CoresPlan;
use crate::fair::FairPlan;
use crate::growth::GrowthPlan;
use crate::modules::ModulesPlan;
use crate::pages::PagesPlan;
use crate::place::Place;
use crate::queue::QueuePlan;
use crate::report::{Form, Report};
use crate::shared::SharedPlan;
use crate::start::StartPlan;
use crate::workflow::WorkflowPlan;

/// Benchmarks of Cofferdam beside its peers.
#[derive(Debug, Parser)]
#[command(name = "cofferdam-bench")]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
    #[command(flatten)]
    output: Output,
    /// The host's program, instead of target/release/cofferdam.
    #[arg(long, global = true, value_name = "PROGRAM")]
    host: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct Output {
    /// Prints Markdown instead of aligned text.
    #[arg(long, global = true)]
    markdown: bool,
    /// Puts the section in its place in bench/RESULTS.md as well.
    #[arg(long, global = true)]
    record: bool,
}

/// How often and how long.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Plan {
    /// Rounds; every server has its turn in each.
    #[arg(long, default_value_t = 5, value_parser = rounds)]
    pub(crate) rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) seconds: u64,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// /v1/run beside a native echo and wasmtime serve.
    Run(Plan),
    /// Draining a backlog, single submits and a lone task, beside BullMQ.
    Queue(QueuePlan),
    /// The same over PostgreSQL, beside graphile-worker, pg-boss and BullMQ.
    Shared(SharedPlan),
    /// Claims and submits as the queue, its history and a transaction's age grow.
    Growth(GrowthPlan),
    /// Start to ready, and idle memory.
    Start(StartPlan),
    /// The latency of /v1/run while other guests compute.
    Busy(Plan),
    /// The latency of /v1/run beside each hostile guest.
    Hostile(Plan),
    /// /v1/exec beside native interpreters and other sandboxes.
    Exec(Plan),
    /// A cached result beside the same code computed anew, here and by python3.
    Cached(Plan),
    /// Code and compute on hosts with one guest process, two … and one for each core.
    Cores(CoresPlan),
    /// Computing kernels without checks, beside wasmtime itself.
    Kernels(Plan),
    /// Memory of loaded modules, and many modules in turn.
    Modules(ModulesPlan),
    /// A lone task of one tenant beside a backlog of another.
    Fair(FairPlan),
    /// What HTTPS costs a request of /v1/run.
    Tls(Plan),
    /// Workflows, beside pg-boss, BullMQ and DBOS.
    Workflow(WorkflowPlan),
    /// The pages for people over a long history, and what those who look cost.
    Pages(PagesPlan),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let place = Place::new(arguments.host);
    let report = measure(&place, &arguments.benchmark)?;
    let typed: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("cargo xtask bench {}", typed.join(" "));
    let form = if arguments.output.markdown {
        Form::Markdown
    } else {
        Form::Text
    };
    print(&report.render(form, &command));
    if arguments.output.record {
        report.record(&place.results(), &command)?;
    }
    Ok(())
}

fn measure(place: &Place, benchmark: &Benchmark) -> anyhow::Result<Report> {
    match benchmark {
        Benchmark::Run(plan) => run::run(place, plan),
        Benchmark::Queue(plan) => queue::run(place, plan),
        Benchmark::Shared(plan) => shared::run(place, plan),
        Benchmark::Growth(plan) => growth::run(plan),
        Benchmark::Start(plan) => start::run(place, plan),
        Benchmark::Busy(plan) => busy::run(place, plan),
        Benchmark::Hostile(plan) => hostile::run(place, plan),
        Benchmark::Exec(plan) => exec::run(place, plan),
        Benchmark::Cached(plan) => cached::run(place, plan),
        Benchmark::Cores(plan) => cores::run(place, plan),
        Benchmark::Kernels(plan) => kernels::run(place, plan),
        Benchmark::Modules(plan) => modules::run(place, plan),
        Benchmark::Fair(plan) => fair::run(place, plan),
        Benchmark::Tls(plan) => tls::run(place, plan),
        Benchmark::Workflow(plan) => workflow::run(place, plan),
        Benchmark::Pages(plan) => pages::run(place, plan),
    }
}

fn rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rounds @ 1..=100) => Ok(rounds),
        _ => Err("1 to 100".to_owned()),
    }
}

#[expect(clippy::print_stdout, reason = "the report is this program's output")]
fn print(text: &str) {
    println!("{text}");
}

/// Says what is going on, apart from the report.
#[expect(clippy::print_stderr, reason = "this is how progress is shown")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}
