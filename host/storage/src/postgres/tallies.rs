//! How many tasks there are in each state, as far as a host notes it: what each transaction changes,
//! counted in shards so that transactions that go on at once do not wait for each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::params::{Params, params};
use crate::rows::state_number;
use cofferdam_domain::state::TaskState;

/// Shards in all. Hosts begin at a random one.
pub(super) const SHARDS: u32 = 64;

const ADD: &str = "
    INSERT INTO cofferdam.counter AS c (shard, tenant, state, tasks)
    SELECT $1, u.tenant, u.state, u.tasks
    FROM unnest($2::text[], $3::int2[], $4::int8[]) AS u(tenant, state, tasks)
    ON CONFLICT (shard, tenant, state) DO UPDATE SET tasks = c.tasks + excluded.tasks";

const KEEP: &str = "
    INSERT INTO cofferdam.kept AS k (shard, tenant, bytes)
    SELECT $1, u.tenant, u.bytes FROM unnest($2::text[], $3::int8[]) AS u(tenant, bytes)
    ON CONFLICT (shard, tenant) DO UPDATE SET bytes = k.bytes + excluded.bytes";

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

/// By how much a transaction changes the counters of each tenant. In one order for all, because whoever
/// writes a counter holds its row.
#[derive(Default)]
pub(super) struct Deltas {
    tasks: BTreeMap<String, [i64; 6]>,
    kept: BTreeMap<String, i64>,
}

impl Deltas {
    pub(super) fn add(&mut self, tenant: &str, state: TaskState, tasks: i64) {
        let place = usize::from(state_number(state));
        match self.tasks.get_mut(tenant) {
            Some(counts) => counts[place] += tasks,
            None => self.tasks.entry(tenant.to_owned()).or_default()[place] += tasks,
        }
    }

    /// Counts bytes that are kept.
    pub(super) fn kept(&mut self, tenant: &str, bytes: i64) {
        match self.kept.get_mut(tenant) {
            Some(kept) => *kept += bytes,
            None => *self.kept.entry(tenant.to_owned()).or_default() += bytes,
        }
    }

    /// The statements that write them down; none if nothing changed.
    pub(super) fn statements(&self, shard: i16) -> impl Iterator<Item = (&'static str, Params)> {
        let tasks = self.tasks_statement(shard);
        tasks.into_iter().chain(self.kept_statement(shard))
    }

    fn kept_statement(&self, shard: i16) -> Option<(&'static str, Params)> {
        let changed = self.kept.iter().filter(|(_, bytes)| **bytes != 0);
        let (tenants, bytes): (Vec<String>, Vec<i64>) = changed
            .map(|(tenant, bytes)| (tenant.clone(), *bytes))
            .unzip();
        (!tenants.is_empty()).then(|| (KEEP, params![shard, tenants, bytes]))
    }

    fn tasks_statement(&self, shard: i16) -> Option<(&'static str, Params)> {
        let (mut tenants, mut states, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for (tenant, counts) in &self.tasks {
            for (state, more) in (0_i16..).zip(counts).filter(|(_, more)| **more != 0) {
                tenants.push(tenant.clone());
                states.push(state);
                tasks.push(*more);
            }
        }
        (!states.is_empty()).then(|| (ADD, params![shard, tenants, states, tasks]))
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
