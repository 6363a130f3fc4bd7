//! The attempts under way on this host, and the handles to stop them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use cofferdam_domain::task::TaskId;

/// Why an attempt is being stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody cancelled the task.
    Cancel,
    /// The host is shutting down and waits no longer.
    Drain,
}

/// One attempt under way.
#[derive(Debug, Default)]
pub(crate) struct Attempting {
    pub(crate) cancel: CancellationToken,
    pub(crate) kill: CancellationToken,
    stop: AtomicU8,
}

impl Attempting {
    /// Why it is being stopped; the first reason counts.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Acquire) {
            1 => Some(Stop::Cancel),
            2 => Some(Stop::Drain),
            _ => None,
        }
    }

    fn stop(&self, reason: Stop) {
        let code = match reason {
            Stop::Cancel => 1,
            Stop::Drain => 2,
        };
        let _first_counts =
            self.stop
                .compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        self.cancel.cancel();
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Running {
    attempts: Mutex<HashMap<TaskId, Arc<Attempting>>>,
    count: AtomicUsize,
}

impl Running {
    /// Enters an attempt.
    pub(crate) fn begin(&self, id: TaskId) -> Arc<Attempting> {
        let attempting = Arc::new(Attempting::default());
        self.lock().insert(id, Arc::clone(&attempting));
        self.count.fetch_add(1, Ordering::AcqRel);
        attempting
    }

    /// Strikes it off. A later attempt at the same task stays.
    pub(crate) fn end(&self, id: TaskId, attempting: &Arc<Attempting>) {
        let mut attempts = self.lock();
        if attempts
            .get(&id)
            .is_some_and(|entered| Arc::ptr_eq(entered, attempting))
        {
            attempts.remove(&id);
        }
        drop(attempts);
        self.count.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Tells the attempt at a task that it is cancelled; `None` if it does not run here.
    pub(crate) fn cancel(&self, id: TaskId) -> Option<Arc<Attempting>> {
        let attempting = self.lock().get(&id).cloned()?;
        attempting.stop(Stop::Cancel);
        Some(attempting)
    }

    /// Kills every attempt, for the end of the host.
    pub(crate) fn kill_all(&self) {
        for attempting in self.lock().values() {
            attempting.stop(Stop::Drain);
            attempting.kill.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Attempting>>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
