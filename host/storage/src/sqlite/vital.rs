//! Threads that storage cannot do without.
//!
//! A host with a dead writer would go on answering and do nothing. A host that ends is started
//! again, and every start is safe, so a panic on such a thread ends the process.
//!
//! Their channels are named here too, so that a test can compile the writer with threads and channels
//! that try one order after another (`tests/interleavings.rs`).

use std::io;
use std::thread::JoinHandle;

pub(super) use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

/// A thread that was started.
pub(super) type Handle = JoinHandle<()>;

/// Starts a thread whose panic ends the process.
pub(super) fn spawn(
    name: impl Into<String>,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<Handle> {
    std::thread::Builder::new().name(name.into()).spawn(|| {
        let _vital = Vital;
        work();
    })
}

struct Vital;

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The panic hook has reported the panic itself.
            tracing::error!("a thread that storage cannot do without panicked; the host ends");
            std::process::abort();
        }
    }
}
