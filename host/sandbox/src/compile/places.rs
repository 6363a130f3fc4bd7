//! Decides which upload gets a compiling child: each size class has its own places, so that small
//! modules never wait for large ones, whoever sent them. A tiny module that takes long begins again
//! among the usual ones. A child also takes its memory from the host's budget.
//!
//! Callers take turns for the places of each class. The wait is bounded, in number and in time.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::CompileError;
use crate::admission::{self, Party, Patience, Taken};
use cofferdam_domain::memory::{Budget, Held, Purpose};

/// Up to this size a module is tiny: it costs milliseconds, unless it is built to cost more.
const TINY_BYTES: usize = 8 * 1024;
/// How long a tiny module may keep the others waiting.
const TINY_TIME: Duration = Duration::from_secs(2);
/// Above this size a module is large: it may take many seconds.
const LARGE_BYTES: usize = 1024 * 1024;
/// Modules of one class and one caller that wait for a child; one more is refused and may try again.
const WAITING_MAX: usize = 16;

/// The places.
pub(super) struct Places {
    tiny: admission::Places,
    usual: admission::Places,
    large: admission::Places,
    wait_max: Duration,
    memory: Budget,
    freed: Arc<Notify>,
}

/// A place, given up when dropped.
pub(super) struct Place<'a> {
    places: &'a Places,
    caller: u64,
    is_tiny: bool,
    /// How much longer it may wait.
    patience: Duration,
    taken: Option<Taken>,
}

impl Places {
    /// Places for `children` at once, and in addition one for tiny modules and half as many for
    /// large ones. Children take their memory from `memory`. No upload waits longer than `wait_max`.
    pub(super) fn new(children: usize, memory: Budget, wait_max: Duration) -> Places {
        let class = |children| admission::Places::new(children, WAITING_MAX);
        let freed = Arc::new(Notify::new());
        let told = Arc::clone(&freed);
        memory.when_freed(move || told.notify_waiters());
        Places {
            memory,
            freed,
            tiny: class(1),
            usual: class(children),
            large: class(children / 2),
            wait_max,
        }
    }

    /// A place for a module of `size_bytes` that a caller wants.
    pub(super) async fn take(
        &self,
        size_bytes: usize,
        caller: u64,
    ) -> Result<Place<'_>, CompileError> {
        let is_tiny = size_bytes <= TINY_BYTES;
        let class = if is_tiny {
            &self.tiny
        } else if size_bytes <= LARGE_BYTES {
            &self.usual
        } else {
            &self.large
        };
        let mut patience = self.wait_max;
        Ok(Place {
            taken: Some(wait(class, caller, &mut patience).await?),
            places: self,
            caller,
            is_tiny,
            patience,
        })
    }
}

/// A place of a class, for which it waits no longer than `patience`, which it uses up.
async fn wait(
    class: &admission::Places,
    caller: u64,
    patience: &mut Duration,
) -> Result<Taken, CompileError> {
    let came = Instant::now();
    let within = Patience {
        begin_by: came.checked_add(*patience),
        party: Party { caller, module: 0 },
        ..Patience::default()
    };
    let taken = class.take(&within).await;
    *patience = patience.saturating_sub(came.elapsed());
    taken.map_err(|_no_room| CompileError::Busy)
}

