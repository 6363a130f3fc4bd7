//! The state that the queue's entry point and its services share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::nodes::Nodes;
use crate::queue::crowd::Crowd;
use crate::queue::drain::Drain;
use crate::queue::elsewhere::others::Others;
use crate::queue::events::Hub;
use crate::queue::figures::Figures;
use crate::queue::hands::{Hands, Reach};
use crate::queue::lease::Lease;
use crate::queue::postponing::Postponing;
use crate::queue::progress::board::ProgressBoard;
use crate::queue::ready::Ready;
use crate::queue::recording::Recording;
use crate::queue::running::Running;
use crate::queue::settings::QueueConfig;
use crate::queue::slots::Slots;
use crate::queue::waiters::Waiters;
use crate::runner::admission::Admission;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::pressure::Pressure;
use cofferdam_domain::task::{ClaimOrder, Priority, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::worker::Profile;
use cofferdam_storage::signals::{Ear, Signal, Signals};
use cofferdam_storage::{Heir, Reads, Tasks};

/// The shared parts. Services interact only through these and through storage.
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Tasks>,
    pub(crate) reads: Arc<dyn Reads>,
    /// What becomes of nodes of workflows.
    pub(crate) nodes: Nodes,
    pub(crate) clock: Clock,
    /// What runs may ask for, and what holds for tenants.
    pub(crate) admission: Admission,
    pub(crate) config: QueueConfig,
    /// How many attempts may run at once here.
    pub(crate) slots: Slots,
    pub(crate) worker: WorkerId,
    /// What this host tells of itself.
    pub(crate) profile: Arc<Profile>,
    /// Until when it may run tasks.
    pub(crate) lease: Lease,
    /// Whether it was asked to take no more tasks.
    pub(crate) drain: Drain,
    /// Rung when others should hear at once how this host is.
    pub(crate) beat_now: Notify,
    /// Requested when this host must take no more work.
    pub(crate) shutdown: Shutdown,
    /// Cancelled once every attempt of this host is recorded or given up.
    pub(crate) settled: CancellationToken,
    /// Sends and receives this host's signals of changes in storage.
    pub(crate) signals: Arc<dyn Signals>,
    /// Rung when there may be something to claim, or room for it.
    pub(crate) work: Notify,
    /// Rung when somebody else changed a task that runs here: it may have been cancelled.
    pub(crate) changed_elsewhere: Notify,
    /// Set while storage may have work that was not claimed because no slot was free.
    pub(crate) backlog: AtomicBool,
    /// Tasks that go before those already claimed, and that are not claimed yet.
    pub(crate) overtaking: AtomicUsize,
    /// Rung when there are some.
    pub(crate) overtaken: Notify,
    pub(crate) ready: Ready,
    pub(crate) hands: Hands,
    pub(crate) postponing: Postponing,
    pub(crate) running: Running,
    /// Whether several tenants have work here, and whether one of them waits.
    pub(crate) crowd: Crowd,
    /// Whether ends reach storage.
    pub(crate) recording: Recording,
    pub(crate) events: Hub,
    pub(crate) waiters: Waiters,
    /// The other hosts, if there can be others.
    pub(crate) others: Option<Others>,
    pub(crate) progress: ProgressBoard,
    pub(crate) figures: Figures,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether memory allows for more.
    pub(crate) pressure: Pressure,
    pub(crate) dice: Dice,
}

impl Ear for Shared {
    fn hear(&self, signal: Signal) {
        match signal {
            Signal::Work => self.work.notify_one(),
            Signal::Changed(id) => {
                self.events.nudge(id);
                self.waiters.wake(id);
                // What this host changes of a task, it changes once nothing runs of it any more.
                if self.running.holds(id) {
                    self.changed_elsewhere.notify_one();
                }
            }
            Signal::Everything => {
                self.work.notify_one();
                self.events.nudge_all();
                self.waiters.wake_all();
                if self.running.len() > 0 {
                    self.changed_elsewhere.notify_one();
                }
            }
            Signal::Cut => {
                // A task whose claim is forgotten is cancelled at once, so it must not begin after
                // that. Claims that storage still knows of are found and returned by `reconciler`.
                drop(self.ready.take_older_than(Duration::ZERO));
            }
        }
    }
}

/// The source of ids and jitter.
pub(crate) struct Dice(Mutex<StdRng>);

