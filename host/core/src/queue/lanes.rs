//! Lanes: one for each guest thread, each running claims one after another.
//!
//! A tiny task begins and ends in its lane, without a task of the runtime or a hop between threads.
//! A task that does not end in its first slice continues in its own runtime task, and the lane
//! takes the next claim.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::queue::executor::{Attempts, Executor};
use cofferdam_domain::claim::Claim;

/// Takes claims and begins them until shutdown. Runs on the runtime of the guest threads.
pub(crate) async fn serve<A: Attempts>(executor: Arc<Executor<A>>, slots: Arc<Semaphore>) {
    let shared = Arc::clone(executor.shared());
    loop {
        let next = async {
            // The slot comes first: a claim without one would be neither ready nor running.
            let slot = Arc::clone(&slots).acquire_owned().await;
            let begin = |claim: &Claim| shared.running.begin(claim);
            (
                slot.expect("the slots are never closed"),
                shared.ready.pop(begin).await,
            )
        };
        let (slot, (taken, entry)) = tokio::select! {
            biased;
            () = shared.shutdown.requested() => return,
            next = next => next,
        };
        let span = span_of(&taken);
        let mut work = Box::pin(
            Arc::clone(&executor)
                .execute(taken, entry, slot)
                .instrument(span),
        );
        let ended = poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_ready())).await;
        if !ended {
            shared.shutdown.spawn("attempt", work);
        }
        // A long backlog must not keep guests that were handed over from running on this thread.
        tokio::task::consume_budget().await;
    }
}

/// The span that puts the task's id into every line of an attempt.
fn span_of(claim: &Claim) -> tracing::Span {
    tracing::info_span!("attempt", task.id = %claim.task_id, task.attempt = claim.attempt)
}
