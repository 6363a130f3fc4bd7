//! A run's progress, for callers that do not know the sandbox.

use std::sync::Arc;

use crate::runner::RunRequest;
use cofferdam_domain::attempt::Stream;
use cofferdam_sandbox::control::Observer;

/// Gets a guest's progress: a fraction in 0..=1 and a note. Called on the thread that runs the
/// guest: it must not block.
pub type ProgressListener = Arc<dyn Fn(f64, &str) + Send + Sync>;

struct Told(ProgressListener);

impl Observer for Told {
    fn progress(&self, fraction: f64, note: &str) {
        (self.0)(fraction, note);
    }

    fn wrote(&self, _stream: Stream, _bytes: &[u8]) {}
}

impl RunRequest {
    /// The same run, with an observer of its progress.
    pub fn heard_by(mut self, listener: ProgressListener) -> RunRequest {
        self.control.observer = Some(Arc::new(Told(listener)));
        self
    }
}
