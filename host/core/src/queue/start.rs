//! Starts the queue: its parts, the order in which its services start, and how they end.
//!
//! The end is a chain: shutdown is requested; the dispatcher and the lanes stop and give back
//! claims that have not begun; the drainer waits for running attempts and then kills them; when the
//! last executor is gone, the completer has recorded everything and signals that all is settled;
//! then the heartbeat, the canceller and the progress service end. `Shutdown::drained` waits for
//! them all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::nodes::Nodes;
use crate::queue::crowd::Crowd;
use crate::queue::drain::Drain;
use crate::queue::elsewhere::Taps;
use crate::queue::elsewhere::others::Others;
use crate::queue::elsewhere::taps::Tapped;
use crate::queue::events::Hub;
use crate::queue::executor::{Attempts, Executor};
use crate::queue::figures::Figures;
use crate::queue::guests::Guests;
use crate::queue::hands::Hands;
use crate::queue::lease::Lease;
use crate::queue::many::BULKS_MAX;
use crate::queue::postponing::Postponing;
use crate::queue::progress::board::ProgressBoard;
use crate::queue::pruner::Attic;
use crate::queue::ready::Ready;
use crate::queue::recording::Recording;
use crate::queue::running::Running;
use crate::queue::settings::QueueConfig;
use crate::queue::shared::{Dice, Shared};
use crate::queue::slots::Slots;
use crate::queue::waiters::Waiters;
use crate::queue::{
    Queue, canceller, completer, cpu, dispatcher, drainer, elsewhere, ends, fencing, heartbeat,
    lanes, progress, pruner, reconciler, repairer, rescuer, scaler,
};
use crate::registry::Registry;
use crate::runner::admission::Admission;
use crate::runner::{Runner, Spool};
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::pressure::Pressure;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::worker::Profile;
use cofferdam_sandbox::threads::GuestThreadsHandle;
use cofferdam_storage::files::FileStorage;
use cofferdam_storage::signals::{Ear, Signals};
use cofferdam_storage::{Reads, StorageError, Tasks, Workflows};

/// The parts of a queue.
pub struct Parts {
    /// The storage of tasks.
    pub storage: Arc<dyn Tasks>,
    /// The queries about tasks.
    pub reads: Arc<dyn Reads>,
    /// The workflows that some of them are nodes of.
    pub workflows: Arc<dyn Workflows>,
    /// The signals of changes in storage.
    pub signals: Arc<dyn Signals>,
    /// Where modules are known.
    pub registry: Arc<Registry>,
    /// The bounds of a task's requests.
    pub admission: Admission,
    /// How much is claimed, kept and waited for.
    pub config: QueueConfig,
    /// The clock.
    pub clock: Clock,
    /// This incarnation of the host: random and unique.
    pub worker: WorkerId,
    /// What it tells of itself.
    pub profile: Profile,
    /// The seed of ids and jitter.
    pub seed: u64,
    /// The guest threads.
    pub threads: GuestThreadsHandle,
    /// Requested when this host must take no more work.
    pub shutdown: Shutdown,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether memory allows for more.
    pub pressure: Pressure,
    /// Hears what guests write at other hosts.
    pub taps: Option<Arc<dyn Taps>>,
    /// Whether no other host can be alive on this storage, so that running tasks in it were left by
    /// an earlier incarnation.
    pub sole_owner: bool,
}

/// Slots for each core, if none are configured.
const SLOTS_PER_CORE: usize = 16;

impl Queue {
    /// Records that this host is alive, rescues the tasks of earlier incarnations, and starts the
    /// services: the lanes on the guest threads, all others on the current runtime. `runner` runs
    /// guests; `files` keeps the files they leave.
    pub async fn start(
        parts: Parts,
        runner: Arc<Runner>,
        files: FileStorage,
    ) -> Result<Arc<Queue>, StorageError> {
        let spool = Arc::new(files.clone());
        let guests = Arc::new(Guests::new(runner, files));
        let attic: Arc<dyn Attic> = Arc::<Guests>::clone(&guests);
        Queue::start_with(parts, guests, attic, spool).await
    }

    /// The same with replacements of the runner and the files.
    pub(crate) async fn start_with<A: Attempts>(
        parts: Parts,
        attempts: Arc<A>,
        attic: Arc<dyn Attic>,
        spool: Arc<dyn Spool>,
    ) -> Result<Arc<Queue>, StorageError> {
        let Parts {
            registry,
            threads,
            sole_owner,
            ..
        } = &parts;
        let registry = Arc::clone(registry);
        let (threads, sole_owner) = (threads.clone(), *sole_owner);
        let shared = Arc::new(share(parts));
        let ear: Arc<dyn Ear> = Arc::<Shared>::clone(&shared);
        shared.signals.listen(Arc::downgrade(&ear));
        heartbeat::beat(&shared).await?;
        // Nor is anything claimed of a tenant that has used up its day.
        cpu::share(&shared).await;
        let dead_before = if sole_owner {
            // This does not depend on the clocks of earlier incarnations.
            Timestamp::from_millis(i64::MAX)
        } else {
            shared.dead_before()
        };
        let rescued = rescuer::run_once(&shared, dead_before).await?;
        if rescued > 0 {
            tracing::info!(
                tasks = rescued,
                "tasks were rescued from earlier incarnations"
            );
        }
        let cancels = spawn(&shared, &threads, attempts, Arc::clone(&attic));
        Ok(Arc::new(Queue {
            shared,
            registry,
            cancels,
            attic,
            spool,
            bulks: Arc::new(Semaphore::new(BULKS_MAX)),
        }))
    }
}

