//! Holds back what fails again and again.
//!
//! What fails several times in a row is held for a while. Then one try is let through, and decides for the
//! others. What is tried, and what counts as a failure, is the caller's: modules in `runner`, the hosts that
//! callbacks go to elsewhere. Nothing of it is stored: each host knows what it saw, and forgets it when it
//! ends.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use cofferdam_domain::said;

/// Subjects that failed last; whoever is beyond them counts as one that did not.
const KNOWN_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not zero");
/// How long others wait at least while one is tried.
const TRIAL_WAIT_MIN: Duration = Duration::from_secs(1);
/// The bytes of a failure's reason that are kept.
const REASON_BYTES_MAX: usize = 256;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BreakerConfig {
    /// Failures in a row until the subject is held; 0 holds none.
    pub threshold: u32,
    /// How long it is held before another is tried.
    pub recovery: Duration,
}

impl Default for BreakerConfig {
    fn default() -> BreakerConfig {
        BreakerConfig {
            threshold: 5,
            recovery: Duration::from_secs(60),
        }
    }
}

/// A subject is held back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("held back for {} s, because it failed {failures} times in a row: {reason}", wait.as_secs().max(1))]
pub struct Held {
    /// For how long at least.
    pub wait: Duration,
    /// Its failures in a row.
    pub failures: u32,
    /// The last of them.
    pub reason: String,
    /// Whether one is being tried.
    pub on_trial: bool,
}

/// What is known of the subjects that failed last. Cheap to clone.
pub(crate) struct Breakers<S: Eq + Hash>(Arc<Inner<S>>);

struct Inner<S: Eq + Hash> {
    config: BreakerConfig,
    known: Mutex<LruCache<S, Breaker>>,
    /// How many are known, so that nobody waits for the lock while all is well.
    count: AtomicUsize,
}

/// A subject that failed last.
struct Breaker {
    failures: u32,
    reason: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is let through.
    Closed,
    /// It is held.
    Open { until: Instant },
    /// One is tried since then.
    HalfOpen { since: Instant },
}

/// A try that was let through. If it is dropped without an end, it says nothing.
pub(crate) struct Pass<S: Eq + Hash> {
    breakers: Breakers<S>,
    subject: S,
    /// When it was let through, if the others wait for it.
    trial: Option<Instant>,
}

impl<S: Eq + Hash> Clone for Breakers<S> {
    fn clone(&self) -> Breakers<S> {
        Breakers(Arc::clone(&self.0))
    }
}

impl<S: Eq + Hash> Breakers<S> {
    pub(crate) fn new(config: BreakerConfig) -> Breakers<S> {
        Breakers(Arc::new(Inner {
            config,
            known: Mutex::new(LruCache::new(KNOWN_MAX)),
            count: AtomicUsize::new(0),
        }))
    }

    /// Lets a try through, unless its subject is held.
    pub(crate) fn enter(&self, subject: S, now: Instant) -> Result<Pass<S>, Held> {
        let is_trial = match self.is_empty() {
            true => false,
            false => self.check(&subject, now)?,
        };
        Ok(Pass {
            breakers: self.clone(),
            subject,
            trial: is_trial.then_some(now),
        })
    }

    /// Whether this is the one that is tried.
    fn check(&self, subject: &S, now: Instant) -> Result<bool, Held> {
        let mut known = self.known();
        let Some(breaker) = known.get_mut(subject) else {
            return Ok(false);
        };
        match breaker.state {
            State::Open { until } if now >= until => {
                breaker.state = State::HalfOpen { since: now };
                Ok(true)
            }
            State::Closed => Ok(false),
            State::Open { .. } | State::HalfOpen { .. } => {
                Err(breaker.held(now, self.0.config.recovery))
            }
        }
    }

