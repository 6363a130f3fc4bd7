//! Decides which upload gets a compiling child: each size class has its own places, so that small
//! modules never wait for large ones, whoever sent them.
//!
//! The wait is bounded, in number and in time.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::CompileError;

/// Up to this size a module is tiny: it costs milliseconds, unless it is built to cost more.
const TINY_BYTES: usize = 8 * 1024;
/// Above this size a module is large: it may take many seconds.
const LARGE_BYTES: usize = 1024 * 1024;
/// Uploads of one class that wait for a child; one more is refused and may try again.
const WAITING_MAX: usize = 16;

/// The places.
pub(super) struct Places {
    tiny: Class,
    usual: Class,
    large: Class,
    wait_max: Duration,
}

struct Class {
    /// One permit for each child.
    children: Semaphore,
    /// One permit for each upload that has a child or waits for one.
    queue: Semaphore,
}

/// A place, given up when dropped.
pub(super) struct Place<'a> {
    _queue: SemaphorePermit<'a>,
    _child: SemaphorePermit<'a>,
}

impl Places {
    /// Places for `children` at once, and in addition one for tiny modules and half as many for
    /// large ones. No upload waits longer than `wait_max`.
    pub(super) fn new(children: usize, wait_max: Duration) -> Places {
        let class = |children| Class {
            children: Semaphore::new(children),
            queue: Semaphore::new(children + WAITING_MAX),
        };
        Places {
            tiny: class(1),
            usual: class(children.max(1)),
            large: class((children / 2).max(1)),
            wait_max,
        }
    }

    /// A place for a module of `size_bytes`.
    pub(super) async fn take(&self, size_bytes: usize) -> Result<Place<'_>, CompileError> {
        let class = if size_bytes <= TINY_BYTES {
            &self.tiny
        } else if size_bytes <= LARGE_BYTES {
            &self.usual
        } else {
            &self.large
        };
        let queue = class.queue.try_acquire().map_err(|_| CompileError::Busy)?;
        let child = tokio::time::timeout(self.wait_max, class.children.acquire()).await;
        let child = child.map_err(|_elapsed| CompileError::Busy)?;
        let closed = |_| CompileError::Host("the compiler is closed".to_owned());
        Ok(Place {
            _queue: queue,
            _child: child.map_err(closed)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn small_modules_do_not_wait_for_larger_ones() {
        let places = Places::new(2, WAIT);
        let _bombs = [
            places.take(30_000).await.unwrap(),
            places.take(30_000).await.unwrap(),
            places.take(LARGE_BYTES + 1).await.unwrap(),
        ];
        let tiny = tokio::time::timeout(WAIT / 2, places.take(200)).await;
        assert!(tiny.is_ok_and(|place| place.is_ok()));
    }

    #[tokio::test]
    async fn a_wait_is_bounded_in_time_and_in_number() {
        let places = Places::new(1, WAIT);
        let held = places.take(30_000).await.unwrap();
        let began = tokio::time::Instant::now();
        let waits = (0..WAITING_MAX + 3).map(|_| places.take(30_000));
        let ended = futures_util::future::join_all(waits).await;
        assert!(began.elapsed() >= WAIT);
        let busy =
            |place: &Result<Place<'_>, CompileError>| matches!(place, Err(CompileError::Busy));
        assert!(ended.iter().all(busy));
        drop((held, ended));
        // An upload that gave up leaves nothing behind.
        assert!(places.take(30_000).await.is_ok());
    }
}
