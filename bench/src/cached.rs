//! A result of the cache through HTTP beside the same code computed anew, here and by `python3 -c`, one
//! at a time.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;
use tempfile::TempDir;

use crate::Plan;
use crate::exec::warm_up;
use crate::host::Host;
use crate::place::Place;
use crate::report::{Aim, Report, Table};
use crate::stats::{Samples, quantile};
use crate::wrk::{self, Load};

/// What is computed: nothing to speak of, and something that takes a while.
const SCRIPTS: [(&str, &str, &str); 2] = [
    ("print(1)", "print(1)", "1"),
    (
        "primes below 20,000",
        "print(sum(all(n % d for d in range(2, int(n ** .5) + 1)) for n in range(2, 20000)))",
        "2262",
    ),
];
const PYTHON: &str = "/usr/bin/python3";
/// How long a result is kept: longer than any plan.
const TTL_MS: u64 = 24 * 60 * 60 * 1000;
/// The least that a cached result must be faster than `python3 -c`.
const TIMES: f64 = 20.0;

/// Who gives the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Cached,
    Anew,
    Python,
}

impl Who {
    const ALL: [Who; 3] = [Who::Cached, Who::Anew, Who::Python];

    fn name(self) -> &'static str {
        match self {
            Who::Cached => "cofferdam /v1/exec, cached",
            Who::Anew => "cofferdam /v1/exec",
            Who::Python => "python3 -c",
        }
    }
}

/// One of them with one script.
#[derive(Default)]
struct Series {
    p50_us: Samples,
    p99_us: Samples,
    per_second: Samples,
}

pub(crate) fn run(place: &Place, plan: &Plan) -> anyhow::Result<Report> {
    let data = TempDir::new()?;
    let host = Host::start(place, data.path())?;
    warm_up(&host)?;
    let mut report = Report::new(
        "cached",
        format!(
            "The same Python code again and again, one at a time; {} rounds of {} s for each in turn, median \
             (min–max). Ours over HTTP on one connection (wrk -t1); python3 is started for each.",
            plan.rounds, plan.seconds
        ),
    );
    let mut table = Table::new(&[
        "code",
        "who",
        "p50 µs",
        "p99 µs",
        "per second",
        "this p50 ÷ cached",
    ]);
    for (name, code, prints) in SCRIPTS {
        let mut all = Who::ALL.map(|_| Series::default());
        for round in 0..plan.rounds {
            crate::progress(&format!("{name}: round {} of {}", round + 1, plan.rounds));
            for turn in 0..all.len() {
                // Each round starts with another.
                let at = (turn + round) % all.len();
                measure(&host, Who::ALL[at], (code, prints), plan, &mut all[at])?;
            }
        }
        let cached = &all[0].p50_us;
        for (who, one) in Who::ALL.into_iter().zip(&all) {
            table.row([
                name.to_owned(),
                who.name().to_owned(),
                one.p50_us.text(),
                one.p99_us.text(),
                one.per_second.text(),
                one.p50_us.over(cached).text(),
            ]);
        }
        let what = format!("times faster than python3 -c, {name}");
        report.goal(&what, Aim::AtLeast(TIMES), &all[2].p50_us.over(cached));
    }
    report.tables.push(table);
    Ok(report)
}

fn measure(
    host: &Host,
    who: Who,
    (code, prints): (&str, &str),
    plan: &Plan,
    series: &mut Series,
) -> anyhow::Result<()> {
    match who {
        Who::Cached | Who::Anew => {
            let mut request = json!({"language": "python", "code": code});
            if who == Who::Cached {
                request["cache"] = json!({"ttl_ms": TTL_MS});
            }
            ours(host, &request.to_string(), prints, plan, series)
        }
        Who::Python => python(code, prints, plan, series),
    }
}

fn ours(
    host: &Host,
    body: &str,
    prints: &str,
    plan: &Plan,
    series: &mut Series,
) -> anyhow::Result<()> {
    let answer = host
        .client
        .post("/v1/exec", "application/json", body.as_bytes())?
        .json(&[200])?;
    let stdout = answer["stdout"].as_str().unwrap_or_default();
    ensure!(
        stdout.trim_end() == prints,
        "{body} was answered with {answer}"
    );
    let seen = wrk::run(&Load {
        url: host.client.url("/v1/exec"),
        content_type: "application/json",
        key: None,
        body,
        connections: 1,
        seconds: plan.seconds,
    })?;
    ensure!(
        seen.errors == 0,
        "{} of {} failed",
        seen.errors,
        seen.requests
    );
    series.p50_us.add(seen.p50_us);
    series.p99_us.add(seen.p99_us);
    series.per_second.add(seen.per_second);
    Ok(())
}

fn python(code: &str, prints: &str, plan: &Plan, series: &mut Series) -> anyhow::Result<()> {
    let (begun, duration) = (Instant::now(), Duration::from_secs(plan.seconds));
    let mut taken_us = Vec::new();
    while begun.elapsed() < duration {
        let one = Instant::now();
        let output = Command::new(PYTHON)
            .args(["-c", code])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{PYTHON} cannot be started"))?;
        taken_us.push(one.elapsed().as_secs_f64() * 1e6);
        let stdout = String::from_utf8_lossy(&output.stdout);
        ensure!(stdout.trim_end() == prints, "{code} printed {stdout:?}");
    }
    let per_second = taken_us.len() as f64 / begun.elapsed().as_secs_f64();
    taken_us.sort_by(f64::total_cmp);
    series.p50_us.add(quantile(&taken_us, 0.5));
    series.p99_us.add(quantile(&taken_us, 0.99));
    series.per_second.add(per_second);
    Ok(())
}