    /// Why a subject is held, if it is.
    pub(crate) fn held(&self, subject: &S, now: Instant) -> Option<Held> {
        if self.is_empty() {
            return None;
        }
        let known = self.known();
        let breaker = known.peek(subject)?;
        match breaker.state {
            State::Closed => None,
            State::Open { .. } | State::HalfOpen { .. } => {
                Some(breaker.held(now, self.0.config.recovery))
            }
        }
    }

    /// Every subject that is held, and why.
    pub(crate) fn all_held(&self, now: Instant) -> Vec<(S, Held)>
    where
        S: Clone,
    {
        let (known, recovery) = (self.known(), self.0.config.recovery);
        let held = known.iter().filter(|(_, it)| it.state != State::Closed);
        held.map(|(subject, it)| (subject.clone(), it.held(now, recovery)))
            .collect()
    }

    /// How many are held.
    pub(crate) fn count(&self) -> u64 {
        let known = self.known();
        let held = known.iter().filter(|(_, it)| it.state != State::Closed);
        held.count() as u64
    }

    /// Forgets what is known of these subjects; false if there is nothing.
    pub(crate) fn forget(&self, is_one: impl Fn(&S) -> bool) -> bool
    where
        S: Clone,
    {
        let mut known = self.known();
        let of_it = known.iter().map(|(subject, _)| subject);
        let of_it: Vec<S> = of_it.filter(|subject| is_one(subject)).cloned().collect();
        for subject in &of_it {
            known.pop(subject);
        }
        self.0.count.store(known.len(), Ordering::Release);
        !of_it.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.0.count.load(Ordering::Acquire) == 0
    }

    fn known(&self) -> MutexGuard<'_, LruCache<S, Breaker>> {
        // Nothing panics while holding it.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Breaker {
    fn held(&self, now: Instant, recovery: Duration) -> Held {
        let (wait, on_trial) = match self.state {
            State::Closed => (TRIAL_WAIT_MIN, false),
            State::Open { until } => (until.saturating_duration_since(now), false),
            // Whoever waits for a long trial asks the more rarely.
            State::HalfOpen { since } => {
                let wait = now.saturating_duration_since(since);
                (wait.min(recovery).max(TRIAL_WAIT_MIN), true)
            }
        };
        Held {
            wait,
            failures: self.failures,
            reason: self.reason.clone(),
            on_trial,
        }
    }
}

impl<S: Eq + Hash> Pass<S> {
    /// It ended well: nothing is held against its subject any more.
    pub(crate) fn worked(mut self) {
        if self.breakers.is_empty() {
            return;
        }
        let mut known = self.breakers.known();
        known.pop(&self.subject);
        self.breakers.0.count.store(known.len(), Ordering::Release);
        drop(known);
        self.trial = None;
    }

    /// It failed, for this reason; tells how many failed in a row if its subject is held now.
    pub(crate) fn failed(mut self, reason: String, now: Instant) -> Option<u32>
    where
        S: Clone,
    {
        let BreakerConfig {
            threshold,
            recovery,
        } = self.breakers.0.config;
        if threshold == 0 {
            return None;
        }
        let was_trial = self.trial.take().is_some();
        let mut known = self.breakers.known();
        let breaker = known.get_or_insert_mut(self.subject.clone(), || Breaker {
            failures: 0,
            reason: String::new(),
            state: State::Closed,
        });
        breaker.failures = breaker.failures.saturating_add(1);
        breaker.reason = said::cut(reason, REASON_BYTES_MAX);
        let opens = was_trial || breaker.failures >= threshold;
        let failures = breaker.failures;
        if opens {
            breaker.state = State::Open {
                until: now + recovery,
            };
        }
        self.breakers.0.count.store(known.len(), Ordering::Release);
        opens.then_some(failures)
    }
}

