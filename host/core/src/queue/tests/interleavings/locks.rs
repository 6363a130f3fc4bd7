//! Locks and counters of shuttle, and tokio's own `Notify` with a moment before each of its steps at
//! which another thread may go on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use shuttle::thread;

pub(super) use shuttle::sync::atomic::{AtomicUsize, Ordering};
pub(super) use shuttle::sync::{Mutex, MutexGuard};
pub(super) use std::sync::PoisonError;

#[derive(Debug, Default)]
pub(super) struct Notify(tokio::sync::Notify);

pub(super) struct Notified<'a>(Pin<Box<tokio::sync::futures::Notified<'a>>>);

impl Notify {
    pub(super) fn new() -> Notify {
        Notify::default()
    }

    pub(super) fn notified(&self) -> Notified<'_> {
        thread::yield_now();
        Notified(Box::pin(self.0.notified()))
    }

    pub(super) fn notify_one(&self) {
        thread::yield_now();
        self.0.notify_one();
    }

    pub(super) fn notify_waiters(&self) {
        thread::yield_now();
        self.0.notify_waiters();
    }
}

impl Notified<'_> {
    pub(super) fn enable(mut self: Pin<&mut Self>) -> bool {
        thread::yield_now();
        self.0.as_mut().enable()
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        thread::yield_now();
        self.0.as_mut().poll(context)
    }
}
