//! Stops this host's guests when it cannot tell the others that it is alive, before they may take its
//! tasks for theirs.
//!
//! What such an attempt records later is refused if another host has the task by then; this service is
//! for what the guest would do meanwhile. Claims that have not begun are dropped: as soon as storage answers
//! again, `reconciler` finds and returns them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::queue::running::Stop;
use crate::queue::shared::Shared;

/// The wait between two rounds: a lane may begin a claim while this service stops the others.
const AGAIN: Duration = Duration::from_millis(50);

/// Watches the lease until everything is settled.
pub(crate) async fn serve(shared: Arc<Shared>) {
    let mut is_fenced = false;
    loop {
        let Some(left) = shared.lease.left(Instant::now()) else {
            return;
        };
        let wait = match left.is_zero() {
            true => {
                stop(&shared, is_fenced);
                AGAIN
            }
            false => left,
        };
        is_fenced = left.is_zero();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.settled.cancelled() => return,
        }
    }
}

fn stop(shared: &Shared, again: bool) {
    let ready = shared.ready.take_older_than(Duration::ZERO);
    if !again {
        tracing::warn!(
            attempts = shared.running.len(),
            claims = ready.len(),
            "storage cannot be reached: attempts are ended before others may take their tasks"
        );
    }
    drop(ready);
    shared.running.kill_all(Stop::Fenced);
}
