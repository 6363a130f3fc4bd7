//! Threads that storage cannot do without.
//!
//! A host whose writer is dead answers and does nothing, for ever. One that ends is started again,
//! and every start is safe: so a panic on such a thread ends the process.

use std::io;
use std::thread::JoinHandle;

/// Starts a thread whose panic ends the process.
pub(super) fn spawn(
    name: impl Into<String>,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(|| {
        let _vital = Vital;
        work();
    })
}

struct Vital;

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The panic itself was told by the panic hook.
            tracing::error!("a thread that storage cannot do without panicked; the host ends");
            std::process::abort();
        }
    }
}