fn share(parts: Parts) -> Shared {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let slots = match parts.config.slots {
        0 => cores * SLOTS_PER_CORE,
        slots => usize::try_from(slots).unwrap_or(usize::MAX),
    };
    let (events, settled) = (Hub::default(), CancellationToken::new());
    let tapped = parts.taps.map(|taps| {
        let (events, shutdown) = (events.clone(), parts.shutdown.clone());
        Tapped::new(taps, events, shutdown, settled.clone())
    });
    let slots = slots.min(Semaphore::MAX_PERMITS);
    let slots_min = match parts.config.slots_min {
        0 => slots,
        slots_min => usize::try_from(slots_min).unwrap_or(usize::MAX),
    };
    Shared {
        storage: parts.storage,
        nodes: Nodes::new(parts.workflows, Arc::clone(&parts.reads)),
        reads: parts.reads,
        signals: parts.signals,
        clock: parts.clock,
        admission: parts.admission,
        slots: Slots::between(slots_min, slots),
        worker: parts.worker,
        profile: Arc::new(parts.profile),
        lease: match parts.sole_owner {
            true => Lease::endless(Instant::now()),
            false => Lease::until_dead(parts.config.dead_after, Instant::now()),
        },
        drain: Drain::default(),
        beat_now: Notify::new(),
        shutdown: parts.shutdown,
        settled,
        work: Notify::new(),
        changed_elsewhere: Notify::new(),
        backlog: AtomicBool::new(false),
        crowd: Crowd::default(),
        overtaking: AtomicUsize::new(0),
        overtaken: Notify::new(),
        ready: Ready::new(parts.config.strategy),
        config: parts.config,
        hands: Hands::default(),
        postponing: Postponing::default(),
        running: Running::default(),
        recording: Recording::default(),
        events,
        waiters: Waiters::default(),
        others: (!parts.sole_owner).then(|| Others::than(parts.worker, tapped)),
        progress: ProgressBoard::default(),
        figures: Figures::new(),
        metrics: parts.metrics,
        pressure: parts.pressure,
        dice: Dice::seeded(parts.seed),
    }
}

fn spawn<A: Attempts>(
    shared: &Arc<Shared>,
    threads: &GuestThreadsHandle,
    attempts: Arc<A>,
    attic: Arc<dyn Attic>,
) -> mpsc::Sender<cofferdam_domain::task::TaskId> {
    let (ends, ended) = ends::ways();
    let (cancels, cancelled) = mpsc::channel(canceller::QUEUED_MAX);
    let weak_ends = ends.weak();
    let executor = Arc::new(Executor::new(Arc::clone(shared), attempts, ends));
    let slots = Arc::new(Semaphore::new(shared.slots.max()));
    let shutdown = &shared.shutdown;
    {
        // Tasks spawned inside run on the guest threads.
        let _guests = threads.runtime().enter();
        for _ in 0..threads.runtime().metrics().num_workers() {
            shutdown.spawn(
                "lane",
                lanes::serve(Arc::clone(&executor), Arc::clone(&slots)),
            );
        }
    }
    shutdown.spawn("dispatcher", dispatcher::serve(executor));
    shutdown.spawn("completer", completer::serve(Arc::clone(shared), ended));
    shutdown.spawn(
        "canceller",
        canceller::serve(Arc::clone(shared), cancelled, weak_ends),
    );
    shutdown.spawn("progress", progress::serve(Arc::clone(shared)));
    shutdown.spawn("heartbeat", heartbeat::serve(Arc::clone(shared)));
    shutdown.spawn("fencing", fencing::serve(Arc::clone(shared)));
    shutdown.spawn("reconciler", reconciler::serve(Arc::clone(shared)));
    shutdown.spawn("elsewhere", elsewhere::serve(Arc::clone(shared)));
    shutdown.spawn("scaler", scaler::serve(Arc::clone(shared)));
    shutdown.spawn("rescuer", rescuer::serve(Arc::clone(shared)));
    shutdown.spawn("repairer", repairer::serve(Arc::clone(shared)));
    shutdown.spawn("pruner", pruner::serve(Arc::clone(shared), attic));
    shutdown.spawn("drainer", drainer::serve(Arc::clone(shared)));
    cancels
}
