//! The turns of executions: as many begin at once as there are cores. The others wait, and their
//! callers take turns.
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
use std::time::Duration;

use cofferdam_sandbox::{NoRoom, Patience, Places, Taken};

/// How long one execution may delay those behind it.
const TURN: Duration = Duration::from_millis(100);

/// Executions of one caller that wait for a turn on one thread; one more is refused.
const WAITING_MAX: usize = 5_000;

/// The turns of all executions.
pub struct Turns {
    /// One for each remainder of a thread's number.
    shares: Vec<Places>,
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
        let share = |place| {
            let at_once = at_once / shares + usize::from(place < at_once % shares);
            Places::new(at_once, WAITING_MAX)
        };
        Turns {
            shares: (0..shares).map(share).collect(),
        }
    }

    fn share(&self) -> &Places {
        let thread = THREAD.get().unwrap_or_else(|| {
            let next = THREADS.fetch_add(1, Ordering::Relaxed);
            THREAD.set(Some(next));
            next
        });
        &self.shares[thread % self.shares.len()]
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shares.iter().map(Places::waiting).sum()
    }

    /// Waits for a turn, for as long as `patience` says.
    pub async fn wait(&self, patience: &Patience) -> Result<Turn, NoRoom> {
        let taken = self.share().take(patience).await?;
        Ok(Turn { _taken: taken })
    }
}

/// A turn, given up when dropped.
pub struct Turn {
    _taken: Taken,
}

impl Turn {
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
    use std::time::Instant;

    use super::*;

    fn for_ever() -> Patience {
        Patience::default()
    }

    #[tokio::test]
    async fn a_long_execution_gives_up_its_turn() {
        let (turns, patience) = (Turns::new(1), for_ever());
        let first = turns.wait(&patience).await.unwrap();
        let asleep = first.drive(tokio::time::sleep(Duration::from_secs(3600)));
        tokio::select! {
            biased;
            () = asleep => panic!("the sleeper ended first"),
            next = turns.wait(&patience) => assert!(next.is_ok()),
        }
    }

    #[tokio::test]
    async fn a_wait_for_a_turn_ends_in_time_and_leaves_nothing() {
        let turns = Turns::new(1);
        let held = turns.wait(&for_ever()).await.unwrap();
        let soon = Patience {
            begin_by: Some(Instant::now() + Duration::from_millis(20)),
            ..for_ever()
        };
        let refused = turns.wait(&soon).await.err();
        assert!(matches!(refused, Some(NoRoom::Waited(_))));
        let patience = for_ever();
        drop(turns.wait(&patience));
        drop(held);
        assert!(turns.wait(&for_ever()).await.is_ok());
    }
}
