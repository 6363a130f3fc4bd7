//! The host's own condition: reads its figures once a second, judges them by the operator's rules, tells
//! what fires, and holds work back when memory runs short.
//!
//! What may wait for a database or a disk is read beside that (`slow`), so that a storage which does not answer
//! does not stop the guard. Nothing of this is stored: each host knows its own condition, and forgets it when
//! it ends.

mod guard;
mod judge;
mod memory;
mod recent;
pub mod series;
pub mod settings;
mod slow;
mod teller;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use self::judge::Judge;
use self::memory::Memory;
use self::series::{Point, Series, Step};
use self::settings::AlertsConfig;
use self::slow::Slow;
use self::teller::Receiver;
use self::watch::{Watch, Watched};
use crate::callbacks::Callbacks;
use crate::queue::SharedQueue;
use crate::runner::Runner;
use crate::sessions::Sessions;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::alert::{Alert, Rule};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::pressure::{Level, Pressed, Pressure};
use cofferdam_sandbox::egress::EgressConfig;
use cofferdam_storage::Reads;
use cofferdam_storage::disk::Disk;
use cofferdam_storage::files::FileStorage;

pub use self::memory::Reading;
pub use self::teller::{Told, Write};

/// What it looks at, and what it does.
pub struct Parts {
    /// The tasks of this host.
    pub queue: SharedQueue,
    /// Its runs and its modules.
    pub runner: Arc<Runner>,
    /// Its sessions.
    pub sessions: Arc<Sessions>,
    /// Its callbacks.
    pub callbacks: Arc<Callbacks>,
    /// What storage counts.
    pub reads: Arc<dyn Reads>,
    /// Large bytes and their budget.
    pub files: FileStorage,
    /// The disk.
    pub disk: Disk,
    /// What is counted here.
    pub metrics: Arc<Metrics>,
    /// Storage's clock.
    pub clock: Clock,
    /// This machine's.
    pub machine: Clock,
    /// What is set when memory is short.
    pub pressure: Pressure,
    /// The thresholds.
    pub config: AlertsConfig,
    /// The rules of requests to other machines.
    pub egress: EgressConfig,
    /// How a message to the operator's receiver looks.
    pub write: Write,
    /// The seed of what is left to chance.
    pub seed: u64,
}

/// The condition of this host.
pub struct Vitals {
    config: AlertsConfig,
    pressure: Pressure,
    judge: Mutex<Judge>,
    reading: Mutex<Reading>,
    series: Mutex<Series>,
    changed: Arc<Notify>,
}

impl Vitals {
    /// Watches until `shutdown` is requested.
    pub fn start(parts: Parts, shutdown: &Shutdown) -> Arc<Vitals> {
        let memory = Memory::of_this_process();
        let vitals = Arc::new(Vitals {
            config: parts.config,
            pressure: parts.pressure,
            judge: Mutex::new(Judge::new(parts.clock.now())),
            reading: Mutex::new(memory.look()),
            series: Mutex::new(Series::new(Instant::now(), &parts.metrics.tallies())),
            changed: Arc::new(Notify::new()),
        });
        if let Some(url) = vitals.config.url.clone() {
            let secret = vitals.config.secret.as_ref();
            let (clock, seed) = (parts.clock.clone(), parts.seed);
            let receiver = Receiver::new(url, secret, &parts.egress, parts.write, clock, seed);
            let (told, changed) = (Arc::clone(&vitals), Arc::clone(&vitals.changed));
            let telling = teller::serve(told, receiver, changed, shutdown.clone());
            shutdown.spawn("alerts", telling);
        }
        let slow = Arc::new(Slow::new(
            Arc::clone(&parts.queue),
            parts.reads,
            parts.files,
            parts.disk,
            parts.clock.clone(),
        ));
        shutdown.spawn("figures", slow::serve(Arc::clone(&slow), shutdown.clone()));
        let watched = Watched {
            queue: parts.queue,
            runner: parts.runner,
            sessions: parts.sessions,
            callbacks: parts.callbacks,
            metrics: parts.metrics,
            clock: parts.clock,
            machine: parts.machine,
            memory,
        };
        let watch = Watch::new(Arc::clone(&vitals), slow, watched, Instant::now());
        shutdown.spawn("vitals", watch.serve(shutdown.clone()));
        vitals
    }

    /// How every rule stands, in the order of [`Rule::ALL`].
    pub fn alerts(&self) -> [Alert; Rule::ALL.len()] {
        lock(&self.judge).all()
    }

    /// The newest points of a series, the oldest first.
    pub fn points(&self, step: Step, most: usize) -> Vec<Point> {
        lock(&self.series).newest(step, most)
    }

    /// The host's memory when it was read last.
    pub fn memory(&self) -> Reading {
        *lock(&self.reading)
    }

    /// Refuses new work while memory is too short for it.
    pub fn lets_in(&self) -> Result<(), Pressed> {
        self.pressure.lets_in()
    }

    /// What the host does about a shortage of memory.
    pub fn level(&self) -> Level {
        self.pressure.level()
    }
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
