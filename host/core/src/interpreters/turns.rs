//! Whose turn it is: as many executions begin at once as there are cores, the others wait in the
//! order of their arrival.
//!
//! An interpreter touches megabytes, so many that take turns on one core slow each other down. A
//! short one keeps its turn to its end. One that is still there after a while gives it up, so that
//! a script that sleeps holds up nobody; it then shares the guest threads with all that are long.
//!
//! The turns are divided among the threads that ask for them: a short execution runs on the thread
//! of its request, so two turns in the hands of one thread would leave another idle.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

/// How long one execution holds up those behind it.
const TURN: Duration = Duration::from_millis(100);

/// The turns of all executions.
#[derive(Debug)]
pub struct Turns {
    /// Each for the threads whose number leaves the same rest.
    shares: Vec<Semaphore>,
}

/// Gives each thread that asks for a turn a number.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Turns {
    /// `running_max` at once; 0 is one per core.
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

    /// Waits for a turn and does `work`. Dropping the future ends both.
    pub async fn take<T>(&self, work: impl Future<Output = T>) -> T {
        let turn = self.share().acquire().await;
        let turn = turn.expect("nobody closes the semaphore of turns");
        let (mut work, over) = (pin!(work), pin!(tokio::time::sleep(TURN)));
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = over => {}
        }
        drop(turn);
        work.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_execution_gives_up_its_turn() {
        let turns = Turns::new(1);
        let asleep = turns.take(tokio::time::sleep(Duration::from_secs(3600)));
        let next = turns.take(async { 7 });
        tokio::select! {
            biased;
            () = asleep => panic!("the sleeper ended first"),
            answer = next => assert_eq!(answer, 7),
        }
    }
}
