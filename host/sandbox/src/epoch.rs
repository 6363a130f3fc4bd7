//! The thread that advances the engines' epochs.
//!
//! It is a plain thread, because a timer of the runtime stops when a guest occupies the thread that
//! drives it. One thread serves all engines. It parks while no guest runs, so that an idle host
//! wakes nobody a thousand times a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

/// The length of a tick.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest before the thread parks.
const IDLE_TICKS: u32 = 100;

/// The running thread. Dropping it stops and joins the thread.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// Keeps the epochs advancing while it exists.
pub(crate) struct Ticking<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start(engines: Vec<Engine>) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new()
            .name("epoch".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.tick(&engines)
            })?;
        Ok(Ticker {
            shared,
            thread: Some(thread),
        })
    }

    /// Announces a guest.
    pub(crate) fn run(&self) -> Ticking<'_> {
        // This is sequentially consistent on both sides: either the thread sees this guest before
        // it parks, or this guest sees that it parked.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.unpark();
        }
        Ticking(&self.shared)
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been reported by the panic hook.
            let _reported = thread.join();
        }
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn tick(&self, engines: &[Engine]) {
        let mut idle_ticks = 0;
        while !self.stop.load(Ordering::SeqCst) {
            std::thread::sleep(TICK);
            for engine in engines {
                engine.increment_epoch();
            }
            if self.running.load(Ordering::SeqCst) > 0 {
                idle_ticks = 0;
            } else {
                idle_ticks += 1;
            }
            if idle_ticks >= IDLE_TICKS {
                self.park();
                idle_ticks = 0;
            }
        }
    }

    fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        while self.running.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}
