//! How long work is put off that this host cannot do yet, such as a script whose interpreter is
//! being compiled.
//!
//! The wait grows with the time for which the host has been unable, so that a host that is ready in
//! a second loses little, and one that is not ready for minutes does not rewrite its whole backlog
//! all the time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest wait and the longest.
const WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// The next wait is the elapsed time divided by this.
const PART: u32 = 4;
/// A host that could do all work for this long starts with the shortest wait again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15);

/// Since when the host has been unable, and when it was last noted.
#[derive(Debug, Default)]
pub(crate) struct Postponing(Mutex<Option<(Instant, Instant)>>);

impl Postponing {
    /// The wait of work that cannot be done at `now`.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match *known {
            Some((since, last)) if now.saturating_duration_since(last) < FORGOTTEN_AFTER => since,
            Some(_) | None => now,
        };
        *known = Some((since, now));
        (now.saturating_duration_since(since) / PART).clamp(WAIT.0, WAIT.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_while_the_host_is_unable_and_begin_anew_afterwards() {
        let (postponing, start) = (Postponing::default(), Instant::now());
        let at = |seconds| postponing.wait(start + Duration::from_secs(seconds));
        assert_eq!(at(0), Duration::from_millis(250));
        assert_eq!(at(4), Duration::from_secs(1));
        assert_eq!(at(14), Duration::from_millis(3500));
        assert_eq!(at(28), Duration::from_secs(5));
        assert_eq!(at(60), Duration::from_millis(250));
    }
}
