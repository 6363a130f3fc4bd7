//! Counts the primes of a range: one piece of a parallel computation. Submit many ranges as a
//! batch and add up the counts; `data/batch.json` does so for all primes below ten million.

use cofferdam_guest::{Failure, OrFail, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The sieve's window, small enough for a processor's cache.
const WINDOW: u64 = 1 << 17;
/// Keeps the base primes (those up to the root) within a few megabytes.
const MAX_TO: u64 = 1_000_000_000_000;

/// The numbers from `from` up to, but without, `to`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Range {
    from: u64,
    to: u64,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Primes {
    from: u64,
    to: u64,
    count: u64,
    largest: Option<u64>,
}

/// Counts the primes from `from` up to, but without, `to`.
#[cofferdam_guest::task]
fn primes(range: Range) -> Result<Primes, Failure> {
    let Range { from, to } = range;
    (from <= to)
        .then_some(())
        .or_invalid_input("`from` is greater than `to`")?;
    (to <= MAX_TO)
        .then_some(())
        .or_invalid_input(format!("`to` is greater than {MAX_TO}"))?;

    let base = base_primes(to.isqrt());
    let mut found = Primes {
        from,
        to,
        count: 0,
        largest: None,
    };
    let mut start = from;
    while start < to {
        if context::cancelled() {
            return Err(Failure::permanent(format!("cancelled at {start}")));
        }
        let end = to.min(start + WINDOW);
        for prime in window(&base, start, end) {
            found.count += 1;
            found.largest = Some(prime);
        }
        context::progress(
            (end - from) as f64 / (to - from) as f64,
            format!("below {end}"),
        );
        start = end;
    }
    Ok(found)
}

/// The primes up to and including `root`, by the plain sieve.
fn base_primes(root: u64) -> Vec<u64> {
    let mut composite = vec![false; root as usize + 1];
    let mut primes = Vec::new();
    for number in 2..=root {
        if !composite[number as usize] {
            primes.push(number);
            for multiple in (number * number..=root).step_by(number as usize) {
                composite[multiple as usize] = true;
            }
        }
    }
    primes
}

/// The primes of one window: the numbers that no base prime divides.
fn window(base: &[u64], start: u64, end: u64) -> impl Iterator<Item = u64> {
    let mut composite = vec![false; (end - start) as usize];
    for prime in base {
        let first = start.next_multiple_of(*prime).max(prime * prime);
        for multiple in (first..end).step_by(*prime as usize) {
            composite[(multiple - start) as usize] = true;
        }
    }
    (start..end).filter(move |number| *number > 1 && !composite[(number - start) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_guest::testing::{self, Context};

    #[test]
    fn known_counts_are_found() {
        let count = |from, to| primes(Range { from, to }).unwrap().count;
        assert_eq!(count(0, 2), 0);
        assert_eq!(count(0, 100), 25);
        assert_eq!(count(2, 3), 1);
        assert_eq!(count(0, 1_000_000), 78_498);
        assert_eq!(count(999_999_000_000, 999_999_001_000), 45);
    }

    #[test]
    fn the_pieces_of_the_batch_add_up() {
        let batch: serde_json::Value =
            serde_json::from_str(include_str!("../data/batch.json")).unwrap();
        let pieces = batch["tasks"].as_array().unwrap().iter();
        let counts = pieces.map(|task| {
            let output = testing::run::<primes>(task["input"].to_string()).unwrap();
            let output: serde_json::Value = serde_json::from_slice(&output.body).unwrap();
            output["count"].as_u64().unwrap()
        });
        assert_eq!(counts.sum::<u64>(), 664_579);
    }

    #[test]
    fn progress_ends_at_one_and_a_cancel_stops() {
        let context = Context::new();
        context
            .run::<primes>(r#"{"from": 0, "to": 300000}"#)
            .unwrap();
        assert_eq!(context.progress().last().unwrap().fraction, 1.0);
        let stopped = Context::new()
            .cancelled_after(1)
            .run::<primes>(r#"{"from":0,"to":300000}"#);
        assert_eq!(stopped, Err(Failure::permanent("cancelled at 131072")));
    }
}
