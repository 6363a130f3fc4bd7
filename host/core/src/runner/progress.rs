//! Hearing a run's progress, for those who know nothing of sandboxes.

use std::sync::Arc;

use crate::runner::RunRequest;
use cofferdam_domain::attempt::Stream;
use cofferdam_sandbox::control::Observer;

/// Hears how far a guest says it has come: a fraction in 0..=1 and a note. Called on the thread
/// that runs the guest: it must not block.
pub type ProgressListener = Arc<dyn Fn(f64, &str) + Send + Sync>;

struct Told(ProgressListener);

impl Observer for Told {
    fn progress(&self, fraction: f64, note: &str) {
        (self.0)(fraction, note);
    }

    fn wrote(&self, _stream: Stream, _bytes: &[u8]) {}
}

impl RunRequest {
    /// The same run, with somebody who hears its progress.
    pub fn heard_by(mut self, listener: ProgressListener) -> RunRequest {
        self.control.observer = Some(Arc::new(Told(listener)));
        self
    }
}
