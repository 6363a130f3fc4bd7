//! Ends that wait to be recorded, a line for each tenant.
//!
//! A tenant's ends are in one batch at a time, and another tenant's need not wait for that one: they can be taken
//! while it is being recorded. What comes of a tenant meanwhile makes its next batch.

use std::collections::HashMap;
use std::pin::pin;

use tokio::sync::mpsc;

use crate::queue::ends::Ended;
use crate::queue::locks::{Mutex, MutexGuard, Notify, PoisonError};
use cofferdam_domain::caller::Tenant;

/// Ends that wait, and ends of a lone tenant in one batch.
const BATCH_MAX: usize = 1024;
/// Ends of one tenant in one batch in which there are several tenants'.
const OF_EACH_MAX: usize = 32;

/// The lines of all tenants.
#[derive(Default)]
pub(super) struct Lines {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    of: HashMap<Tenant, Line>,
    waiting: usize,
    is_closed: bool,
}

/// The ends of one tenant.
#[derive(Default)]
struct Line {
    ends: Vec<Ended>,
    /// Others of them are in a batch.
    is_under_way: bool,
}

/// Ends that are recorded together. Once it is dropped, there can be another of the same tenants.
pub(super) struct Batch<'a> {
    pub(super) ends: Vec<Ended>,
    tenants: Vec<Tenant>,
    lines: &'a Lines,
}

impl Lines {
    /// Puts ends into their lines as they come, as long as there is room, until none will come.
    pub(super) async fn fill(&self, mut ends: mpsc::Receiver<Ended>) {
        let mut arrived = Vec::with_capacity(BATCH_MAX);
        while ends.recv_many(&mut arrived, BATCH_MAX).await > 0 {
            self.once(|state| (state.waiting < BATCH_MAX).then_some(()))
                .await;
            let mut state = self.lock();
            state.waiting += arrived.len();
            for ended in arrived.drain(..) {
                let line = state.of.entry(ended.end.tenant.clone()).or_default();
                line.ends.push(ended);
            }
            drop(state);
            self.changed.notify_waiters();
        }
        self.lock().is_closed = true;
        self.changed.notify_waiters();
    }

    /// What is recorded next: all that `at_once` allows of a lone tenant, a few ends of each of several. `None` once
    /// all that will come was taken.
    pub(super) async fn next(&self, at_once: impl Fn(usize) -> usize) -> Option<Batch<'_>> {
        let take = |state: &mut State| state.take(|| at_once(BATCH_MAX));
        let taken = self.once(take).await;
        self.changed.notify_waiters();
        taken.map(|(ends, tenants)| Batch {
            ends,
            tenants,
            lines: self,
        })
    }

    /// Waits until `look` finds something.
    async fn once<T>(&self, look: impl Fn(&mut State) -> Option<T>) -> T {
        loop {
            // Registered before the look, so that a change between the two is not missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next batch, if there is one; `Some(None)` if there will be none.
    fn take(&mut self, of_lone: impl Fn() -> usize) -> Option<Option<(Vec<Ended>, Vec<Tenant>)>> {
        let free = |(_, line): &(&Tenant, &Line)| !line.is_under_way && !line.ends.is_empty();
        let tenants: Vec<Tenant> = self.of.iter().filter(free).map(|it| it.0.clone()).collect();
        let of_each = match tenants.len() {
            0 => return (self.is_closed && self.waiting == 0).then_some(None),
            1 => of_lone(),
            _ => OF_EACH_MAX,
        };
        let mut ends = Vec::new();
        for tenant in &tenants {
            if let Some(line) = self.of.get_mut(tenant) {
                line.is_under_way = true;
                let some = line.ends.len().min(of_each);
                ends.extend(line.ends.drain(..some));
            }
        }
        self.waiting -= ends.len();
        Some(Some((ends, tenants)))
    }
}

impl Batch<'_> {
    /// Whose ends it has.
    pub(super) fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.iter()
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut state = self.lines.lock();
        for tenant in &self.tenants {
            if let Some(line) = state.of.get_mut(tenant) {
                line.is_under_way = false;
            }
        }
        state
            .of
            .retain(|_, line| line.is_under_way || !line.ends.is_empty());
        drop(state);
        self.lines.changed.notify_waiters();
    }
}
