//! One process that runs guests, from the outside.
//!
//! A thread of its own starts it, hears it and buries it (`attend`); everybody else sends it orders, which
//! never waits, and holds a place in its table of runs. The kernel ends it with that thread, so none is left
//! when the host dies. Nothing that it says is believed beyond what the limits of its runs allow.

mod kernel;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::process::{Pid, Signal, pidfd_send_signal};
use tokio::sync::{oneshot, watch};

use super::entry::{Entry, Reply};
use super::hearing::{Hearing, LeftOver};
use super::messages::{Dir, NO_RUN, Order, Told};
use super::packets::{PACKET_BYTES, encode, send_order};
use crate::files::{Home, Left};
use crate::local::Ended;
use cofferdam_domain::attempt::{Failure, FailureKind};

/// How long a run that is over may take to say so, before its process is killed: a guest yields every
/// millisecond, and what it holds is given back in a few.
const GRACE: Duration = Duration::from_secs(1);
/// The same for one that computes without checks: it cannot say so, and whoever watches it there does so in
/// a few milliseconds.
const GRACE_UNCHECKED: Duration = Duration::from_millis(250);

/// The process.
pub(crate) struct Process {
    /// The granted directories that it may use: those of all its runs.
    pub(super) dirs: Vec<Dir>,
    pub(super) home: Arc<Home>,
    /// Whether its guests give their thread back whatever they compute.
    pub(super) checked: bool,
    /// The most memory of its own that it may keep between runs.
    pub(super) most_own_bytes: u64,
    pub(super) socket: OwnedFd,
    /// Written to when the thread sleeps and there is something to watch.
    pub(super) bell: OwnedFd,
    pub(super) sleeps: AtomicBool,
    pub(super) pidfd: OnceLock<(Pid, OwnedFd)>,
    pub(super) phase: watch::Sender<Phase>,
    /// Whether it is to end, even if it has not begun.
    pub(super) is_to_end: AtomicBool,
    pub(super) hearing: Hearing,
    /// The clock of its CPU time.
    clock: OnceLock<Option<libc::clockid_t>>,
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
    /// Whether the last that took a place has the process for itself.
    alone: bool,
    served: u64,
    retired: bool,
}

/// How a run wants to have a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Company {
    /// With others.
    Any,
    /// For itself.
    None,
}

impl Runs {
    /// Whether nothing keeps a retired process.
    fn is_left(&self) -> bool {
        self.retired && self.load() == 0
    }

    fn load(&self) -> usize {
        self.seats.max(self.by_number.len())
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

impl Process {
    pub(super) fn new(
        dirs: Vec<Dir>,
        home: Home,
        checked: bool,
        most_own_bytes: u64,
        socket: OwnedFd,
        bell: OwnedFd,
    ) -> Process {
        Process {
            dirs,
            checked,
            most_own_bytes,
            home: Arc::new(home),
            socket,
            bell,
            sleeps: AtomicBool::new(false),
            pidfd: OnceLock::new(),
            phase: watch::Sender::new(Phase::Starting),
            is_to_end: AtomicBool::new(false),
            hearing: Hearing::new(),
            clock: OnceLock::new(),
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
        (!runs.retired).then(|| runs.load())
    }

    /// Whether a run has it for itself.
    pub(super) fn is_taken(&self) -> bool {
        let runs = self.runs();
        runs.alone && runs.load() > 0
    }

    /// How much later than its limits say a run must have ended.
    pub(super) fn grace(&self) -> Duration {
        match self.checked {
            true => GRACE,
            false => GRACE_UNCHECKED,
        }
    }

    /// The runs that it was told of.
    #[cfg(test)]
    pub(super) fn begun(&self) -> usize {
        self.runs().by_number.len()
    }

    /// Takes a place for a run, if there are any.
    pub(super) fn seat(self: &Arc<Self>, company: Company) -> Option<Seat> {
        let mut runs = self.runs();
        if runs.retired || self.is_dead() {
            return None;
        }
        runs.seats += 1;
        runs.alone = company == Company::None;
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
            self.wake();
        }
    }

    /// Has the thread look at everything now.
    pub(super) fn wake(&self) {
        // It fails only if the bell rings already.
        let _rings = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
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

    /// Whether a run used more than it may have by now, which it then knows.
    pub(super) fn is_overused(&self) -> bool {
        let mut runs = self.runs();
        let mut bounded = runs.by_number.values_mut().filter_map(|run| {
            let most = run.cpu_by?;
            Some((run, most))
        });
        let Some((run, most)) = bounded.next() else {
            return false;
        };
        let cpu = self.cpu();
        if cpu <= most {
            return false;
        }
        run.overused = Some(cpu.saturating_sub(run.cpu_before));
        true
    }

    /// Bytes and entries that all its runs together may have on disk.
    pub(super) fn disk_most(&self) -> (u64, u64) {
        let runs = self.runs();
        let each = runs.by_number.values().map(|run| {
            let bytes = run.limits.disk_bytes.saturating_add(run.input_bytes);
            (bytes, run.limits.disk_files)
        });
        each.fold((0, 0), |(bytes, files), (more, others)| {
            (bytes.saturating_add(more), files.saturating_add(others))
        })
    }

    /// Takes what is said of a guest that still computes; the process is to be killed with it. False if
    /// there is none.
    pub(super) fn spend(&self, number: u32, told: Told, pieces: Vec<Bytes>) -> bool {
        let cpu = self.cpu();
        let mut runs = self.runs();
        let Some(run) = runs.by_number.get_mut(&number) else {
            return false;
        };
        (run.last, run.cpu_after) = (Some((told, pieces)), Some(cpu));
        runs.retired = true;
        true
    }

    /// What was said of such a guest, once it is gone.
    pub(super) fn take_last(&self) -> Option<LeftOver> {
        let mut runs = self.runs();
        runs.by_number.iter_mut().find_map(|(number, run)| {
            let (told, pieces) = run.last.take()?;
            Some(LeftOver {
                number: *number,
                told,
                pieces,
            })
        })
    }

    /// Notes that it is to be killed with its guest.
    pub(super) fn spent(&self) {
        self.runs().retired = true;
    }

    /// Sends an order about a run.
    pub(super) fn order(
        &self,
        number: u32,
        order: &Order,
        pieces: &[Bytes],
    ) -> std::io::Result<()> {
        self.order_with(number, order, pieces, &[])
    }

    /// The same, with descriptors.
    pub(super) fn order_with(
        &self,
        number: u32,
        order: &Order,
        pieces: &[Bytes],
        with: &[BorrowedFd<'_>],
    ) -> std::io::Result<()> {
        let whole = encode(order, pieces)?;
        // Counted before it is sent: whoever buries the run must not think that it was not.
        self.with(number, |run| run.orders += 1);
        let sent = send_order(&self.socket, number, &whole, with);
        if sent.is_err() {
            self.with(number, |run| run.orders -= 1);
        }
        sent
    }

    /// Ends a run at once, or else the process.
    pub(super) fn stop(&self, number: u32) {
        let by = Instant::now() + self.grace();
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
        let clock = *self.clock.get_or_init(|| kernel::clock_of(*pid));
        clock.map_or(Duration::ZERO, kernel::cpu)
    }

    /// The memory that it shares with nobody. Only the thread that buries it may ask, so that it is no other
    /// process's.
    pub(super) fn own_bytes(&self) -> u64 {
        self.pidfd
            .get()
            .map_or(0, |(pid, _)| kernel::own_bytes(*pid))
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
