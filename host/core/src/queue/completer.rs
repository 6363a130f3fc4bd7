//! Has the ends of attempts recorded, in batches that share a commit.
//!
//! A batch has the ends that arrived during the previous commit: a lone end is recorded at once,
//! and many in as few commits as the limit allows. None waits for what another tenant has: where there are ends of
//! several, each has a few of its own in the batch, and what comes of one of whom nothing is being recorded is
//! recorded beside that. An end with a long output is recorded beside the batches, because what storage puts beside
//! its database may take seconds, and the others do not wait for it.

mod lines;
mod recorder;

use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use self::lines::Lines;
#[cfg(test)]
pub(crate) use self::recorder::Ends;
pub(crate) use self::recorder::{Recorder, concerns_one};
use crate::queue::ends::{Arrivals, Ended, LONG_MAX};
use crate::queue::shared::Shared;

/// Records until every executor is gone, then signals that all is settled.
pub(crate) async fn serve(shared: Arc<Shared>, arrivals: Arrivals) {
    let settled = shared.settled.clone().drop_guard();
    let lines = Lines::default();
    tokio::join!(
        lines.fill(arrivals.short),
        record_batches(&shared, &lines),
        record_batches(&shared, &lines),
        record_long(&shared, arrivals.long)
    );
    drop(settled);
}

async fn record_batches(shared: &Shared, lines: &Lines) {
    let mut recorder = Recorder::new(shared, &shared.storage);
    while let Some(mut batch) = lines.next(|max| shared.at_once(max)).await {
        let now = Instant::now();
        batch
            .tenants()
            .for_each(|tenant| shared.crowd.ended(tenant, now));
        recorder.record(&mut batch.ends).await;
    }
}

async fn record_long(shared: &Shared, mut ends: mpsc::Receiver<Ended>) {
    stream::poll_fn(|context| ends.poll_recv(context))
        .for_each_concurrent(LONG_MAX, async |mut ended| {
            let mut recorder = Recorder::new(shared, &shared.storage);
            recorder.record_long(std::slice::from_mut(&mut ended)).await;
        })
        .await;
}
