//! How many tasks there are in each state, as far as a host notes it: what each transaction changes,
//! counted in shards so that transactions that go on at once do not wait for each other.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::params::{Params, params};
use crate::rows::state_number;
use cofferdam_domain::state::TaskState;

/// Shards in all. Hosts begin at a random one.
const SHARDS: u32 = 64;

const ADD: &str = "
    INSERT INTO cofferdam.counter AS c (shard, state, tasks)
    SELECT $1, u.state, u.tasks FROM unnest($2::int2[], $3::int8[]) AS u(state, tasks)
    ON CONFLICT (shard, tenant, state) DO UPDATE SET tasks = c.tasks + excluded.tasks";

/// Which shard the next transaction writes.
pub(super) struct Shards {
    first: u32,
    next: AtomicU32,
}

/// Shards that one host goes through in turn: as many as it has connections that write.
const SHARDS_PER_HOST: u32 = 4;

impl Shards {
    pub(super) fn new(first: u32) -> Shards {
        Shards {
            first: first % SHARDS,
            next: AtomicU32::new(0),
        }
    }

    pub(super) fn next(&self) -> i16 {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS_PER_HOST;
        i16::try_from((self.first + turn) % SHARDS).unwrap_or(0)
    }
}

/// By how much a transaction changes the counters.
#[derive(Default)]
pub(super) struct Deltas([i64; 6]);

impl Deltas {
    fn place(&mut self, state: TaskState) -> &mut i64 {
        &mut self.0[usize::from(state_number(state))]
    }

    pub(super) fn add(&mut self, state: TaskState, tasks: i64) {
        *self.place(state) += tasks;
    }

    pub(super) fn moved(&mut self, from: TaskState, to: TaskState, tasks: i64) {
        *self.place(from) -= tasks;
        *self.place(to) += tasks;
    }

    /// The statement that writes them down; none if nothing changed.
    pub(super) fn statement(&self, shard: i16) -> Option<(&'static str, Params)> {
        let changed = (0_i16..).zip(self.0).filter(|(_, tasks)| *tasks != 0);
        let (states, tasks): (Vec<i16>, Vec<i64>) = changed.unzip();
        (!states.is_empty()).then(|| (ADD, params![shard, states, tasks]))
    }
}

/// What this host last knew of how many tasks wait, so that not every submit has to ask.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Option<(Instant, u64)>>);

/// How long that is believed: all hosts together do not add [`NEAR`] tasks in that time, so none of them
/// misses that the queue is nearly full.
const BELIEVED_FOR: Duration = Duration::from_millis(100);
/// With fewer places than this left, every submit asks, and a queue gets no fuller than it may be but for
/// what other hosts are storing at that moment.
const NEAR: u64 = 10_000;

impl Waiting {
    /// Notes what was asked for.
    pub(super) fn learned(&self, waiting: u64) {
        *self.lock() = Some((Instant::now(), waiting));
    }

    /// Whether `more` tasks have room for sure, as far as one host can know; notes them if so.
    pub(super) fn has_room(&self, more: u64, pending_max: u64) -> bool {
        match &mut *self.lock() {
            Some((at, waiting)) if at.elapsed() < BELIEVED_FOR => {
                *waiting = waiting.saturating_add(more);
                waiting.saturating_add(NEAR) <= pending_max
            }
            Some(_) | None => false,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
