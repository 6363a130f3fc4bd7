//! One order of the threads after another, for what is guarded by hand: waiters, the list of ready
//! claims, and what watchers are told.
//!
//! The very files of the queue are compiled once more here, with locks and counters at which shuttle
//! decides which thread goes on. A wake-up that is lost leaves
//! a thread asleep for ever, which shuttle reports with the schedule that led there. Loom would try
//! every order, and with it the weak ones of the processor, but it does not come to an end with a map,
//! a few threads and an await; shuttle tries some thousands at random and by priority.

#![allow(
    dead_code,
    reason = "a copy of files of which some parts are not used here"
)]

mod events;
#[allow(
    clippy::duplicate_mod,
    reason = "the same file with other locks is what is tried here"
)]
#[path = "../hands.rs"]
mod hands;
mod locks;
#[allow(
    clippy::duplicate_mod,
    reason = "the same file with other locks is what is tried here"
)]
#[path = "../ready.rs"]
mod ready;
#[allow(
    clippy::duplicate_mod,
    reason = "the same file with other locks is what is tried here"
)]
#[path = "../waiters.rs"]
mod waiters;
mod watching;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread;
use uuid::Uuid;

use self::hands::{Hands, Taken};
use self::ready::Ready;
use self::waiters::Waiters;
use cofferdam_domain::attempt::Fence;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Digest, ModuleName};
use cofferdam_domain::placement::Placement;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::task::{ClaimOrder, Input, Priority, TaskId, TaskSpec};
use cofferdam_domain::time::Timestamp;

/// Orders tried of each kind.
const SCHEDULES: usize = 1500;
/// How often a schedule by priority changes its mind.
const CHANGES: usize = 3;

/// Runs `scenario` in one order of its threads after another.
fn in_every_order(scenario: fn()) {
    let config = || {
        let mut config = shuttle::Config::new();
        config.stack_size = 256 * 1024;
        config
    };
    let random = RandomScheduler::new_from_seed(7, SCHEDULES);
    shuttle::Runner::new(random, config()).run(scenario);
    let by_priority = PctScheduler::new_from_seed(7, CHANGES, SCHEDULES);
    shuttle::Runner::new(by_priority, config()).run(scenario);
}

fn id(number: u128) -> TaskId {
    TaskId(Uuid::from_u128(number))
}

fn claims(hands: &Hands, numbers: &[u64]) -> Vec<Taken> {
    let claim = |number: &u64| Claim {
        task_id: id(u128::from(*number)),
        attempt: 1,
        fence: Fence(*number),
        max_attempts: 1,
        lost: 0,
        created_at: Timestamp::EPOCH,
        run_at: Timestamp::EPOCH,
        claimed_at: Timestamp::EPOCH,
        holds_place: false,
        ahead: false,
        node: None,
        tenant: Tenant::DEFAULT,
        spec: Arc::new(TaskSpec {
            module: ModuleName::parse("echo").unwrap(),
            digest: Digest::from_bytes([7; 32]),
            input: Input::empty(),
            args: Vec::new(),
            env: Vec::new(),
            priority: Priority::Normal,
            limits: Limits::DEFAULT,
            retry: RetryPolicy::default(),
            grants: Grants::none(),
            isolation: None,
            cache_ttl: None,
            placement: Placement::default(),
            metadata: String::new(),
        }),
    };
    hands.take(numbers.iter().map(claim).collect())
}

#[test]
fn whoever_waits_is_woken() {
    in_every_order(|| {
        let waiters = Arc::new(Waiters::default());
        let is_final = Arc::new(AtomicBool::new(false));
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let (waiters, is_final) = (Arc::clone(&waiters), Arc::clone(&is_final));
                thread::spawn(move || {
                    let waiting = waiters.enter(id(1));
                    loop {
                        let woken = waiting.woken();
                        if is_final.load(Ordering::SeqCst) {
                            return;
                        }
                        block_on(woken);
                    }
                })
            })
            .collect();
        is_final.store(true, Ordering::SeqCst);
        waiters.wake(id(1));
        for waiter in waiting {
            waiter.join().unwrap();
        }
        assert!(waiters.is_empty());
    });
}

/// A lane that took one begins it and does not come back for the other.
#[test]
fn two_lanes_that_wait_take_two_claims() {
    in_every_order(|| {
        let ready = Arc::new(Ready::new(ClaimOrder::Priority));
        let lanes: Vec<_> = (0..2)
            .map(|_| {
                let ready = Arc::clone(&ready);
                thread::spawn(move || block_on(ready.pop(|claim| claim.fence)).1)
            })
            .collect();
        let hands = Hands::default();
        for number in [1, 2] {
            ready.push(claims(&hands, &[number]));
        }
        let begun: BTreeSet<u64> = lanes
            .into_iter()
            .map(|lane| lane.join().unwrap().0)
            .collect();
        assert_eq!(begun, BTreeSet::from([1, 2]));
        assert!(hands.all().is_empty());
    });
}

/// Claims come alone and together, one is taken out again, one lane goes away while it waits.
#[test]
fn every_claim_is_taken_by_one() {
    in_every_order(|| {
        let ready = Arc::new(Ready::new(ClaimOrder::Priority));
        let hands = Hands::default();
        let begun = Arc::new(Mutex::new(Vec::new()));
        let lanes: Vec<_> = (0..2)
            .map(|_| {
                let (ready, begun) = (Arc::clone(&ready), Arc::clone(&begun));
                thread::spawn(move || {
                    for _ in 0..2 {
                        let (taken, fence) = block_on(ready.pop(|claim| claim.fence.0));
                        drop(taken);
                        begun.lock().unwrap().push(fence);
                    }
                })
            })
            .collect();
        let canceller = {
            let (ready, begun) = (Arc::clone(&ready), Arc::clone(&begun));
            thread::spawn(move || {
                let removed = ready
                    .remove(|claim| claim.task_id == id(3))
                    .map(|taken| taken.fence.0);
                let impatient = polled_once(ready.pop(|claim| claim.fence.0));
                let taken: Vec<u64> = removed.into_iter().chain(impatient).collect();
                begun.lock().unwrap().extend(&taken);
                taken.len()
            })
        };
        ready.push(claims(&hands, &[1]));
        ready.push(claims(&hands, &[2, 3]));
        ready.push(claims(&hands, &[4]));
        // So that both lanes find two, whatever the canceller took.
        let spare = canceller.join().unwrap();
        for number in 0..spare {
            ready.push(claims(&hands, &[5 + number as u64]));
        }
        for lane in lanes {
            lane.join().unwrap();
        }
        let mut begun = begun.lock().unwrap().clone();
        begun.sort_unstable();
        let all: Vec<u64> = (1..=4 + spare as u64).collect();
        assert_eq!(begun, all);
        assert!(hands.all().is_empty() && ready.len() == 0);
        assert!(ready.take_older_than(Duration::ZERO).is_empty());
    });
}

/// What a future gives at its first poll; then it is dropped.
fn polled_once<T>(work: impl Future<Output = (Taken, T)>) -> Option<T> {
    let mut work = Box::pin(work);
    let mut context = Context::from_waker(Waker::noop());
    match work.as_mut().poll(&mut context) {
        std::task::Poll::Ready((_, begun)) => Some(begun),
        std::task::Poll::Pending => None,
    }
}
