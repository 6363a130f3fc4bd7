//! (j) How code execution and compute grow with the cores: the same work on hosts with one guest process, two, and
//! so on up to one for each core, on all cores, and on a host that has one core alone. All hosts run at
//! once and are measured in turn, so that a disturbance hits them all. A host of an earlier version can
//! be measured beside them, to see what guest processes gain.

mod contestant;
mod work;

use std::path::PathBuf;

use anyhow::ensure;

use self::contestant::Contestant;
use self::work::Work;
use crate::place::Place;
use crate::report::{Aim, Report, Table};
use crate::stats::Samples;
use crate::wrk::{self, Load};
use crate::{Plan, machine};

/// Requests at once: one shows what a single client waits, many what the host can do at most.
const AT_ONCE: [usize; 2] = [1, 16];
/// The throughput of many requests at once is what grows with the cores.
const GOALS_AT: usize = 16;
/// The part of a core that each further process must bring.
const EACH_BRINGS: f64 = 0.9;
/// How much more the processes of two cores must do than an earlier host: the work, and the factor.
const BEFORE: [(&str, f64); 2] = [("Python", 2.0), ("JavaScript", 1.5)];
/// That factor is for this number of cores.
const BEFORE_CORES: usize = 2;

/// How often, how long, and beside whom.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CoresPlan {
    #[command(flatten)]
    plan: Plan,
    /// The program of an earlier version, which is measured as well.
    #[arg(long, value_name = "PROGRAM")]
    before: Option<PathBuf>,
}

/// One kind of work, a number of requests at once, and one host.
struct Series {
    work: usize,
    at_once: usize,
    contestant: usize,
    per_second: Samples,
    p50_ms: Samples,
    p99_ms: Samples,
}

/// Everything that was measured, by its names.
struct Measured {
    works: Vec<Work>,
    contestants: Vec<Contestant>,
    series: Vec<Series>,
}

pub(crate) fn run(place: &Place, plan: &CoresPlan) -> anyhow::Result<Report> {
    let works = work::all();
    let contestants = contestant::all(place, plan.before.as_deref(), machine::cores())?;
    for contestant in &contestants {
        crate::progress(&format!("cores: {} warms up", contestant.name));
        for work in &works {
            contestant.prepare(place, work)?;
        }
    }
    let mut measured = Measured {
        series: all_series(works.len(), contestants.len()),
        works,
        contestants,
    };
    let Plan { rounds, seconds } = plan.plan;
    for round in 0..rounds {
        crate::progress(&format!("cores: round {} of {rounds}", round + 1));
        for turn in 0..measured.series.len() {
            // Each round begins elsewhere, and neighbours are hosts with the same work.
            let at = (turn + round) % measured.series.len();
            measured.measure(at, seconds)?;
        }
    }
    Ok(report(&measured, plan.plan))
}

fn all_series(works: usize, contestants: usize) -> Vec<Series> {
    let mut series = Vec::new();
    for work in 0..works {
        for at_once in AT_ONCE {
            for contestant in 0..contestants {
                series.push(Series {
                    work,
                    at_once,
                    contestant,
                    per_second: Samples::default(),
                    p50_ms: Samples::default(),
                    p99_ms: Samples::default(),
                });
            }
        }
    }
    series
}

impl Measured {
    fn measure(&mut self, at: usize, seconds: u64) -> anyhow::Result<()> {
        let one = &mut self.series[at];
        let (work, contestant) = (&self.works[one.work], &self.contestants[one.contestant]);
        let seen = wrk::run(&Load {
            url: contestant.url(work),
            content_type: "application/json",
            body: &work.body,
            connections: one.at_once,
            seconds,
            key: None,
        })?;
        ensure!(
            seen.errors == 0,
            "{}: {} of {} requests for {} failed",
            contestant.name,
            seen.errors,
            seen.requests,
            work.name
        );
        one.per_second.add(seen.per_second);
        one.p50_ms.add(seen.p50_us / 1e3);
        one.p99_ms.add(seen.p99_us / 1e3);
        Ok(())
    }

    /// The same work and number at once on another host.
    fn beside(&self, one: &Series, is: impl Fn(&Contestant) -> bool) -> Option<&Series> {
        self.series.iter().find(|other| {
            (other.work, other.at_once) == (one.work, one.at_once)
                && is(&self.contestants[other.contestant])
        })
    }
}

fn report(measured: &Measured, plan: Plan) -> Report {
    let mut report = Report::new(
        "cores",
        format!(
            "Each kind of work on hosts that differ in their guest processes; all hosts run at once, and \
             each is measured in its turn: wrk -t1, {} rounds of {} s, median (min–max). {}",
            plan.rounds,
            plan.seconds,
            work::ABOUT
        ),
    );
    let mut table = Table::new(&[
        "work",
        "at once",
        "host",
        "per second",
        "p50 ms",
        "p99 ms",
        "÷ one process",
        "÷ one core",
    ]);
    for one in &measured.series {
        let over = |other: Option<&Series>| {
            other.map_or_else(String::new, |other| {
                one.per_second.over(&other.per_second).text()
            })
        };
        table.row([
            measured.works[one.work].name.to_owned(),
            one.at_once.to_string(),
            measured.contestants[one.contestant].name.clone(),
            one.per_second.text(),
            one.p50_ms.text(),
            one.p99_ms.text(),
            over(measured.beside(one, Contestant::is_base)),
            over(measured.beside(one, Contestant::is_on_one_core)),
        ]);
    }
    report.tables.push(table);
    goals(&mut report, measured);
    report
}

fn goals(report: &mut Report, measured: &Measured) {
    for one in &measured.series {
        let work = measured.works[one.work].name;
        let Some(processes) = measured.contestants[one.contestant].on_all_cores() else {
            continue;
        };
        if one.at_once == GOALS_AT
            && processes > 1
            && let Some(base) = measured.beside(one, Contestant::is_base)
        {
            let what = format!("{work}: {processes} processes ÷ one");
            let aim = Aim::AtLeast(EACH_BRINGS * processes as f64);
            report.goal(&what, aim, &one.per_second.over(&base.per_second));
        }
        let known = BEFORE.iter().find(|(name, _)| *name == work);
        if processes == machine::cores()
            && let (Some((_, times)), Some(before)) =
                (known, measured.beside(one, Contestant::is_earlier))
        {
            let at_once = one.at_once;
            let p50 = one.p50_ms.over(&before.p50_ms);
            let what = format!("{work}, {at_once} at once: p50 ÷ that of before");
            report.goal(&what, Aim::AtMost(1.0), &p50);
            if at_once == GOALS_AT && machine::cores() == BEFORE_CORES {
                let what = format!("{work}, {at_once} at once: times what it was before");
                let times = Aim::AtLeast(*times);
                report.goal(&what, times, &one.per_second.over(&before.per_second));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_work_is_measured_on_every_host() {
        let series = all_series(3, 4);
        assert_eq!(series.len(), 3 * AT_ONCE.len() * 4);
        let places: Vec<_> = (series.iter())
            .map(|one| (one.work, one.at_once, one.contestant))
            .collect();
        let mut once = places.clone();
        once.dedup();
        assert_eq!(once, places);
        assert!(AT_ONCE.contains(&GOALS_AT));
    }
}
