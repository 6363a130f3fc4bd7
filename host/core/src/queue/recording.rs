//! Whether ends of attempts reach storage, for readiness: a host that records nothing should be
//! given nothing.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Since when the completer has not got on.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    since: Mutex<Option<Instant>>,
}

impl Recording {
    /// Ends are offered from now on. If earlier ones were given up, it has been stuck since then.
    pub(crate) fn begun(&self) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert_with(Instant::now);
    }

    /// Some of them were recorded.
    pub(crate) fn got_on(&self) {
        self.set(Some(Instant::now()));
    }

    /// All of them were recorded.
    pub(crate) fn ended(&self) {
        self.set(None);
    }

    /// How long nothing was recorded although there is something to record.
    pub(crate) fn stuck_for(&self) -> Duration {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn set(&self, since: Option<Instant>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}
