//! The running attempts of this host, and the handles to stop them.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use cofferdam_domain::attempt::Fence;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::task::TaskId;

/// Why an attempt is being stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody cancelled the task.
    Cancel,
    /// The host is shutting down and has waited long enough.
    Drain,
    /// Storage says that the attempt is no longer this host's.
    Disowned,
    /// The host could not tell in time that it is alive.
    Fenced,
}

/// The handles of one attempt.
#[derive(Debug)]
pub(crate) struct Attempting {
    pub(crate) cancel: CancellationToken,
    pub(crate) kill: CancellationToken,
    fence: Fence,
    begun: Instant,
    stop: AtomicU8,
}

impl Attempting {
    /// Why it is being stopped; the first reason counts.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Acquire) {
            1 => Some(Stop::Cancel),
            2 => Some(Stop::Drain),
            3 => Some(Stop::Disowned),
            4 => Some(Stop::Fenced),
            _ => None,
        }
    }

    fn stop(&self, reason: Stop) {
        let code = match reason {
            Stop::Cancel => 1,
            Stop::Drain => 2,
            Stop::Disowned => 3,
            Stop::Fenced => 4,
        };
        let _first_counts =
            self.stop
                .compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        self.cancel.cancel();
    }
}

/// All running attempts. Cheap to clone; all clones share one list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// More than one at a task where this host was taken for dead and has claimed it again.
    attempts: Mutex<HashMap<TaskId, Vec<Arc<Attempting>>>>,
    count: AtomicUsize,
}

/// An attempt's entry, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    running: Running,
    id: TaskId,
    attempting: Arc<Attempting>,
}

impl Running {
    /// Enters an attempt.
    pub(crate) fn begin(&self, claim: &Claim) -> Entry {
        let attempting = Arc::new(Attempting {
            cancel: CancellationToken::new(),
            kill: CancellationToken::new(),
            fence: claim.fence,
            begun: Instant::now(),
            stop: AtomicU8::new(0),
        });
        let id = claim.task_id;
        let mut attempts = self.lock();
        attempts
            .entry(id)
            .or_default()
            .push(Arc::clone(&attempting));
        drop(attempts);
        self.0.count.fetch_add(1, Ordering::AcqRel);
        Entry {
            running: self.clone(),
            id,
            attempting,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// How long the one has run that runs longest; zero if none does.
    pub(crate) fn longest(&self, now: Instant) -> Duration {
        let attempts = self.lock();
        let begun = attempts.values().flatten().map(|one| one.begun).min();
        begun.map_or(Duration::ZERO, |begun| now.saturating_duration_since(begun))
    }

    /// Whether an attempt at a task runs here.
    pub(crate) fn holds(&self, id: TaskId) -> bool {
        self.len() > 0 && self.lock().contains_key(&id)
    }

    /// Tells a task's attempts that it is cancelled; there are none if it does not run here.
    pub(crate) fn cancel(&self, id: TaskId) -> Vec<Arc<Attempting>> {
        let attempts = self.lock().get(&id).cloned().unwrap_or_default();
        for attempting in &attempts {
            attempting.stop(Stop::Cancel);
        }
        attempts
    }

    /// Kills the attempt of a claim that storage no longer assigns to this host.
    pub(crate) fn disown(&self, id: TaskId, fence: Fence) {
        let attempts = self.lock().get(&id).cloned().unwrap_or_default();
        for attempting in attempts.iter().filter(|one| one.fence == fence) {
            attempting.stop(Stop::Disowned);
            attempting.kill.cancel();
        }
    }

    /// Kills every attempt.
    pub(crate) fn kill_all(&self, reason: Stop) {
        for attempting in self.lock().values().flatten() {
            attempting.stop(reason);
            attempting.kill.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Vec<Arc<Attempting>>>> {
        let attempts = self.0.attempts.lock();
        attempts.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Entry {
    type Target = Arc<Attempting>;

    fn deref(&self) -> &Arc<Attempting> {
        &self.attempting
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut attempts = self.running.lock();
        if let Some(of_task) = attempts.get_mut(&self.id) {
            // Another attempt at the same task stays.
            of_task.retain(|entered| !Arc::ptr_eq(entered, &self.attempting));
            if of_task.is_empty() {
                attempts.remove(&self.id);
            }
        }
        drop(attempts);
        self.running.0.count.fetch_sub(1, Ordering::AcqRel);
    }
}