impl Place<'_> {
    /// How long its child may take, if that is less than any may.
    pub(super) fn time(&self) -> Option<Duration> {
        self.is_tiny.then_some(TINY_TIME)
    }

    /// Gives up a tiny module's place for a usual one.
    pub(super) async fn change(&mut self) -> Result<(), CompileError> {
        self.taken = None;
        let usual = wait(&self.places.usual, self.caller, &mut self.patience).await?;
        (self.taken, self.is_tiny) = (Some(usual), false);
        Ok(())
    }

    /// Memory for a child, for which it waits no longer than what is left of its time.
    pub(super) async fn memory(&mut self, bytes: u64) -> Result<Held, CompileError> {
        let Places { memory, freed, .. } = self.places;
        let came = Instant::now();
        let waiting = async {
            loop {
                let mut freed = pin!(freed.notified());
                // Before the look, so that what comes free in between is not missed.
                freed.as_mut().enable();
                if let Some(held) = memory.take(Purpose::Compiles, bytes) {
                    return held;
                }
                freed.await;
            }
        };
        let held = tokio::time::timeout(self.patience, waiting).await;
        self.patience = self.patience.saturating_sub(came.elapsed());
        held.map_err(|_elapsed| CompileError::Busy)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::poll;

    use super::*;
    use cofferdam_domain::memory::{Share, Shares};

    const WAIT: Duration = Duration::from_millis(50);

    fn places(children: usize, memory_bytes: u64) -> Places {
        let shares = Shares {
            guests: Share::reserving(0),
            compiles: Share::reserving(0),
            bodies: Share::NONE,
        };
        Places::new(children, Budget::new(memory_bytes, shares), WAIT)
    }

    #[tokio::test]
    async fn small_modules_do_not_wait_for_larger_ones() {
        let places = places(2, 0);
        let _bombs = [
            places.take(30_000, 1).await.unwrap(),
            places.take(30_000, 1).await.unwrap(),
            places.take(LARGE_BYTES + 1, 1).await.unwrap(),
        ];
        let tiny = tokio::time::timeout(WAIT / 2, places.take(200, 1)).await;
        assert!(tiny.is_ok_and(|place| place.is_ok()));
    }

    #[tokio::test]
    async fn a_wait_is_bounded_in_time_and_in_number() {
        let places = places(1, 0);
        let held = places.take(30_000, 1).await.unwrap();
        let began = tokio::time::Instant::now();
        let waits = (0..WAITING_MAX + 3).map(|_| places.take(30_000, 1));
        let ended = futures_util::future::join_all(waits).await;
        assert!(began.elapsed() >= WAIT);
        let busy =
            |place: &Result<Place<'_>, CompileError>| matches!(place, Err(CompileError::Busy));
        assert!(ended.iter().all(busy));
        drop((held, ended));
        // An upload that gave up leaves nothing behind.
        assert!(places.take(30_000, 1).await.is_ok());
    }

    #[tokio::test]
    async fn a_crowd_of_one_caller_keeps_no_other_from_waiting() {
        let places = places(1, 0);
        let held = places.take(30_000, 1).await.unwrap();
        let crowd = (0..WAITING_MAX).map(|_| Box::pin(places.take(30_000, 1)));
        let mut crowd: Vec<_> = crowd.collect();
        for waiting in &mut crowd {
            assert!(poll!(waiting).is_pending());
        }
        let one_more = places.take(30_000, 1).await.err();
        assert_eq!(one_more, Some(CompileError::Busy));
        let mut other = Box::pin(places.take(30_000, 2));
        assert!(poll!(&mut other).is_pending());
        drop(held);
        // The first that came is served first; then it is the other caller's turn.
        assert!(matches!(poll!(&mut crowd[0]), Poll::Ready(Ok(_served))));
        assert!(matches!(poll!(&mut other), Poll::Ready(Ok(_served))));
    }

    #[tokio::test]
    async fn children_wait_for_the_memory_that_the_host_has_left() {
        let places = places(2, 100);
        let guests = places.memory.take(Purpose::Guests, 60).unwrap();
        let mut first = places.take(200, 1).await.unwrap();
        let mut second = places.take(30_000, 1).await.unwrap();
        let held = first.memory(30).await.unwrap();
        assert_eq!(second.memory(30).await.err(), Some(CompileError::Busy));
        let mut third = places.take(30_000, 1).await.unwrap();
        let (held_too, ()) = tokio::join!(third.memory(90), async { drop((held, guests)) });
        assert_eq!(held_too.unwrap().bytes(), 90);
        assert_eq!(places.memory.taken_bytes(Purpose::Compiles), 0);
    }
}
