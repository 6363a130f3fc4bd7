//! The turns of executions: as many begin at once as there are cores, and the others wait in the
//! order of their arrival.
//!
//! An interpreter touches megabytes, so interpreters that alternate on one core slow each other
//! down. A short execution keeps its turn to its end. A longer one gives it up after a while, so
//! that a script that sleeps does not delay others; it then shares the guest threads with all long
//! guests.
//!
//! The turns are divided among the threads that ask for them: a short execution runs on the thread
//! of its request, so two turns on one thread would leave another idle.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use cofferdam_sandbox::NoRoom;

/// How long one execution may delay those behind it.
const TURN: Duration = Duration::from_millis(100);

/// The turns of all executions.
#[derive(Debug)]
pub struct Turns {
    /// One for each remainder of a thread's number.
    shares: Vec<Semaphore>,
}

/// Gives each thread that asks for a turn a number.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Turns {
    /// `running_max` at once; 0 means one per core.
    pub(crate) fn new(running_max: usize) -> Turns {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = match running_max {
            0 => cores,
            configured => configured,
        };
        let shares = at_once.min(cores);
        let share =
            |place| Semaphore::new(at_once / shares + usize::from(place < at_once % shares));
        Turns {
            shares: (0..shares).map(share).collect(),
        }
    }

    fn share(&self) -> &Semaphore {
        let thread = THREAD.get().unwrap_or_else(|| {
            let next = THREADS.fetch_add(1, Ordering::Relaxed);
            THREAD.set(Some(next));
            next
        });
        &self.shares[thread % self.shares.len()]
    }

    /// Waits for a turn, until `begin_by` if that is given.
    pub async fn wait(&self, begin_by: Option<Instant>) -> Result<Turn<'_>, NoRoom> {
        let came = Instant::now();
        let turn = self.share().acquire();
        let turn = match begin_by {
            None => turn.await,
            Some(at) => tokio::time::timeout_at(at.into(), turn)
                .await
                .map_err(|_elapsed| NoRoom::Waited(came.elapsed()))?,
        };
        let permit = turn.expect("nobody closes the semaphore of turns");
        Ok(Turn { _permit: permit })
    }
}

/// A turn, given up when dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
}

impl Turn<'_> {
    /// Does `work`, and gives up the turn when the work is long. Dropping the future ends both.
    pub async fn drive<T>(self, work: impl Future<Output = T>) -> T {
        let (mut work, over) = (pin!(work), pin!(tokio::time::sleep(TURN)));
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = over => {}
        }
        drop(self);
        work.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_execution_gives_up_its_turn() {
        let turns = Turns::new(1);
        let first = turns.wait(None).await.unwrap();
        let asleep = first.drive(tokio::time::sleep(Duration::from_secs(3600)));
        tokio::select! {
            biased;
            () = asleep => panic!("the sleeper ended first"),
            next = turns.wait(None) => assert!(next.is_ok()),
        }
    }

    #[tokio::test]
    async fn a_wait_for_a_turn_ends_in_time_and_leaves_nothing() {
        let turns = Turns::new(1);
        let held = turns.wait(None).await.unwrap();
        let soon = Some(Instant::now() + Duration::from_millis(20));
        let refused = turns.wait(soon).await;
        assert!(matches!(refused, Err(NoRoom::Waited(_))));
        drop(turns.wait(None));
        drop(held);
        assert!(turns.wait(None).await.is_ok());
    }
}
