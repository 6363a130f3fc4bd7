//! The whole queue over a storage that fails at any moment: random calls, faults and restarts, after
//! which nothing that was promised is lost and nothing is held. Below it, each failure that was found
//! this way, as small as it gets.
//!
//! Times are real, because the storage is; so the same input need not take the same course twice.

mod actors;
mod checks;
mod client;
mod world;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};

use self::actors::Part;
use self::world::{Op, Round, World};
use super::faulty::{Call, Fault, Planned};

/// Inputs that every run of the suite tries.
const CASES: u32 = 24;
/// The environment variable for another number, of inputs that are new each time.
const CASES_VARIABLE: &str = "COFFERDAM_TEST_CASES";

#[test]
fn whatever_storage_does_the_queue_keeps_its_word() {
    let more = std::env::var(CASES_VARIABLE).ok();
    let more = more.map(|number| number.parse().expect("a number of cases"));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: more.unwrap_or(CASES),
        rng_seed: match more {
            Some(_) => RngSeed::Random,
            None => RngSeed::Fixed(1),
        },
        max_shrink_time: 240_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let input = (
        proptest::collection::vec(round(), 1..10),
        proptest::collection::vec(planned(), 0..8),
    );
    let held = runner.run(&input, |(rounds, faults)| {
        play(&rounds, faults);
        Ok(())
    });
    if let Err(failed) = held {
        panic!("{failed}");
    }
}

fn play(rounds: &[Round], faults: Vec<Planned>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new(faults).await;
        for round in rounds {
            world.play(round).await;
        }
        world.settle().await;
        world.check().await;
        world.end().await;
    });
}

fn round() -> impl Strategy<Value = Round> {
    prop_oneof![
        10 => proptest::collection::vec(op(), 1..6).prop_map(Round::Calls),
        3 => (1..60_u64).prop_map(Round::Rest),
        2 => (1..3000_i64).prop_map(Round::Later),
        1 => Just(Round::Restart),
        1 => Just(Round::Crash),
        1 => Just(Round::TakenForDead),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let part = select(&Part::ALL[..]);
    let task = || 0..8_usize;
    prop_oneof![
        4 => (proptest::collection::vec(part, 1..5), select(vec![0, 0, 0, 700]))
            .prop_map(|(parts, delay)| Op::Submit(parts, delay)),
        1 => task().prop_map(Op::Repeat),
        3 => task().prop_map(Op::Cancel),
        1 => task().prop_map(Op::CancelElsewhere),
        2 => task().prop_map(Op::Retry),
        1 => task().prop_map(Op::Purge),
        3 => task().prop_map(Op::Watch),
        2 => task().prop_map(Op::Wait),
    ]
}

fn planned() -> impl Strategy<Value = Planned> {
    let fault = prop_oneof![
        2 => Just(Fault::Fails),
        3 => Just(Fault::Unanswered),
        2 => (1..100_u64).prop_map(Fault::Delayed),
        3 => (1..100_u64).prop_map(Fault::AnsweredLate),
        1 => (0..4_u32).prop_map(Fault::Full),
        2 => (1..6_u32).prop_map(Fault::Refused),
    ];
    // Ends and claims are where most can go wrong.
    let call = prop_oneof![
        2 => Just(Call::Finish),
        2 => Just(Call::Claim),
        4 => select(&Call::ALL[..]),
    ];
    (call, 0..12_u32, fault).prop_map(|(call, after, fault)| Planned { call, after, fault })
}
