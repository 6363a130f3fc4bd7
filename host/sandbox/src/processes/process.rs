//! One process that runs guests, from the outside.
//!
//! A thread of its own starts it, hears it and buries it (`attend`); everybody else sends it orders, which
//! never waits, and holds a place in its table of runs. The kernel ends it with that thread, so none is left
//! when the host dies. Nothing that it says is believed beyond what the limits of its runs allow.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fd::OwnedFd;
use rustix::process::{Pid, Signal, pidfd_send_signal};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::messages::{Dir, NO_RUN, Order};
use super::packets::{PACKET_BYTES, encode, send_order};
use crate::Report;
use crate::admission::{Admitted, Growth};
use crate::control::Observer;
use crate::files::{Given, Home, Left};
use crate::local::Ended;
use cofferdam_domain::attempt::{Failure, FailureKind};
use cofferdam_domain::limits::Limits;

/// How long a run that is over may take to say so, before its process is killed: a guest yields every
/// millisecond, and what it holds is given back in a few.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// What a message may be longer than what its run may write.
const SLACK_BYTES: u64 = 1024 * 1024;

/// The process.
pub(crate) struct Process {
    /// The granted directories that it may use: those of all its runs.
    pub(super) dirs: Vec<Dir>,
    pub(super) home: Arc<Home>,
    pub(super) socket: OwnedFd,
    /// Written to when the thread sleeps and there is something to watch.
    pub(super) bell: OwnedFd,
    pub(super) sleeps: AtomicBool,
    pub(super) pidfd: OnceLock<(Pid, OwnedFd)>,
    pub(super) phase: watch::Sender<Phase>,
    /// Whether it is to end, even if it has not begun.
    pub(super) is_to_end: AtomicBool,
    runs: Mutex<Runs>,
}

/// Its state.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// It is started and confines itself.
    Starting,
    /// It takes runs.
    Ready,
    /// It is gone, for this reason.
    Dead(Arc<str>),
}

#[derive(Default)]
struct Runs {
    last: u32,
    by_number: HashMap<u32, Entry>,
    /// What became of guests that were kept, and that nobody called when their process died.
    late: HashMap<u32, Box<Ended>>,
    /// Those that hold a place, whether or not their run goes on.
    seats: usize,
    served: u64,
    retired: bool,
}

impl Runs {
    /// Whether nothing keeps a retired process.
    fn is_left(&self) -> bool {
        self.retired && self.seats == 0 && self.by_number.is_empty()
    }
}

/// A place in a process for one run, which keeps it from being ended with nothing to do.
pub(super) struct Seat(pub(super) Arc<Process>);

impl Drop for Seat {
    fn drop(&mut self) {
        let mut runs = self.0.runs();
        runs.seats -= 1;
        let is_left = runs.is_left();
        drop(runs);
        if is_left {
            self.0.kill();
        }
    }
}

/// A run of it.
pub(super) struct Entry {
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) growth: Growth,
    pub(super) limits: Limits,
    pub(super) reply: Option<oneshot::Sender<Reply>>,
    pub(super) wants: Option<mpsc::Sender<()>>,
    /// When it must have ended.
    pub(super) end_by: Option<Instant>,
    /// Why it must, if somebody asked for it.
    pub(super) stopped: bool,
    /// The panic of whoever observed it.
    pub(super) panicked: Option<String>,
    pub(super) began: Instant,
    /// What the process had used when it began.
    pub(super) cpu_before: Duration,
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// The directory of a guest that is kept.
    pub(super) dir: Option<u64>,
    /// Files that were given to it.
    pub(super) _given: Vec<Given>,
    /// The last, because room is free only when the guest is gone.
    pub(super) _admitted: Admitted,
}

/// What becomes of a run.
pub(super) enum Reply {
    /// The guest is kept.
    Opened,
    /// A call ended and the guest is kept.
    Answered(Box<Report>),
    /// The run is over.
    Ended(Box<Ended>),
}

