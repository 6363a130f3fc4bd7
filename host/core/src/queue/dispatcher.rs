//! Claims work for this host's slots, in batches: there is one claimer, however many slots there
//! are. Another claims what goes before the claims that wait for a slot: more urgent tasks, and those of a
//! tenant that has nothing among them. They would otherwise wait until more is wanted, and for the claim of
//! many that is under way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::queue::executor::{Attempts, Executor};
use crate::queue::hands::Taken;
use crate::queue::shared::{CLAIM_MAX, Shared};
use cofferdam_domain::attempt::Fence;
use cofferdam_storage::StorageError;

/// How long a claim may wait for a slot before it is given back to storage, where it queues with
/// the tasks that arrived meanwhile.
const READY_AGE_MAX: Duration = Duration::from_secs(1);
/// How long claims are awaited that are on their way back.
const GIVE_BACK_PATIENCE: Duration = Duration::from_secs(1);
/// The shortest sleep before due work that could not be claimed.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Claims until shutdown, then gives back claims that have not begun.
pub(crate) async fn serve<A: Attempts>(executor: Arc<Executor<A>>) {
    let shared = Arc::clone(executor.shared());
    tokio::join!(
        claim_what_is_wanted(&executor),
        claim_what_overtakes(&shared)
    );
    // Ends that are being recorded may still bring claims. What comes later is rescued.
    let answered = tokio::time::timeout(GIVE_BACK_PATIENCE, shared.hands.answered());
    let _too_late = answered.await;
    give_back(&executor, shared.ready.take_older_than(Duration::ZERO)).await;
}

/// Claims until shutdown as much as this host wants.
async fn claim_what_is_wanted<A: Attempts>(executor: &Executor<A>) {
    let shared = executor.shared();
    while !shared.shutdown.is_requested() {
        let looked = if shared.drain.is_asked() || !shared.pressure.lets_claim() {
            // Others take what has not begun, or this host does once it has memory again.
            let not_begun = shared.ready.take_older_than(Duration::ZERO);
            give_back(executor, not_begun).await;
            Some(shared.config.poll_interval)
        } else if !shared.lease.is_held(Instant::now()) {
            // What it claimed now would be taken from it. `heartbeat` rings when it may.
            Some(shared.config.poll_interval)
        } else {
            look(shared).await
        };
        // The wait after the last claim; `None` means that the next claim is due at once.
        let Some(pause) = looked else {
            continue;
        };
        tokio::select! {
            () = shared.work.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = shared.shutdown.requested() => break,
        }
        let old = shared.ready.take_older_than(READY_AGE_MAX);
        give_back(executor, old).await;
    }
}

/// Claims until shutdown what goes before the claims that wait for a slot.
async fn claim_what_overtakes(shared: &Shared) {
    while !shared.shutdown.is_requested() {
        let wanted = shared.overtaking().min(CLAIM_MAX);
        let claimed = match wanted > 0 && takes_work(shared) {
            true => claim(shared, wanted).await,
            false => Ok(0),
        };
        let again = match claimed {
            Ok(_) => Duration::MAX,
            Err(error) => {
                tracing::warn!(%error, "claiming what is urgent failed");
                // They are as urgent the next time.
                shared.overtaking.fetch_add(wanted, Ordering::SeqCst);
                shared.config.poll_interval
            }
        };
        tokio::select! {
            () = shared.overtaken.notified() => {}
            () = tokio::time::sleep(again) => {}
            () = shared.shutdown.requested() => {}
        }
    }
}

/// Whether this host may take work at all.
fn takes_work(shared: &Shared) -> bool {
    !shared.drain.is_asked()
        && shared.pressure.lets_claim()
        // What it claimed now would be taken from it.
        && shared.lease.is_held(Instant::now())
}

/// Gives claims back and waits until storage has them: a claim before that would find only what is
/// less urgent.
async fn give_back<A: Attempts>(executor: &Executor<A>, claims: Vec<Taken>) {
    if claims.is_empty() {
        return;
    }
    let shared = executor.shared();
    let fences: Vec<Fence> = claims.iter().map(|taken| taken.fence).collect();
    for taken in claims {
        executor.give_back(taken).await;
    }
    tokio::select! {
        () = shared.hands.released(&fences) => {}
        () = tokio::time::sleep(GIVE_BACK_PATIENCE) => {}
        () = shared.shutdown.requested() => {}
    }
}

/// Claims once, if anything is wanted. Returns how long to wait for a signal; `None` if there is
/// likely more work at once.
async fn look(shared: &Shared) -> Option<Duration> {
    let poll = shared.config.poll_interval;
    if !shared.is_hungry() {
        // Set before the second look: anyone who makes room after it sees the flag and rings.
        shared.backlog.store(true, Ordering::SeqCst);
        if !shared.is_hungry() {
            return Some(poll.min(READY_AGE_MAX));
        }
    }
    shared.backlog.store(false, Ordering::SeqCst);
    let wanted = shared.wanted().min(shared.at_once(CLAIM_MAX));
    match claim(shared, wanted).await {
        Ok(took) if took >= wanted => None,
        Ok(_) => Some(until_next(shared).await),
        Err(error) => {
            tracing::warn!(%error, "claiming failed");
            Some(poll)
        }
    }
}

/// Claims up to so many tasks; returns how many there were.
async fn claim(shared: &Shared, wanted: usize) -> Result<usize, StorageError> {
    let slots = u32::try_from(wanted).unwrap_or(u32::MAX);
    let now = shared.clock.now();
    // Held until the claims are. If this is dropped half-way, the claims have no holder, and the
    // reconciler gives them back.
    let _reach = shared.hands.reach(wanted);
    let claims = shared
        .storage
        .claim(shared.worker, slots, shared.config.strategy, now)
        .await?;
    let took = claims.len();
    if took > 0 {
        shared.ready.push(shared.hands.take(claims));
    }
    Ok(took)
}

/// How long until the earliest pending task is due, at most the poll interval.
async fn until_next(shared: &Shared) -> Duration {
    let poll = shared.config.poll_interval;
    match shared.storage.next_run_at(shared.worker).await {
        Ok(Some(run_at)) => run_at
            .since(shared.clock.now())
            .clamp(PAUSE_MIN.min(poll), poll),
        Ok(None) => poll,
        Err(error) => {
            tracing::warn!(%error, "the time of the next due task could not be read");
            poll
        }
    }
}