impl<S: Eq + Hash> Drop for Pass<S> {
    fn drop(&mut self) {
        let Some(until) = self.trial.take() else {
            return;
        };
        // The next is the one that is tried.
        let mut known = self.breakers.known();
        if let Some(breaker) = known.peek_mut(&self.subject)
            && matches!(breaker.state, State::HalfOpen { .. })
        {
            breaker.state = State::Open { until };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECOVERY: Duration = Duration::from_secs(60);

    fn breakers() -> (Breakers<u8>, Instant) {
        let config = BreakerConfig {
            threshold: 3,
            recovery: RECOVERY,
        };
        (Breakers::new(config), Instant::now())
    }

    /// Whether a try that would end so is let through.
    fn tried(breakers: &Breakers<u8>, subject: u8, works: bool, now: Instant) -> bool {
        let Ok(pass) = breakers.enter(subject, now) else {
            return false;
        };
        match works {
            true => pass.worked(),
            false => drop(pass.failed("as it was".to_owned(), now)),
        }
        true
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_try_decides_later() {
        let (breakers, start) = breakers();
        let works_at = |after, works| {
            let now = start + Duration::from_secs(after);
            tried(&breakers, 1, works, now)
        };
        assert!(works_at(0, false) && works_at(0, false));
        // A success in between begins the count anew.
        assert!(works_at(0, true));
        assert!(works_at(1, false) && works_at(1, false) && works_at(1, false));
        assert!(!works_at(2, true));
        let held = breakers.held(&1, start + Duration::from_secs(11)).unwrap();
        assert_eq!((held.failures, held.wait), (3, Duration::from_secs(50)));
        assert_eq!((held.reason.as_str(), held.on_trial), ("as it was", false));
        // The trial fails, and it is held for as long again; then it works.
        assert!(works_at(61, false) && !works_at(62, true));
        assert!(works_at(121, true));
        for _ in 0..2 {
            assert!(works_at(122, false));
        }
        assert_eq!(breakers.count(), 0);
    }

    #[test]
    fn one_is_tried_at_a_time_and_one_that_says_nothing_gives_its_place_up() {
        let (breakers, start) = breakers();
        for _ in 0..3 {
            assert!(tried(&breakers, 1, false, start));
        }
        let later = start + RECOVERY;
        let trial = breakers.enter(1, later).ok().unwrap();
        let other = breakers.enter(1, later).err().unwrap();
        assert!(other.on_trial && other.wait == TRIAL_WAIT_MIN);
        // Who asks during a long trial waits the longer, but no longer than the others did.
        let wait = |after| {
            let now = later + Duration::from_secs(after);
            breakers.held(&1, now).unwrap().wait
        };
        assert_eq!(wait(8), Duration::from_secs(8));
        assert_eq!(wait(600), RECOVERY);
        drop(trial);
        assert!(tried(&breakers, 1, true, later));
        assert!(breakers.is_empty());
    }

    #[test]
    fn others_are_not_held_and_what_is_forgotten_is_let_through() {
        let (breakers, now) = breakers();
        for _ in 0..3 {
            assert!(tried(&breakers, 1, false, now));
        }
        assert!(tried(&breakers, 2, true, now));
        assert_eq!(breakers.count(), 1);
        assert_eq!(breakers.all_held(now)[0].0, 1);
        assert!(!breakers.forget(|subject| *subject == 2));
        assert!(breakers.forget(|subject| *subject == 1));
        assert!(tried(&breakers, 1, true, now));
    }

    #[test]
    fn none_is_held_where_the_operator_wants_none() {
        let config = BreakerConfig {
            threshold: 0,
            ..BreakerConfig::default()
        };
        let (breakers, now) = (Breakers::new(config), Instant::now());
        for _ in 0..10 {
            assert!(tried(&breakers, 1, false, now));
        }
        assert_eq!(breakers.held(&1, now), None);
    }

    #[test]
    fn a_reason_is_cut() {
        let (breakers, now) = breakers();
        for _ in 0..3 {
            let pass = breakers.enter(1, now).ok().unwrap();
            pass.failed("x".repeat(10 * REASON_BYTES_MAX), now);
        }
        let held = breakers.held(&1, now).unwrap();
        assert!(held.reason.len() <= REASON_BYTES_MAX + 40, "{held}");
    }
}