impl Entry {
    fn most_bytes(&self) -> usize {
        let limits = &self.limits;
        let most = limits
            .output_bytes
            .saturating_mul(2)
            .saturating_add(limits.stdout_bytes)
            .saturating_add(limits.stderr_bytes)
            .saturating_add(limits.log_bytes)
            .saturating_add(SLACK_BYTES);
        usize::try_from(most).unwrap_or(usize::MAX)
    }
}

impl Process {
    pub(super) fn new(dirs: Vec<Dir>, home: Home, socket: OwnedFd, bell: OwnedFd) -> Process {
        Process {
            dirs,
            home: Arc::new(home),
            socket,
            bell,
            sleeps: AtomicBool::new(false),
            pidfd: OnceLock::new(),
            phase: watch::Sender::new(Phase::Starting),
            is_to_end: AtomicBool::new(false),
            runs: Mutex::default(),
        }
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        // Nothing panics while holding it.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_dead(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Dead(_))
    }

    /// How many runs it has; `None` if it takes none any more.
    pub(super) fn load(&self) -> Option<usize> {
        if self.is_dead() {
            return None;
        }
        let runs = self.runs();
        (!runs.retired).then_some(runs.seats.max(runs.by_number.len()))
    }

    /// The runs that it was told of.
    #[cfg(test)]
    pub(super) fn begun(&self) -> usize {
        self.runs().by_number.len()
    }

    /// Takes a place for a run, if there are any.
    pub(super) fn seat(self: &Arc<Self>) -> Option<Seat> {
        let mut runs = self.runs();
        if runs.retired || self.is_dead() {
            return None;
        }
        runs.seats += 1;
        Some(Seat(Arc::clone(self)))
    }

    /// Runs that it has or had.
    pub(super) fn served(&self) -> u64 {
        self.runs().served
    }

    /// Whether it has no runs, of those that take more.
    pub(super) fn is_idle(&self) -> bool {
        self.load() == Some(0)
    }

    /// Whether it takes no more because it is to end.
    pub(super) fn is_retired(&self) -> bool {
        self.runs().retired
    }

    /// Lets it take no more runs, and ends it after its last.
    pub(super) fn retire(&self) {
        let mut runs = self.runs();
        runs.retired = true;
        let is_left = runs.is_left();
        drop(runs);
        if is_left {
            self.kill();
        }
    }

    /// Enters a run of somebody who has a seat; `None` where the process is dead.
    pub(super) fn enter(&self, entry: Entry) -> Option<u32> {
        let mut runs = self.runs();
        if self.is_dead() {
            return None;
        }
        // Numbers of runs that still go on are passed over.
        let number = loop {
            runs.last = runs.last.wrapping_add(1);
            if runs.last != NO_RUN && !runs.by_number.contains_key(&runs.last) {
                break runs.last;
            }
        };
        runs.by_number.insert(number, entry);
        runs.served += 1;
        drop(runs);
        self.ring();
        Some(number)
    }

    /// Sets when a run that goes on must have ended, and who hears of it.
    pub(super) fn call(&self, number: u32, end_by: Instant, reply: oneshot::Sender<Reply>) {
        let cpu = self.cpu();
        self.with(number, |run| {
            run.reply = Some(reply);
            run.end_by = Some(run.end_by.map_or(end_by, |at| at.min(end_by)));
            (run.began, run.cpu_before) = (Instant::now(), cpu);
        });
        self.ring();
    }

