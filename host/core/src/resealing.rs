//! Seals again with the first key, in the background, whatever in schedules, definitions, tasks and files is still sealed with
//! another of the operator's keys, or not at all, so that the other key can be dropped. Which values and files these are, and how they are replaced, is storage's.
//!
//! It begins at the front whenever a host starts, and finds only what is left; so it keeps nothing of how far it has
//! come, and hosts that share a database may all do it. It is slow on purpose: tasks that run now come first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::sealing::What;
use cofferdam_storage::files::FileStorage;
use cofferdam_storage::{Resealed, SealedProgress, SealedWords, StorageError};

/// The wait between two steps, of 50 values at most each, or of the files of one attempt.
const PAUSE: Duration = Duration::from_millis(50);
/// How long it takes to the next try, if storage refused one.
const WAIT: Duration = Duration::from_secs(30);
/// How often the log says how far it has come.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What is sealed anew.
pub struct Parts {
    /// What is sealed in rows.
    pub words: SealedWords,
    /// The files beside the database.
    pub files: FileStorage,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// Begins, unless there is no key.
pub fn follow(parts: Parts, shutdown: &Shutdown) {
    if !parts.words.tasks.seals() {
        return;
    }
    let stop = shutdown.clone();
    shutdown.spawn("sealing", async move {
        let all = async {
            let words = &parts.words;
            few("schedules", || words.schedules.reseal()).await;
            few("definitions", || words.definitions.reseal()).await;
            parts.values().await;
            parts.files().await;
        };
        tokio::select! {
            () = all => {}
            () = stop.requested() => {}
        }
    });
}

/// How far it has come with one of them.
struct Account<'a> {
    metrics: &'a Metrics,
    what: What,
    left: u64,
    resealed: u64,
    unreadable: u64,
    told: Instant,
}

impl Account<'_> {
    fn add(&mut self, (seen, resealed, unreadable): (u64, u64, u64)) {
        self.left = self.left.saturating_sub(seen);
        self.resealed += resealed;
        self.unreadable += unreadable;
        self.metrics.resealed(self.what, resealed);
        // What no key opens stays left.
        self.metrics
            .set_left(self.what, self.left + self.unreadable);
        if self.told.elapsed() >= TOLD_EVERY {
            self.told = Instant::now();
            self.tell("are being sealed anew");
        }
    }

    fn tell(&self, how: &str) {
        let Account {
            what,
            left,
            resealed,
            unreadable,
            ..
        } = self;
        let what = what.as_str();
        tracing::info!(left, resealed, unreadable, "{what} {how}");
    }
}

impl Parts {
    fn account(&self, what: What, left: u64) -> Account<'_> {
        self.metrics.set_left(what, left);
        Account {
            metrics: &self.metrics,
            what,
            left,
            resealed: 0,
            unreadable: 0,
            told: Instant::now(),
        }
    }

    async fn values(&self) {
        let mut left = 0;
        let mut from = Some(SealedProgress::default());
        while let Some(some) = from {
            let (found, next) = patient(|| self.words.tasks.count(some)).await;
            left += found;
            from = next;
            tokio::time::sleep(PAUSE).await;
        }
        let mut account = self.account(What::Values, left);
        from = (left > 0).then(SealedProgress::default);
        while let Some(some) = from {
            let step = patient(|| self.words.tasks.step(some)).await;
            account.add((step.seen, step.resealed, step.unreadable));
            from = step.next;
            tokio::time::sleep(PAUSE).await;
        }
        account.tell("are sealed with the first key");
    }

    async fn files(&self) {
        let mut holders = patient(|| self.files.holders(None)).await;
        let mut account = self.account(What::Files, 0);
        while let Some(last) = holders.last().cloned() {
            account.left += holders.len() as u64;
            for holder in holders {
                let done = patient(|| self.files.seal_anew(holder.clone())).await;
                account.add((1, done.resealed, done.unreadable));
                if done.resealed > 0 {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            holders = patient(|| self.files.holders(Some(&last))).await;
        }
        account.tell("are sealed with the first key");
    }
}

/// Has everything of a kind sealed anew of which there are few.
async fn few<A>(what: &str, reseal: impl Fn() -> A)
where
    A: Future<Output = Result<Resealed, StorageError>>,
{
    let Resealed {
        resealed,
        unreadable,
    } = patient(reseal).await;
    tracing::info!(resealed, unreadable, "{what} are sealed with the first key");
}

/// Asks storage until it answers.
async fn patient<T, A>(ask: impl Fn() -> A) -> T
where
    A: Future<Output = Result<T, StorageError>>,
{
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => tracing::warn!(%error, "something cannot be sealed anew yet"),
        }
        tokio::time::sleep(WAIT).await;
    }
}
