//! Finds the minimum of a function by simulated annealing: a long run that reports its progress,
//! logs, and on cancel returns the best it has so far. The same seed gives the same answer.

use cofferdam_guest::{Failure, OrFail, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The number of steps between two calls to the host.
const REPORT_EVERY: u64 = 4096;
/// The most coordinates a point may have.
const MAX_DIMENSIONS: usize = 1000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Optimise {
    function: Function,
    #[serde(default = "two")]
    dimensions: usize,
    /// The most steps to take.
    iterations: u64,
    /// Stop as soon as the value is this close to the minimum, which is 0 for all functions.
    #[serde(default)]
    precision: f64,
    #[serde(default)]
    seed: u64,
}

const fn two() -> usize {
    2
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Function {
    /// One bowl, the minimum at the origin.
    Sphere,
    /// A bent valley, the minimum at (1, …, 1).
    Rosenbrock,
    /// Many local minima, the global one at the origin.
    Rastrigin,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Optimum {
    point: Vec<f64>,
    value: f64,
    iterations: u64,
    /// Whether the wanted precision was reached.
    reached: bool,
    /// Whether the run was cancelled; the rest is then the best found so far.
    cancelled: bool,
}

/// Finds the minimum of a function by simulated annealing.
#[cofferdam_guest::task]
fn optimise(input: Optimise) -> Result<Optimum, Failure> {
    let Optimise {
        function,
        dimensions,
        iterations,
        precision,
        seed,
    } = input;
    (1..=MAX_DIMENSIONS)
        .contains(&dimensions)
        .then_some(())
        .or_invalid_input("`dimensions`")?;
    (precision >= 0.0)
        .then_some(())
        .or_invalid_input("`precision` is negative")?;

    let mut random = Random(seed);
    let mut point: Vec<f64> = (0..dimensions).map(|_| random.between(-5.0, 5.0)).collect();
    let mut value = function.at(&point);
    let (mut best, mut step, mut cancelled) = ((point.clone(), value), 0, false);
    while step < iterations && best.1 > precision {
        if step % REPORT_EVERY == 0 {
            context::progress(
                step as f64 / iterations as f64,
                format!("best {:.6}", best.1),
            );
            cancelled = context::cancelled();
            if cancelled {
                log::warn!(step, best = best.1; "cancelled");
                break;
            }
        }
        let warmth = 1.0 - step as f64 / iterations as f64;
        let axis = (random.next() % dimensions as u64) as usize;
        let before = point[axis];
        // Steps of all sizes: wide ones leave a local minimum, narrow ones settle in it.
        point[axis] += random.between(-1.0, 1.0) * 10_f64.powf(random.between(-6.0, 0.5));
        let moved = function.at(&point);
        if moved <= value || random.between(0.0, 1.0) < ((value - moved) / (2.0 * warmth)).exp() {
            value = moved;
            if value < best.1 {
                best = (point.clone(), value);
            }
        } else {
            point[axis] = before;
        }
        step += 1;
    }
    let reached = best.1 <= precision;
    log::info!(step, reached, value = best.1; "finished");
    context::progress(
        if cancelled {
            step as f64 / iterations as f64
        } else {
            1.0
        },
        "finished",
    );
    Ok(Optimum {
        point: best.0,
        value: best.1,
        iterations: step,
        reached,
        cancelled,
    })
}

impl Function {
    fn at(self, point: &[f64]) -> f64 {
        match self {
            Self::Sphere => point.iter().map(|x| x * x).sum(),
            Self::Rosenbrock => point
                .windows(2)
                .map(|x| 100.0 * (x[1] - x[0] * x[0]).powi(2) + (1.0 - x[0]).powi(2))
                .sum(),
            Self::Rastrigin => point
                .iter()
                .map(|x| 10.0 + x * x - 10.0 * (std::f64::consts::TAU * x).cos())
                .sum(),
        }
    }
}

/// SplitMix64: small, quick, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_guest::testing::Context;

    const INPUT: &str = include_str!("../data/rastrigin.json");

    fn run(context: &Context) -> Optimum {
        serde_json::from_slice(&context.run::<optimise>(INPUT).unwrap().body).unwrap()
    }

    #[test]
    fn the_precision_is_reached_and_the_seed_decides() {
        let context = Context::new();
        let optimum = run(&context);
        assert!(optimum.reached && !optimum.cancelled, "{optimum:?}");
        assert!(optimum.point.iter().all(|x| x.abs() < 0.1), "{optimum:?}");
        assert_eq!(context.progress().last().unwrap().fraction, 1.0);
        assert_eq!(context.log().last().unwrap().message, "finished");
        assert_eq!(run(&Context::new()), optimum);
    }

    #[test]
    fn a_cancelled_run_returns_the_best_so_far() {
        let optimum = run(&Context::new().cancelled_after(1));
        assert!(optimum.cancelled && !optimum.reached);
        assert_eq!(optimum.iterations, REPORT_EVERY);
        assert!(optimum.value.is_finite());
    }

    #[test]
    fn nonsense_is_refused() {
        let input = r#"{"function": "sphere", "iterations": 1, "dimensions": 0}"#;
        let failure = Context::new().run::<optimise>(input).unwrap_err();
        assert!(matches!(failure, Failure::InvalidInput(_)));
    }
}
