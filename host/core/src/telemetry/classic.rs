//! The text format that Prometheus had before OpenMetrics, for clients that do not ask for the
//! newer one.
//!
//! The two differ in how a counter is announced: the older names it as its samples are named, with
//! `_total`. A reader of the older format takes every counter of the newer one as unknown.

use std::collections::HashSet;
use std::fmt::Write;

/// The same metrics in the older format.
pub fn from_open_metrics(text: &str) -> String {
    let counters: HashSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut classic = String::with_capacity(text.len());
    for line in text.lines() {
        let Some((word, rest)) = line.strip_prefix("# ").and_then(|l| l.split_once(' ')) else {
            if line != "# EOF" {
                writeln!(classic, "{line}").expect("a String takes it");
            }
            continue;
        };
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let suffix = if counters.contains(name) {
            "_total"
        } else {
            ""
        };
        if word != "UNIT" {
            writeln!(classic, "# {word} {name}{suffix} {rest}").expect("a String takes it");
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_announced_by_the_name_of_its_samples() {
        let newer = "# HELP runs How many.\n# TYPE runs counter\nruns_total{a=\"b\"} 1\n\
                     # HELP wait_seconds W.\n# TYPE wait_seconds histogram\n\
                     # UNIT wait_seconds seconds\nwait_seconds_sum 1.0\n# EOF\n";
        let older = "# HELP runs_total How many.\n# TYPE runs_total counter\n\
                     runs_total{a=\"b\"} 1\n# HELP wait_seconds W.\n\
                     # TYPE wait_seconds histogram\nwait_seconds_sum 1.0\n";
        assert_eq!(from_open_metrics(newer), older);
    }
}
