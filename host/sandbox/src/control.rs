//! How a run is watched and stopped from outside.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use cofferdam_domain::attempt::Stream;

/// The handles of one run.
#[derive(Clone, Default)]
pub struct Control {
    /// Asks the guest to end: `context.cancelled()` turns true.
    pub cancel: CancellationToken,
    /// Ends the guest at once, spinning, sleeping or blocked in a host call.
    pub kill: CancellationToken,
    /// Hears what the guest says while it runs.
    pub observer: Option<Arc<dyn Observer>>,
}

/// Hears what a guest says while it runs. Called on the thread that runs the guest, so an
/// implementation must not block.
pub trait Observer: Send + Sync {
    /// The guest reported progress; `fraction` is in 0..=1.
    fn progress(&self, fraction: f64, note: &str);

    /// The guest wrote to a stream, whether or not the bytes are kept.
    fn wrote(&self, stream: Stream, bytes: &[u8]);
}
