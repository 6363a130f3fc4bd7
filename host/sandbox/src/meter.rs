//! The CPU time that one run uses.
//!
//! A run moves between threads, so its CPU time is the sum over its polls, each measured with the
//! clock of the thread that polled. The meter is shared by the poller, which opens and closes the
//! slices, and the epoch callback, which asks in the middle of one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The meter of one run. Every access is relaxed: one thread polls a run at a time, and moving a
/// run to another thread synchronises by itself.
pub(crate) struct Meter {
    allowed: Duration,
    closed_ns: AtomicU64,
    slice_began_ns: AtomicU64,
    long: AtomicBool,
}

impl Meter {
    /// A meter at zero.
    pub(crate) fn new(allowed: Duration) -> Meter {
        Meter {
            allowed,
            closed_ns: AtomicU64::new(0),
            slice_began_ns: AtomicU64::new(0),
            long: AtomicBool::new(false),
        }
    }

    /// The CPU time the run may use.
    pub(crate) fn allowed(&self) -> Duration {
        self.allowed
    }

    /// Begins a slice on the current thread.
    pub(crate) fn open(&self) {
        self.slice_began_ns
            .store(thread_cpu_ns(), Ordering::Relaxed);
    }

    /// Ends the slice that [`Meter::open`] began on this thread.
    pub(crate) fn close(&self) {
        let used = thread_cpu_ns().saturating_sub(self.slice_began_ns.load(Ordering::Relaxed));
        self.closed_ns.fetch_add(used, Ordering::Relaxed);
    }

    /// Adds CPU time used for the run on another thread.
    pub(crate) fn charge(&self, used: Duration) {
        let used = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        self.closed_ns.fetch_add(used, Ordering::Relaxed);
    }

    /// Does `work` on this thread, on which no slice is open, and adds the CPU time it uses.
    pub(crate) fn charging<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = thread_cpu_ns();
        let done = work();
        let used = thread_cpu_ns().saturating_sub(before);
        self.closed_ns.fetch_add(used, Ordering::Relaxed);
        done
    }

    /// CPU time of the closed slices.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.closed_ns.load(Ordering::Relaxed))
    }

    /// CPU time including the slice open on this thread.
    pub(crate) fn used_with_open_slice(&self) -> Duration {
        let open = thread_cpu_ns().saturating_sub(self.slice_began_ns.load(Ordering::Relaxed));
        self.used() + Duration::from_nanos(open)
    }

    /// Notes that the run yielded its thread only because an epoch tick made it.
    pub(crate) fn mark_long(&self) {
        self.long.store(true, Ordering::Relaxed);
    }

    /// Whether the run was marked as long.
    pub(crate) fn is_long(&self) -> bool {
        self.long.load(Ordering::Relaxed)
    }
}

fn thread_cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
