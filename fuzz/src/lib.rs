//! The short run of a fuzz target: its committed corpus and some thousand changes of that, always the
//! same ones, as an ordinary test of the crate that the target is in.
//!
//! A target is a function of bytes that panics where they show a fault. It is beside the code that it
//! tries, in a module `fuzzing` that is compiled for tests and for fuzzing only, so nothing is made
//! public for its sake. The long run, which looks at what the code does with its input and goes on
//! from there, is `cargo xtask fuzz TARGET`; what it finds becomes a file of the corpus.

mod change;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::change::changed;

/// The longest input that a short run makes of a seed.
const INPUT_BYTES_MAX: usize = 4096;
/// The most changes made to a seed at once.
const CHANGES_MAX: usize = 8;
/// What the short run begins from; the same every time, so that a failure is met again.
const SEED: u64 = 0x00c0_ffe2_da3f;

/// Gives `target` every file of `fuzz/corpus/NAME`, and `mutants` changes of them.
///
/// # Panics
///
/// Where the target does, with the input that it did it on; and where there is no corpus.
pub fn short_run(name: &str, mutants: u32, target: fn(&[u8])) {
    short_run_of(name, mutants, target, |seed| vec![seed]);
}

/// The same where a seed stands for inputs that `inputs` makes of it.
///
/// # Panics
///
/// As [`short_run`] does.
pub fn short_run_of(
    name: &str,
    mutants: u32,
    target: fn(&[u8]),
    inputs: fn(Vec<u8>) -> Vec<Vec<u8>>,
) {
    let seeds: Vec<Vec<u8>> = corpus(name).into_iter().flat_map(inputs).collect();
    assert!(!seeds.is_empty(), "{name} has no corpus");
    for seed in &seeds {
        try_one(name, target, seed);
    }
    let mut random = StdRng::seed_from_u64(SEED);
    for _ in 0..mutants {
        let seed = &seeds[random.random_range(0..seeds.len())];
        let other = &seeds[random.random_range(0..seeds.len())];
        let mut input = seed.clone();
        for _ in 0..random.random_range(1..=CHANGES_MAX) {
            input = changed(input, other, &mut random);
        }
        input.truncate(INPUT_BYTES_MAX.max(seed.len()));
        try_one(name, target, &input);
    }
}

fn try_one(name: &str, target: fn(&[u8]), input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        panic!(
            "the target {name} fails on this input, which belongs into fuzz/corpus/{name}: \
             b\"{}\"",
            input.escape_ascii()
        );
    }
}

/// The files of a target's corpus, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the corpus can be listed").path())
        .collect();
    paths.sort();
    let read = |path: &PathBuf| std::fs::read(path).expect("a file of the corpus can be read");
    paths.iter().map(read).collect()
}
