//! Ends a guest from outside while it runs: by the wall clock, CPU time, a kill or a panic.
//!
//! Epochs and fuel only reach a guest that executes its own code. A guest that sleeps or waits in a
//! host call is ended here: its future is dropped, then its store.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::instance::Fault;
use crate::meter::Meter;
use crate::outcome::{End, Stop};

/// The call into the guest and everything that ends it from outside. A guest that finishes in its
/// first poll pays neither for a timer nor for a place in the kill token's list.
pub(crate) struct Guarded<'a, F> {
    call: Pin<&'a mut F>,
    meter: &'a Meter,
    kill: &'a CancellationToken,
    deadline: Instant,
    waits: Option<Waits<'a>>,
}

struct Waits<'a> {
    timer: Pin<Box<Sleep>>,
    kill: Pin<Box<WaitForCancellationFuture<'a>>>,
}

impl<'a, F> Guarded<'a, F> {
    /// Guards `call` until `deadline`.
    pub(crate) fn new(
        call: Pin<&'a mut F>,
        meter: &'a Meter,
        kill: &'a CancellationToken,
        deadline: Instant,
    ) -> Guarded<'a, F> {
        Guarded {
            call,
            meter,
            kill,
            deadline,
            waits: None,
        }
    }
}

impl<F, A> Future for Guarded<'_, F>
where
    F: Future<Output = Result<A, Fault>>,
{
    type Output = End<A>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<End<A>> {
        let this = &mut *self;
        if this.kill.is_cancelled() {
            return Poll::Ready(End::Stopped(Stop::Killed));
        }
        this.meter.open();
        // The store is dropped after a panic and nothing else is shared with the guest.
        let polled = catch_unwind(AssertUnwindSafe(|| this.call.as_mut().poll(context)));
        this.meter.close();
        match polled {
            Ok(Poll::Ready(Ok(answer))) => Poll::Ready(End::Answered(answer)),
            Ok(Poll::Ready(Err(fault))) => Poll::Ready(End::Faulted(fault)),
            Ok(Poll::Pending) => this.poll_limits(context).map(End::Stopped),
            Err(panic) => Poll::Ready(End::Stopped(Stop::Panicked(text_of(&*panic)))),
        }
    }
}

impl<F> Guarded<'_, F> {
    /// Ready when something outside the guest ends it.
    fn poll_limits(&mut self, context: &mut Context<'_>) -> Poll<Stop> {
        if self.meter.used() > self.meter.allowed() {
            return Poll::Ready(Stop::CpuExhausted);
        }
        // The clock is also read directly, because timers may fire late on a busy machine.
        if Instant::now() >= self.deadline {
            return Poll::Ready(Stop::TimedOut);
        }
        let waits = self.waits.get_or_insert_with(|| Waits {
            timer: Box::pin(tokio::time::sleep_until(self.deadline.into())),
            kill: Box::pin(self.kill.cancelled()),
        });
        if waits.kill.as_mut().poll(context).is_ready() {
            return Poll::Ready(Stop::Killed);
        }
        waits.timer.as_mut().poll(context).map(|()| Stop::TimedOut)
    }
}

/// What a panic said.
pub(crate) fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
