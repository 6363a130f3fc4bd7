//! Whose turn it is: as many executions begin at once as there are cores, the others wait in the
//! order of their arrival.
//!
//! An interpreter touches megabytes, so many that take turns on one core slow each other down. A
//! short one keeps its turn to its end. One that is still there after a while gives it up, so that
//! a script that sleeps holds up nobody; it then shares the guest threads with all that are long.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::Semaphore;

/// How long one execution holds up those behind it.
const TURN: Duration = Duration::from_millis(100);

/// The turns of all executions.
#[derive(Debug)]
pub struct Turns {
    free: Semaphore,
}

impl Turns {
    /// `running_max` at once; 0 is one per core.
    pub(crate) fn new(running_max: usize) -> Turns {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = match running_max {
            0 => cores(),
            configured => configured,
        };
        Turns {
            free: Semaphore::new(at_once),
        }
    }

    /// Waits for a turn and does `work`. Dropping the future ends both.
    pub async fn take<T>(&self, work: impl Future<Output = T>) -> T {
        let turn = self.free.acquire().await;
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