    /// Wakes the thread, if it sleeps without an end.
    fn ring(&self) {
        if self.sleeps.swap(false, Ordering::SeqCst) {
            // It fails only if the bell rings already.
            let _rings = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    /// Applies `change` to a run that goes on.
    pub(super) fn with<T>(&self, number: u32, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.runs().by_number.get_mut(&number).map(change)
    }

    /// Takes a run that ended out. The caller drops it without the lock.
    pub(super) fn take(&self, number: u32) -> Option<Entry> {
        let mut runs = self.runs();
        let taken = runs.by_number.remove(&number);
        let is_left = runs.is_left();
        drop(runs);
        if is_left {
            self.kill();
        }
        taken
    }

    /// Takes all of them out, when it is dead.
    pub(super) fn take_all(&self) -> Vec<(u32, Entry)> {
        self.runs().by_number.drain().collect()
    }

    /// Keeps what became of a guest until somebody asks.
    pub(super) fn keep_late(&self, number: u32, ended: Box<Ended>) {
        self.runs().late.insert(number, ended);
    }

    /// What became of a guest before anybody asked.
    pub(super) fn late(&self, number: u32) -> Option<Box<Ended>> {
        self.runs().late.remove(&number)
    }

    /// The directory of a guest that is kept, or was until its process died.
    pub(super) fn dir_of(&self, number: u32) -> Option<Left> {
        let runs = self.runs();
        if let Some(ended) = runs.late.get(&number) {
            return ended.left.clone();
        }
        let dir = runs.by_number.get(&number)?.dir?;
        drop(runs);
        Some(self.home.so_far(dir))
    }

    /// The most bytes of a message about a run.
    pub(super) fn most_bytes(&self, number: u32) -> Option<usize> {
        if number == NO_RUN {
            return Some(PACKET_BYTES);
        }
        self.runs().by_number.get(&number).map(Entry::most_bytes)
    }

    /// Whether a run must have ended by `now` and has not, and the next moment at which one must.
    pub(super) fn overdue(&self, now: Instant) -> (bool, Option<Instant>) {
        let runs = self.runs();
        let next = runs.by_number.values().filter_map(|run| run.end_by).min();
        (next.is_some_and(|at| at <= now), next)
    }

    /// Sends an order about a run.
    pub(super) fn order(
        &self,
        number: u32,
        order: &Order,
        pieces: &[Bytes],
    ) -> std::io::Result<()> {
        send_order(&self.socket, number, &encode(order, pieces)?, &[])
    }

    /// Ends a run at once, or else the process.
    pub(super) fn stop(&self, number: u32) {
        let by = Instant::now() + GRACE;
        let is_there = self.with(number, |run| {
            run.stopped = true;
            run.end_by = Some(run.end_by.map_or(by, |at| at.min(by)));
        });
        if is_there.is_some() {
            // One that takes no orders is killed when the time is over.
            let _heard = self.order(number, &Order::Kill, &[]);
            self.ring();
        }
    }

    /// Kills it. The thread does the rest.
    pub(super) fn kill(&self) {
        self.is_to_end.store(true, Ordering::SeqCst);
        if let Some((_, pidfd)) = self.pidfd.get() {
            // It may be gone.
            let _gone = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    /// The CPU time of all its threads so far, as the kernel counts it.
    pub(super) fn cpu(&self) -> Duration {
        let Some((pid, _)) = self.pidfd.get() else {
            return Duration::ZERO;
        };
        let (mut clock, mut time) = (
            0,
            libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
        );
        #[expect(
            unsafe_code,
            reason = "no library asks for the clock of another process"
        )]
        // SAFETY: both calls write to what they are given, which lives as long as they take.
        let failed = unsafe {
            libc::clock_getcpuclockid(pid.as_raw_nonzero().get(), &raw mut clock) != 0
                || libc::clock_gettime(clock, &raw mut time) != 0
        };
        match failed {
            true => Duration::ZERO,
            false => Duration::new(
                u64::try_from(time.tv_sec).unwrap_or(0),
                u32::try_from(time.tv_nsec).unwrap_or(0),
            ),
        }
    }

    /// Waits until it takes runs.
    pub(super) async fn ready(&self) -> Result<(), Failure> {
        if matches!(*self.phase.borrow(), Phase::Ready) {
            return Ok(());
        }
        let mut phase = self.phase.subscribe();
        let settled = phase
            .wait_for(|phase| !matches!(phase, Phase::Starting))
            .await;
        match settled.as_deref() {
            Ok(Phase::Ready) => Ok(()),
            Ok(Phase::Dead(why)) => Err(Failure::new(
                FailureKind::HostError,
                format!("no process for the guest could be made: {why}"),
            )),
            Ok(Phase::Starting) | Err(_) => Err(Failure::new(
                FailureKind::HostError,
                "the host is shutting down",
            )),
        }
    }
}
