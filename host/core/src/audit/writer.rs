//! The task that appends the notes of this host. A note that storage does not take is tried again until it
//! does, and those behind it wait: the trail has no holes that only this host knows of.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::{Act, Audit, Waiting};
use crate::shutdown::Shutdown;
use cofferdam_domain::audit::{Note, Outcome, Text};
use cofferdam_storage::trail::NOTES_MAX;

/// How often is looked for refused tries and for entries that are too old.
const TICK: Duration = Duration::from_secs(5);
/// How many ticks are between two looks for entries that are too old.
const TICKS_PER_LOOK: u32 = 12;
/// The first and the longest wait before notes are appended again.
const WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often that is tried once the host ends.
const LAST_TRIES: u32 = 3;
/// How much older than wanted an entry gets, so that those of a day go together.
const LATE: Duration = DAY;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Removals at one time.
const ROUNDS_MAX: u32 = 100;

/// Appends until `stop` is requested, and then what is left.
pub(super) async fn run(audit: Arc<Audit>, mut notes: mpsc::Receiver<Waiting>, stop: Shutdown) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticked = 0_u32;
    loop {
        let mut some = Vec::with_capacity(NOTES_MAX);
        tokio::select! {
            biased;
            () = stop.requested() => break,
            _count = notes.recv_many(&mut some, NOTES_MAX) => {}
            _now = ticks.tick() => {
                some = audit.due(false);
                if ticked.is_multiple_of(TICKS_PER_LOOK) {
                    audit.shorten().await;
                }
                ticked = ticked.wrapping_add(1);
            }
        }
        audit.append_all(some, &stop).await;
    }
    notes.close();
    let mut rest = Vec::new();
    while notes.recv_many(&mut rest, NOTES_MAX).await > 0 {}
    rest.extend(audit.due(true));
    audit.append_all(rest, &stop).await;
}

impl Audit {
    async fn append_all(&self, mut waiting: Vec<Waiting>, stop: &Shutdown) {
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(NOTES_MAX));
            self.append(waiting, stop).await;
            waiting = rest;
        }
    }

    async fn append(&self, waiting: Vec<Waiting>, stop: &Shutdown) {
        let notes: Vec<Note> = waiting.iter().map(|one| one.note.clone()).collect();
        let (mut wait, mut last_tries) = (WAIT.0, 0);
        while let Err(error) = self.storage.append(notes.clone()).await {
            self.metrics.audit_append_failed();
            if stop.is_requested() {
                last_tries += 1;
                if last_tries == LAST_TRIES {
                    let lost = notes.len();
                    tracing::error!(%error, lost, "entries of the audit trail are lost");
                    return;
                }
            }
            tracing::error!(%error, "the audit trail cannot be written; changes wait for it");
            tokio::select! {
                () = tokio::time::sleep(self.jittered(wait)) => {}
                () = stop.requested() => tokio::time::sleep(WAIT.0).await,
            }
            wait = (wait * 2).min(WAIT.1);
        }
        for one in waiting {
            self.metrics.audit_appended(one.class);
            if let Some(written) = one.written {
                // Who went away does not need to know.
                let _unheard = written.send(());
            }
        }
    }

    /// Removes what is too old or too much. Each removal is an entry, so that few are made of it.
    async fn shorten(&self) {
        let kept = DAY * self.config.keep_days;
        let (mut kept, mut rows_max) = (kept + LATE, self.config.rows_max);
        for _ in 0..ROUNDS_MAX {
            let act = Act {
                tenant: Text::default(),
                actor: Text::of("host"),
                ..Act::default()
            };
            let note = self.note(act, Outcome::Done);
            let kept_since = self.clock.now().minus(kept);
            match self.storage.shorten(kept_since, rows_max, note).await {
                Ok(0) => return,
                Ok(removed) => {
                    tracing::info!(removed, "entries of the audit trail went");
                    self.metrics.audit_appended("retention");
                }
                Err(error) => {
                    tracing::warn!(%error, "old entries of the audit trail were left");
                    return;
                }
            }
            kept = DAY * self.config.keep_days;
            rows_max = self.config.rows_max - self.config.rows_max / 100;
        }
    }
}
