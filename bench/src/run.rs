//! (a) `/v1/run` with the smallest guest, beside a native echo and `wasmtime serve`, all of them
//! running at once and measured in turn, so that a disturbance hits them all.

use tempfile::TempDir;

use crate::Plan;
use crate::host::Host;
use crate::peers::{self, SERVE_TUNED};
use crate::place::Place;
use crate::report::{Aim, Report, Table};
use crate::server::Server;
use crate::stats::Samples;
use crate::wrk::{self, Load};

/// The body sent to every server.
const BODY: &str = "0123456789abcdef";
const CONNECTIONS: [usize; 2] = [1, 64];
/// The goals are for a server that has something to do: with one connection all of them wait for
/// the client most of the time.
const GOALS_AT: usize = 64;
const OURS: usize = 0;
const NATIVE: usize = 1;
const SERVE: usize = 2;
const SERVE_TUNED_AT: usize = 3;

/// A component that answers with its input.
pub(crate) const TINY: &str = "tests/guests/echo.wat";

/// Where a load goes.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    name: &'static str,
    path: &'a str,
    server: &'a Server,
    /// The API key that every request shows, if the server asks for one.
    key: Option<&'a str>,
}

impl<'a> Target<'a> {
    pub(crate) fn new(name: &'static str, path: &'a str, server: &'a Server) -> Target<'a> {
        Target {
            name,
            path,
            server,
            key: None,
        }
    }

    /// The same with a key.
    pub(crate) fn with_key(self, key: &'a str) -> Target<'a> {
        Target {
            key: Some(key),
            ..self
        }
    }
}

/// One server at one number of connections.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) per_second: Samples,
    pub(crate) p50_us: Samples,
    pub(crate) p99_us: Samples,
    pub(crate) cpu_us: Samples,
    pub(crate) errors: u64,
}

pub(crate) fn run(place: &Place, plan: &Plan) -> anyhow::Result<Report> {
    let data = TempDir::new()?;
    let host = Host::start(place, data.path())?;
    host.upload(place, "echo")?;
    host.check_echo()?;
    // Like the peer's component it has no libc, so that the sandbox around it is measured.
    host.upload_bytes("tiny", "text/wat", &std::fs::read(place.file(TINY)?)?)?;
    let native = peers::native_echo(place)?;
    let serve = peers::wasmtime_serve(place, &[])?;
    let tuned = peers::wasmtime_serve(place, SERVE_TUNED)?;
    let targets = [
        Target::new("cofferdam, tiny component", "/v1/run/tiny", &host.server),
        Target::new("native axum echo", "/", &native),
        Target::new("wasmtime serve", "/", &serve),
        Target::new("wasmtime serve, tuned", "/", &tuned),
        Target::new(
            "cofferdam, echo built with the SDK",
            "/v1/run/echo",
            &host.server,
        ),
    ];
    let mut report = Report::new(
        "run",
        format!(
            "POST of 16 bytes; every answer is 16 bytes. wrk -t1, {} rounds of {} s for each \
             server in turn, median (min–max). Tuned: {}. Each sandbox is fresh; the echo has none.",
            plan.rounds,
            plan.seconds,
            SERVE_TUNED.join(" ")
        ),
    );
    let mut table = Table::new(&[
        "connections",
        "server",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "server CPU µs/request",
        "errors",
        "ours ÷ this",
    ]);
    for connections in CONNECTIONS {
        let series = measure(&targets, connections, plan)?;
        for one in &series {
            table.row([
                connections.to_string(),
                one.name.to_owned(),
                one.per_second.text(),
                one.p50_us.text(),
                one.p99_us.text(),
                one.cpu_us.text(),
                one.errors.to_string(),
                series[OURS].per_second.over(&one.per_second).text(),
            ]);
        }
        if connections == GOALS_AT {
            goals(&mut report, &series);
        }
    }
    report.tables.push(table);
    Ok(report)
}

/// Measures the servers in turn, in every round.
pub(crate) fn measure(
    targets: &[Target<'_>],
    connections: usize,
    plan: &Plan,
) -> anyhow::Result<Vec<Series>> {
    let mut series: Vec<Series> = targets
        .iter()
        .map(|target| Series {
            name: target.name,
            per_second: Samples::default(),
            p50_us: Samples::default(),
            p99_us: Samples::default(),
            cpu_us: Samples::default(),
            errors: 0,
        })
        .collect();
    for round in 0..plan.rounds {
        crate::progress(&format!(
            "{connections} connections, round {} of {}",
            round + 1,
            plan.rounds
        ));
        for turn in 0..targets.len() {
            // Each round starts with a different server.
            let at = (turn + round) % targets.len();
            measure_one(&mut series[at], &targets[at], connections, plan)?;
        }
    }
    Ok(series)
}

fn measure_one(
    one: &mut Series,
    target: &Target<'_>,
    connections: usize,
    plan: &Plan,
) -> anyhow::Result<()> {
    let server = target.server;
    let cpu_before_s = server.cpu_s()?;
    let seen = wrk::run(&Load {
        url: format!("{}{}", server.base(), target.path),
        content_type: "application/octet-stream",
        body: BODY,
        connections,
        seconds: plan.seconds,
        key: target.key,
    })?;
    let cpu_s = server.cpu_s()? - cpu_before_s;
    one.per_second.add(seen.per_second);
    one.p50_us.add(seen.p50_us);
    one.p99_us.add(seen.p99_us);
    one.cpu_us.add(cpu_s * 1e6 / seen.requests.max(1) as f64);
    one.errors += seen.errors;
    Ok(())
}

fn goals(report: &mut Report, series: &[Series]) {
    let ratio = |peer: usize| series[OURS].per_second.over(&series[peer].per_second);
    let mut goal = |what: &str, least: f64, measured: Samples| {
        let what = format!("{what}, {GOALS_AT} connections");
        report.goal(&what, Aim::AtLeast(least), &measured);
    };
    goal("× wasmtime serve", 3.5, ratio(SERVE));
    goal("× wasmtime serve, tuned", 2.2, ratio(SERVE_TUNED_AT));
    goal("× native echo", 0.6, ratio(NATIVE));
}
