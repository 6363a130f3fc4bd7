//! Records that this incarnation is alive and how it is, until its last attempt is recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::queue::cpu;
use crate::queue::shared::Shared;
use cofferdam_domain::worker::{Beat, WorkerState};
use cofferdam_storage::StorageError;

/// How long the last beat may take: an end without it is noticed all the same, when the host has been
/// silent for long enough.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Beats at the configured interval, and when there is news. The first beat is made at the start,
/// because nothing may be claimed before it.
pub(crate) async fn serve(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(shared.config.heartbeat_interval) => {}
            () = shared.beat_now.notified() => {}
            () = shared.settled.cancelled() => break,
        }
        // The next beat makes up for a missed one; `dead_after` is several beats.
        if let Err(error) = beat(&shared).await {
            tracing::warn!(%error, "the heartbeat was not recorded");
        } else if !shared.lease.is_held(Instant::now()) {
            // It took so long that it says nothing of now.
            shared.beat_now.notify_one();
        }
        cpu::share(&shared).await;
    }
    match tokio::time::timeout(LAST_PATIENCE, beat(&shared)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the end of this host was not recorded"),
        Err(_elapsed) => tracing::warn!("the end of this host was not recorded in time"),
    }
    // What the last attempts used.
    let _in_time_or_not = tokio::time::timeout(LAST_PATIENCE, cpu::share(&shared)).await;
}

/// Beats once and heeds what this host was asked to do.
pub(crate) async fn beat(shared: &Shared) -> Result<(), StorageError> {
    let beat = Beat {
        worker: shared.worker,
        profile: Arc::clone(&shared.profile),
        slots: u32::try_from(shared.slots.now()).unwrap_or(u32::MAX),
        load: u32::try_from(shared.running.len()).unwrap_or(u32::MAX),
        state: state(shared),
    };
    let since = Instant::now();
    let was_held = shared.lease.is_held(since);
    let asked = shared.storage.heartbeat(beat, shared.clock.now()).await?;
    shared.lease.renew(since);
    if !was_held && shared.lease.is_held(Instant::now()) {
        tracing::info!("the others know again that this host is alive; it takes tasks");
        shared.work.notify_one();
    }
    heed_drain(shared, asked.drain);
    Ok(())
}

/// Heeds whether this host was asked to take no more tasks.
pub(crate) fn heed_drain(shared: &Shared, asked: bool) {
    if !shared.drain.set(asked) {
        return;
    }
    match asked {
        true => tracing::info!("this host was asked to take no more tasks"),
        false => tracing::info!("this host takes tasks again"),
    }
    // The dispatcher gives back what has not begun, or claims.
    shared.work.notify_one();
    shared.beat_now.notify_one();
}

/// How this host is.
fn state(shared: &Shared) -> WorkerState {
    if shared.settled.is_cancelled() {
        WorkerState::Terminated
    } else if shared.recording.stuck_for() > shared.config.heartbeat_interval {
        WorkerState::Error
    } else if shared.drain.is_asked() || shared.shutdown.is_requested() {
        WorkerState::Draining
    } else if shared.running.len() + shared.ready.len() > 0 {
        WorkerState::Running
    } else {
        WorkerState::Idle
    }
}
