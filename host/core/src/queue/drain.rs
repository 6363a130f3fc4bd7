//! Whether this host was asked to take no more tasks.
//!
//! It finishes those it has and answers everything else. The end of the process is another matter: then
//! [`Shutdown`](crate::shutdown::Shutdown) is requested.

use std::sync::atomic::{AtomicBool, Ordering};

/// The switch.
#[derive(Debug, Default)]
pub(crate) struct Drain(AtomicBool);

impl Drain {
    /// Whether it was asked.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Records what is asked; whether that is news.
    pub(crate) fn set(&self, asked: bool) -> bool {
        self.0.swap(asked, Ordering::SeqCst) != asked
    }
}
