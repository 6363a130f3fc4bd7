//! Whether ends of attempts reach storage, for readiness: a host that cannot record ends should get
//! no work.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Since when the completer has made no progress.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    since: Mutex<Option<Instant>>,
}

impl Recording {
    /// Notes that ends are being offered. If earlier ones were given up, it has been stuck since
    /// then.
    pub(crate) fn begun(&self) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert_with(Instant::now);
    }

    /// Notes that some of them were recorded.
    pub(crate) fn got_on(&self) {
        self.set(Some(Instant::now()));
    }

    /// Notes that all of them were recorded.
    pub(crate) fn ended(&self) {
        self.set(None);
    }

    /// How long nothing has been recorded although there are ends to record.
    pub(crate) fn stuck_for(&self) -> Duration {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn set(&self, since: Option<Instant>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}
