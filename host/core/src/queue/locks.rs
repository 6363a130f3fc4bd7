//! What the state is guarded by that the queue's threads share, and how they wake each other.
//!
//! It is named in one place, so that tests can compile the same files with locks that try one order
//! of the threads after another (`tests/interleavings.rs`).

pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};
pub(crate) use tokio::sync::Notify;
pub(crate) use tokio::sync::futures::Notified;
