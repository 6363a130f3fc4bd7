//! `cofferdam:task/context`: what a run knows about itself, and its reports of progress.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wasmtime::component::{HasSelf, Linker};

use super::generated::cofferdam::task::context::{self, Host};
use crate::Identity;
use crate::control::Observer;

/// The longest note of a progress report, in bytes; the rest is cut off.
const NOTE_BYTES_MAX: usize = 1024;

/// One run's context.
pub(crate) struct Ctx {
    pub(crate) identity: Identity,
    pub(crate) remaining: Remaining,
    pub(crate) cancel: CancellationToken,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

/// The remaining wall-clock time that a guest sees.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Remaining {
    /// The real time.
    Until(Instant),
    /// A constant, for runs that must not depend on time.
    Always(Duration),
}

/// Adds the interface for a store whose data holds a [`Ctx`].
pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut Ctx,
) -> wasmtime::Result<()> {
    context::add_to_linker::<T, HasSelf<Ctx>>(linker, get)
}

impl Host for Ctx {
    fn task_id(&mut self) -> String {
        self.identity.task_id.clone()
    }

    fn attempt(&mut self) -> u32 {
        self.identity.attempt
    }

    fn remaining_ms(&mut self) -> u64 {
        let remaining = match self.remaining {
            Remaining::Until(deadline) => deadline.saturating_duration_since(Instant::now()),
            Remaining::Always(timeout) => timeout,
        };
        u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX)
    }

    fn cancelled(&mut self) -> bool {
        self.cancel.is_cancelled()
    }

    fn progress(&mut self, fraction: f64, note: String) {
        if let Some(observer) = &self.observer {
            let fraction = if fraction.is_nan() {
                0.0
            } else {
                fraction.clamp(0.0, 1.0)
            };
            observer.progress(fraction, &note[..note.floor_char_boundary(NOTE_BYTES_MAX)]);
        }
    }
}