impl Dice {
    pub(crate) fn seeded(seed: u64) -> Dice {
        Dice(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A new task's id.
    pub(crate) fn task_id(&self, now: Timestamp) -> TaskId {
        let mut random = [0_u8; 10];
        self.with(|rng| rng.fill_bytes(&mut random));
        TaskId(now.uuid(&random))
    }

    /// Uniform in 0..1.
    pub(crate) fn fraction(&self) -> f64 {
        self.with(|rng| rng.random())
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The most claims taken from storage at once.
pub(crate) const CLAIM_MAX: usize = 512;
/// The most claims that wait for a slot here.
const PREFETCH_MAX: usize = 2 * CLAIM_MAX;
/// How much work, by recent durations, is claimed ahead of a free slot.
const PREFETCH_WORK: Duration = Duration::from_millis(20);

impl Shared {
    /// How many claims this host wants. It claims nothing ahead while every slot is taken, because
    /// it is then unknown how long a claim would wait here.
    pub(crate) fn wanted(&self) -> usize {
        // They are read in the order in which a claim moves: a moving claim is counted twice rather
        // than not at all, which would claim a task that has to wait behind it.
        let ready = self.hands.asked() + self.ready.len();
        let running = self.running.len();
        let free = self.slots.now().saturating_sub(running);
        if free == 0 {
            return 0;
        }
        (free + self.prefetch()).saturating_sub(ready)
    }

    /// Who claims what ends release: this host, if it has room and would claim. The claims are in its hands before what
    /// comes with it is dropped.
    pub(crate) fn heir(&self) -> Option<(Heir, Reach)> {
        let is_strict = match self.config.strategy {
            ClaimOrder::Priority | ClaimOrder::Lifo => false,
            // What was released now would go before what waits.
            ClaimOrder::Fifo => true,
        };
        let may_claim = !is_strict
            && !self.shutdown.is_requested()
            && !self.drain.is_asked()
            && self.pressure.lets_claim()
            && self.lease.is_held(Instant::now());
        let wanted = self.wanted().min(CLAIM_MAX);
        let slots = u32::try_from(wanted).unwrap_or(u32::MAX);
        (may_claim && slots > 0).then(|| {
            let heir = Heir {
                worker: self.worker,
                slots,
                now: self.clock.now(),
            };
            (heir, self.hands.reach(wanted))
        })
    }

    /// Rings for the dispatcher if it waits for room and there is room.
    pub(crate) fn room_was_made(&self) {
        if self.backlog.load(Ordering::SeqCst) && self.is_hungry() {
            self.work.notify_one();
        }
    }

    /// How many tasks one call claims or records, where that may be so many. Several hosts' database makes changes
    /// beside one another.
    pub(crate) fn at_once(&self, max: usize) -> usize {
        match self.others {
            None => self.crowd.at_once(max, Instant::now()),
            Some(_) => max,
        }
    }

    /// Signals that there may be something to claim.
    pub(crate) fn tell_work(&self) {
        self.signals.tell(Signal::Work);
    }

    /// Makes every watcher and waiter of a task read its state.
    pub(crate) fn tell_changed(&self, id: TaskId) {
        self.signals.tell(Signal::Changed(id));
    }

    /// Notes that a number of tasks of that tenant and priority can be claimed. Those that go before claims
    /// that already wait for a slot are claimed even if nothing is wanted.
    pub(crate) fn work_arrived(&self, tenant: &Tenant, priority: Priority, tasks: usize) {
        let overtaking = self.ready.overtaken_by(tenant, priority, tasks);
        if overtaking > 0 {
            self.overtaking.fetch_add(overtaking, Ordering::SeqCst);
            self.overtaken.notify_one();
        }
    }

    /// How many claims overtake those that wait for a slot, as far as the list has room; each is
    /// counted once.
    pub(crate) fn overtaking(&self) -> usize {
        let tasks = self.overtaking.swap(0, Ordering::SeqCst);
        tasks.min((PREFETCH_MAX + CLAIM_MAX).saturating_sub(self.ready.len()))
    }

    /// Whether enough claims are wanted to be worth a call.
    pub(crate) fn is_hungry(&self) -> bool {
        self.wanted() > (self.prefetch() / 2).min(CLAIM_MAX - 1)
    }

    /// The moment before which nobody was last heard of who is not taken for dead.
    pub(crate) fn dead_before(&self) -> Timestamp {
        self.clock.now().minus(self.config.dead_after)
    }

    /// How many claims may wait for a slot; none while there may be more slots, because a lane would
    /// begin them.
    fn prefetch(&self) -> usize {
        if !self.slots.are_all() {
            return 0;
        }
        let one = self.figures.run_lately().as_nanos().max(1);
        let ahead = PREFETCH_WORK.as_nanos() / one;
        usize::try_from(ahead).map_or(PREFETCH_MAX, |ahead| ahead.min(PREFETCH_MAX))
    }
}
