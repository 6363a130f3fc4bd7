//! Which runs are let in, in which order, and that they give everything back.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use cofferdam_domain::memory::{Share, Shares};

const FAST: Door = Door::Guests;

/// A budget that guests have for themselves.
fn budget(bytes: u64) -> Budget {
    let shares = Shares {
        guests: Share::reserving(0),
        compiles: Share::reserving(0),
        bodies: Share::NONE,
    };
    Budget::new(bytes, shares)
}

fn need(memory_bytes: u64) -> Need {
    Need {
        memory_bytes,
        slots: 1,
    }
}

fn of(caller: u64, module: u64) -> Patience {
    Patience {
        party: Party { caller, module },
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
    let patience = of(0, 0);
    let mut admitting = pin!(gate.admit(FAST, need(memory_bytes), &patience));
    poll(admitting.as_mut()).expect("there is room").unwrap()
}

#[test]
fn memory_that_is_declared_and_not_used_keeps_nobody_out() {
    let gate = Admission::new([100, 0, 0], budget(4096 * MIB), 64 * MIB);
    let idle: Vec<Admitted> = (0..8).map(|_| let_in(&gate, 4096 * MIB)).collect();
    let small = let_in(&gate, 128 * MIB);
    assert_eq!(gate.occupancy().memory_used_bytes, 9 * 64 * MIB);
    drop((idle, small));
    assert_eq!(gate.occupancy().memory_used_bytes, 0);
}

#[test]
fn memory_beyond_the_price_is_taken_from_the_budget() {
    let gate = Admission::new([100, 0, 0], budget(200 * MIB), 64 * MIB);
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

#[test]
fn memory_that_another_purpose_gives_back_lets_a_run_in() {
    let memory = budget(100 * MIB);
    let gate = Admission::new([10, 0, 0], memory.clone(), 64 * MIB);
    let compiles = memory.take(Purpose::Compiles, 50 * MIB).unwrap();
    let patience = of(0, 0);
    let mut waits = pin!(gate.admit(FAST, need(64 * MIB), &patience));
    assert!(poll(waits.as_mut()).is_none());
    drop(compiles);
    assert!(poll(waits.as_mut()).is_some_and(|admitted| admitted.is_ok()));
}

#[tokio::test]
async fn a_wait_ends_when_patience_ends() {
    let gate = Admission::new([1, 0, 0], budget(1024 * MIB), 64 * MIB);
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

/// In which order those who wait for one place are let in.
fn order(waiting: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let gate = Admission::new([1, 0, 0], budget(1024 * MIB), 64 * MIB);
    let mut holder = Some(let_in(&gate, MIB));
    let patience: Vec<Patience> = waiting.iter().map(|(a, b)| of(*a, *b)).collect();
    let admitting = patience.iter().map(|patience| {
        let admitting = Box::pin(gate.admit(FAST, need(MIB), patience));
        (patience.party, admitting)
    });
    let mut waiting: Vec<_> = admitting.collect();
    for (_, admitting) in &mut waiting {
        assert!(poll(admitting.as_mut()).is_none());
    }
    let mut order = Vec::new();
    while !waiting.is_empty() {
        drop(holder.take());
        let polled = waiting.iter_mut().enumerate();
        let next = polled.filter_map(|(place, (party, admitting))| {
            Some((place, *party, poll(admitting.as_mut())?))
        });
        let next: Vec<_> = next.collect();
        assert_eq!(next.len(), 1, "one place, one run");
        for (place, party, admitted) in next {
            holder = admitted.ok();
            order.push((party.caller, party.module));
            drop(waiting.remove(place));
        }
    }
    order
}

#[test]
fn callers_take_turns_and_so_do_the_modules_of_each() {
    let came = [(1, 7), (1, 7), (1, 7), (1, 8), (2, 7), (3, 7), (2, 7)];
    let went = [(1, 7), (2, 7), (3, 7), (1, 8), (2, 7), (1, 7), (1, 7)];
    assert_eq!(order(&came), went);
}

#[test]
fn a_crowd_delays_another_callers_first_run_by_one() {
    let mut came = vec![(1, 7); 1_000];
    came.push((2, 7));
    let place = order(&came).iter().position(|(caller, _)| *caller == 2);
    assert_eq!(place, Some(1));
}

#[test]
fn one_caller_does_not_fill_the_line() {
    let gate = Admission::new([1, 0, 0], budget(1024 * MIB), 64 * MIB);
    let _holder = let_in(&gate, MIB);
    let (crowd, other) = (of(1, 1), of(2, 1));
    let mut waiting: Vec<_> = (0..WAITING_OF_CALLER_MAX)
        .map(|_| Box::pin(gate.admit(FAST, need(MIB), &crowd)))
        .collect();
    for admitting in &mut waiting {
        assert!(poll(admitting.as_mut()).is_none());
    }
    let refused = poll(pin!(gate.admit(FAST, need(MIB), &crowd)));
    let crowded = NotAdmitted::NoRoom(NoRoom::Crowded);
    assert!(refused.is_some_and(|refused| refused.err() == Some(crowded)));
    assert!(poll(pin!(gate.admit(FAST, need(MIB), &other))).is_none());
}

#[test]
fn a_run_dropped_at_any_moment_gives_everything_back() {
    let gate = Admission::new([3, 1, 0], budget(300 * MIB), 64 * MIB);
    let mut random = StdRng::seed_from_u64(7);
    let patience: Vec<Patience> = (0..3).map(|caller| of(caller, caller % 2)).collect();
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
        let held: u64 = held.map(|(_, growth)| growth.held_bytes()).sum();
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
