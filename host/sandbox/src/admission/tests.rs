//! Which runs are let in, in which order, and that they give everything back.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const FAST: EngineClass = EngineClass::Fast;

fn need(memory_bytes: u64) -> Need {
    Need {
        memory_bytes,
        slots: 1,
    }
}

fn of(party: u64) -> Patience {
    Patience {
        party,
        ..Patience::default()
    }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    match future.poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn let_in(gate: &Admission, memory_bytes: u64) -> Admitted {
    let patience = of(0);
    let mut admitting = pin!(gate.admit(FAST, need(memory_bytes), &patience));
    poll(admitting.as_mut()).expect("there is room").unwrap()
}

#[test]
fn memory_that_is_declared_and_not_used_keeps_nobody_out() {
    let gate = Admission::new(100, 0, 4096 * MIB, 64 * MIB);
    let idle: Vec<Admitted> = (0..8).map(|_| let_in(&gate, 4096 * MIB)).collect();
    let small = let_in(&gate, 128 * MIB);
    assert_eq!(gate.occupancy().memory_used_bytes, 9 * 64 * MIB);
    drop((idle, small));
    assert_eq!(gate.occupancy().memory_used_bytes, 0);
}

#[test]
fn memory_beyond_the_price_is_taken_from_the_budget() {
    let gate = Admission::new(100, 0, 200 * MIB, 64 * MIB);
    let (one, other) = (let_in(&gate, 150 * MIB), let_in(&gate, 150 * MIB));
    let (mut grows, mut starves) = (one.growth(), other.growth());
    assert!(grows.reach(64 * MIB, 150 * MIB) && grows.reach(130 * MIB, 150 * MIB));
    assert_eq!(gate.occupancy().memory_used_bytes, (130 + 64) * MIB);
    assert!(starves.reach(70 * MIB, 150 * MIB));
    assert!(!starves.reach(71 * MIB, 150 * MIB));
    drop((one, grows));
    assert!(starves.reach(150 * MIB, 150 * MIB));
    drop((other, starves));
    assert_eq!(gate.occupancy().memory_used_bytes, 0);
}

#[tokio::test]
async fn a_wait_ends_when_patience_ends() {
    let gate = Admission::new(1, 0, 1024 * MIB, 64 * MIB);
    let only = let_in(&gate, MIB);
    let wait = Duration::from_millis(50);
    let patience = Patience {
        begin_by: Some(Instant::now() + wait),
        ..Patience::default()
    };
    let refused = gate.admit(FAST, need(MIB), &patience).await.err();
    assert!(matches!(
        refused,
        Some(NotAdmitted::NoRoom(NoRoom::Waited(_)))
    ));
    assert_eq!(gate.occupancy().waiting, 0);
    drop(only);
    drop(let_in(&gate, MIB));
}

#[test]
fn parties_take_turns() {
    let gate = Admission::new(1, 0, 1024 * MIB, 64 * MIB);
    let mut holder = Some(let_in(&gate, MIB));
    let patience = [1, 1, 1, 1, 2, 3, 2].map(of);
    let mut waiting: Vec<_> = patience
        .iter()
        .map(|patience| {
            (
                patience.party,
                Box::pin(gate.admit(FAST, need(MIB), patience)),
            )
        })
        .collect();
    for (_, admitting) in &mut waiting {
        assert!(poll(admitting.as_mut()).is_none());
    }
    let mut order = Vec::new();
    while !waiting.is_empty() {
        holder = None;
        let polled = waiting.iter_mut().enumerate();
        let next = polled.filter_map(|(place, (party, admitting))| {
            Some((place, *party, poll(admitting.as_mut())?))
        });
        let next: Vec<_> = next.collect();
        assert_eq!(next.len(), 1, "one place, one run");
        for (place, party, admitted) in next {
            holder = admitted.ok();
            order.push(party);
            drop(waiting.remove(place));
        }
    }
    drop(holder);
    assert_eq!(order, [1, 2, 3, 1, 2, 1, 1]);
}

#[test]
fn a_run_dropped_at_any_moment_gives_everything_back() {
    let gate = Admission::new(3, 1, 300 * MIB, 64 * MIB);
    let mut random = StdRng::seed_from_u64(7);
    let patience: Vec<Patience> = (0..3).map(of).collect();
    let mut waiting = Vec::new();
    let mut inside: Vec<(Admitted, Growth)> = Vec::new();
    for _ in 0..20_000 {
        match random.random_range(0..5) {
            0 | 1 if waiting.len() < 20 => {
                let need = Need {
                    memory_bytes: random.random_range(1..300) * MIB,
                    slots: random.random_range(1..3),
                };
                let patience = &patience[random.random_range(0..3)];
                waiting.push(Box::pin(gate.admit(FAST, need, patience)));
            }
            2 if !waiting.is_empty() => {
                let place = random.random_range(0..waiting.len());
                if let Some(admitted) = poll(waiting[place].as_mut()) {
                    let admitted = admitted.unwrap();
                    let growth = admitted.growth();
                    inside.push((admitted, growth));
                    drop(waiting.swap_remove(place));
                }
            }
            // It may wait, may never have been polled, or may have been let in without knowing it.
            3 if !waiting.is_empty() => {
                drop(waiting.swap_remove(random.random_range(0..waiting.len())));
            }
            4 if !inside.is_empty() => {
                let place = random.random_range(0..inside.len());
                let (_, growth) = &mut inside[place];
                let _may_starve = growth.reach(random.random_range(1..300) * MIB, 300 * MIB);
                if random.random_bool(0.7) {
                    drop(inside.swap_remove(place));
                }
            }
            _ => {}
        }
        let held = inside.iter();
        let held: u64 = held.map(|(a, g)| a.price_bytes + g.taken_bytes).sum();
        assert!(gate.occupancy().memory_used_bytes >= held);
        assert!(gate.occupancy().memory_used_bytes <= 300 * MIB);
    }
    drop((waiting, inside));
    let empty = gate.occupancy();
    assert_eq!(
        (empty.slots_used, empty.memory_used_bytes, empty.waiting),
        (0, 0, 0)
    );
}
