//! Whether ends of attempts reach storage, for readiness: a host that cannot record ends should get
//! no work.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Since when the completer has made no progress.
#[derive(Debug, Default)]
pub(crate) struct Recording(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many batches are being offered.
    offered: usize,
    since: Option<Instant>,
}

/// A batch that is being offered, until this is dropped.
#[derive(Debug)]
pub(crate) struct Offering<'a>(&'a Recording);

impl Recording {
    /// Notes that ends are being offered. If earlier ones were given up, it has been stuck since
    /// then.
    pub(crate) fn begun(&self) -> Offering<'_> {
        let mut state = self.lock();
        state.offered += 1;
        state.since.get_or_insert_with(Instant::now);
        Offering(self)
    }

    /// Notes that some were recorded.
    pub(crate) fn got_on(&self) {
        let mut state = self.lock();
        state.since = state.since.map(|_| Instant::now());
    }

    /// Notes that storage assigns no attempt to this host that is not held: nothing that was given up
    /// is open any more.
    pub(crate) fn agreed(&self) {
        let mut state = self.lock();
        if state.offered == 0 {
            state.since = None;
        }
    }

    /// How long nothing has been recorded although there are ends to record.
    pub(crate) fn stuck_for(&self) -> Duration {
        let since = self.lock().since;
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offering<'_> {
    /// Notes that all were offered, and whether none is left.
    pub(crate) fn ended(self, none_is_left: bool) {
        let recording = self.0;
        drop(self);
        if none_is_left {
            recording.agreed();
        }
    }
}

impl Drop for Offering<'_> {
    fn drop(&mut self) {
        self.0.lock().offered -= 1;
    }
}
