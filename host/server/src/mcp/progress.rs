//! A guest's progress, sent to a client that asked for it.
//!
//! A guest may report progress a million times; the client gets the newest report at most every
//! [`INTERVAL`]. The fraction always rises, as the protocol requires.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext};
use tokio::sync::watch;

use cofferdam::runner::ProgressListener;

/// The least time between two notifications.
const INTERVAL: Duration = Duration::from_millis(100);
/// Characters of a note that are sent.
const NOTE_CHARS_MAX: usize = 1024;

/// The progress of one call.
pub(super) struct Progress {
    said: watch::Receiver<Said>,
    listener: ProgressListener,
    peer: Peer<RoleServer>,
    token: ProgressToken,
    told: f64,
}

/// The newest report.
#[derive(Clone, Debug, Default)]
struct Said {
    fraction: f64,
    note: String,
}

impl Progress {
    /// The progress of the call that `context` belongs to, if its client asked for it.
    pub(super) fn asked_by(context: &RequestContext<RoleServer>) -> Option<Progress> {
        let token = context.meta.get_progress_token()?;
        let (say, said) = watch::channel(Said::default());
        Some(Progress {
            said,
            listener: Arc::new(move |fraction, note: &str| {
                let note = note.chars().take(NOTE_CHARS_MAX).collect();
                // Nobody receives it: the call is about to be dropped.
                let _gone = say.send(Said { fraction, note });
            }),
            peer: context.peer.clone(),
            token,
            told: 0.0,
        })
    }

    /// The observer of the guest.
    pub(super) fn listener(&self) -> ProgressListener {
        Arc::clone(&self.listener)
    }

    /// Waits for `run` and sends its progress meanwhile, including the last report before its end.
    pub(super) async fn told_during<T>(mut self, run: impl Future<Output = T>) -> T {
        let mut run = pin!(run);
        let output = tokio::select! {
            biased;
            output = run.as_mut() => output,
            never = self.tell_forever() => match never {},
        };
        self.tell().await;
        output
    }

    async fn tell_forever(&mut self) -> std::convert::Infallible {
        loop {
            if self.said.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            self.tell().await;
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Sends the newest report, if it is new.
    async fn tell(&mut self) {
        let said = self.said.borrow_and_update().clone();
        if said.fraction <= self.told {
            return;
        }
        self.told = said.fraction;
        let mut news =
            ProgressNotificationParam::new(self.token.clone(), said.fraction).with_total(1.0);
        if !said.note.is_empty() {
            news = news.with_message(said.note);
        }
        // The client is gone, and the call with it.
        let _gone = self.peer.notify_progress(news).await;
    }
}
