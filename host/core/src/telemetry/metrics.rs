//! The metric registry, and the names of all metrics in one place.
//!
//! Recording costs a few atomic operations: the series of the fixed labels are resolved when the
//! registry is made, those of a module when it is first seen. No label contains a user's text, with
//! one bounded exception: the first [`MODULES_MAX`] module names, and `other` for the rest.

mod audit;
mod cache;
mod callbacks;
mod kinds;
mod processes;
mod readings;
mod routes;
pub(crate) mod sealing;
mod tallies;
mod vitals;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::memory::Purpose;
use cofferdam_domain::state::TaskState;

use self::kinds::{ByKind, NO_FAILURE};
pub use self::readings::Readings;
pub use self::routes::RouteCounters;
pub use self::tallies::Tallies;
use crate::telemetry::spread::Spread;

/// Module names that get series of their own.
pub const MODULES_MAX: usize = 100;

/// The label of every module beyond [`MODULES_MAX`].
const OTHER_MODULES: &str = "other";

/// Upper bounds in seconds, from a fresh sandbox's time to a long batch.
const SECONDS: [f64; 16] = [
    0.000_05, 0.000_2, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0,
    30.0, 120.0, 600.0,
];

type Word = [(&'static str, &'static str); 1];
type Words = [(&'static str, &'static str); 2];
type ModuleLabel = [(&'static str, String); 1];
type MakeHistogram = fn() -> Histogram;

/// Every metric of the host. Shared behind an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    wait: Family<ModuleLabel, Histogram, MakeHistogram>,
    run: Family<ModuleLabel, Histogram, MakeHistogram>,
    end_to_end: Family<ModuleLabel, Histogram, MakeHistogram>,
    compile: Family<Word, Histogram, MakeHistogram>,
    modules: RwLock<HashMap<String, Arc<ModuleSeries>>>,
    attempts: ByKind,
    runs: ByKind,
    waits: Spread,
    durations: Spread,
    tasks: Family<Words, Counter>,
    dead: Counter,
    requests: Family<Words, Counter>,
    panics: Counter,
    depth: Family<Word, Gauge>,
    active: Gauge,
    slots: Gauge,
    waiting: Gauge,
    modules_held: Gauge,
    firings: Family<Word, Counter>,
    repairs: Counter,
    callbacks: Family<Word, Counter>,
    sealing_left: Family<Word, Gauge>,
    resealed: Family<Word, Counter>,
    callback_hosts_held: Gauge,
    sessions: Gauge,
    processes: Gauge,
    processes_unchecked: Gauge,
    processes_retired: Gauge,
    processes_died: Gauge,
    files: Gauge,
    memory: Gauge,
    memory_budget: Gauge,
    memory_taken: Family<Word, Gauge>,
    disk_free: Gauge,
    disk_full: Gauge,
    confinement: Family<Words, Gauge>,
    interpreters: Family<Words, Gauge>,
    trail: audit::Trail,
    vitals: vitals::Vitals,
    cache: cache::Cache,
}

/// The series of one module.
#[derive(Clone, Debug)]
struct ModuleSeries {
    wait: Histogram,
    run: Histogram,
    end_to_end: Histogram,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("cofferdam");
        let attempts = Family::<Word, Counter>::default();
        let runs = Family::<Word, Counter>::default();
        let metrics = Metrics {
            wait: Family::new_with_constructor(histogram),
            run: Family::new_with_constructor(histogram),
            end_to_end: Family::new_with_constructor(histogram),
            compile: Family::new_with_constructor(histogram),
            modules: RwLock::default(),
            attempts: ByKind::of(&attempts),
            runs: ByKind::of(&runs),
            waits: Spread::default(),
            durations: Spread::default(),
            tasks: Family::default(),
            dead: Counter::default(),
            requests: Family::default(),
            panics: Counter::default(),
            depth: Family::default(),
            active: Gauge::default(),
            slots: Gauge::default(),
            waiting: Gauge::default(),
            modules_held: Gauge::default(),
            firings: Family::default(),
            repairs: Counter::default(),
            callbacks: Family::default(),
            sealing_left: Family::default(),
            resealed: Family::default(),
            callback_hosts_held: Gauge::default(),
            sessions: Gauge::default(),
            files: Gauge::default(),
            processes: Gauge::default(),
            processes_unchecked: Gauge::default(),
            processes_retired: Gauge::default(),
            processes_died: Gauge::default(),
            memory: Gauge::default(),
            memory_budget: Gauge::default(),
            memory_taken: Family::default(),
            disk_free: Gauge::default(),
            disk_full: Gauge::default(),
            confinement: Family::default(),
            interpreters: Family::default(),
            trail: audit::Trail::default(),
            vitals: vitals::Vitals::default(),
            cache: cache::Cache::default(),
            registry: Registry::default(),
        };
        metrics.register_durations(&mut registry);
        registry.register(
            "attempts",
            "Finished attempts at tasks, by failure kind",
            attempts,
        );
        registry.register(
            "runs",
            "Finished runs without a task, by failure kind",
            runs,
        );
        metrics.register_others(&mut registry);
        metrics.register_processes(&mut registry);
        metrics.register_callbacks(&mut registry);
        metrics.register_sealing(&mut registry);
        metrics.register_room(&mut registry);
        metrics.trail.register(&mut registry);
        metrics.vitals.register(&mut registry);
        metrics.cache.register(&mut registry);
        Metrics {
            registry,
            ..metrics
        }
    }

    fn register_durations(&self, registry: &mut Registry) {
        let mut seconds =
            |name: &str, help: &str, family: Family<ModuleLabel, Histogram, MakeHistogram>| {
                registry.register_with_unit(name, help, Unit::Seconds, family);
            };
        seconds(
            "task_wait",
            "From the moment a task may run until it is claimed",
            self.wait.clone(),
        );
        seconds(
            "run_duration",
            "From the fresh sandbox to the end of the run",
            self.run.clone(),
        );
        seconds(
            "task_end_to_end",
            "From a task's submission until it is final",
            self.end_to_end.clone(),
        );
        registry.register_with_unit(
            "compile_duration",
            "Checking and compiling one module",
            Unit::Seconds,
            self.compile.clone(),
        );
    }

    fn register_others(&self, registry: &mut Registry) {
        registry.register(
            "tasks",
            "Tasks that became final, by state and failure kind",
            self.tasks.clone(),
        );
        registry.register(
            "tasks_dead",
            "Tasks that became dead letters, because they lost too many hosts or used up several attempts",
            self.dead.clone(),
        );
        registry.register(
            "http_requests",
            "HTTP requests answered, by route and status class",
            self.requests.clone(),
        );
        registry.register(
            "http_panics",
            "Requests whose handler panicked",
            self.panics.clone(),
        );
        registry.register(
            "queue_tasks",
            "Tasks in storage, by state",
            self.depth.clone(),
        );
        registry.register(
            "active_attempts",
            "Attempts running on this host",
            self.active.clone(),
        );
        registry.register(
            "slots",
            "Attempts that may run on this host at once",
            self.slots.clone(),
        );
        registry.register(
            "waiting_runs",
            "Runs, attempts among them, that wait for room on this host",
            self.waiting.clone(),
        );
        registry.register(
            "sessions",
            "Interpreters kept for callers on this host",
            self.sessions.clone(),
        );
        registry.register(
            "schedule_firings",
            "Instants of schedules that this host made something of, by what that was",
            self.firings.clone(),
        );
        registry.register(
            "workflow_repairs",
            "Workflows that stood still and were repaired; there should be none",
            self.repairs.clone(),
        );
        registry.register(
            "modules_held",
            "Modules that are held back on this host, because they failed again and again",
            self.modules_held.clone(),
        );
    }

    fn register_room(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "files",
            "Disk space of spooled inputs, artifacts and files of code, in whole blocks",
            Unit::Bytes,
            self.files.clone(),
        );
        registry.register_with_unit(
            "resident_memory",
            "Resident memory of this process",
            Unit::Bytes,
            self.memory.clone(),
        );
        registry.register_with_unit(
            "memory_budget",
            "What guests, compiling children and bodies may hold together",
            Unit::Bytes,
            self.memory_budget.clone(),
        );
        registry.register_with_unit(
            "memory_taken",
            "What is taken of the memory budget, by purpose",
            Unit::Bytes,
            self.memory_taken.clone(),
        );
        registry.register_with_unit(
            "disk_free",
            "Free bytes on the disk of the data directory",
            Unit::Bytes,
            self.disk_free.clone(),
        );
        registry.register(
            "disk_full",
            "1 while the disk has too little room to take work",
            self.disk_full.clone(),
        );
        registry.register(
            "confinement",
            "1 for each layer by which the kernel confines the host, or the processes of its guests",
            self.confinement.clone(),
        );
        registry.register(
            "interpreter_state",
            "1 for the state that the interpreter of a language is in",
            self.interpreters.clone(),
        );
    }

    /// Counts an attempt at a task: how long the task waited to be claimed once it could be, how
    /// long it ran, and its failure, if any.
    pub fn attempt_finished(
        &self,
        module: &str,
        failure: Option<FailureKind>,
        wait: Duration,
        run: Duration,
    ) {
        let series = self.series(module);
        series.wait.observe(wait.as_secs_f64());
        series.run.observe(run.as_secs_f64());
        self.waits.record(wait);
        self.durations.record(run);
        self.attempts.count(failure);
    }

    /// Counts a task that became final `end_to_end` after it was submitted.
    pub fn task_finished(
        &self,
        module: &str,
        state: TaskState,
        failure: Option<FailureKind>,
        end_to_end: Duration,
    ) {
        self.series(module)
            .end_to_end
            .observe(end_to_end.as_secs_f64());
        let kind = failure.map_or(NO_FAILURE, FailureKind::as_str);
        self.tasks
            .get_or_create(&[("state", state.as_str()), ("kind", kind)])
            .inc();
    }

    /// Counts a task that became a dead letter.
    pub fn task_died(&self) {
        self.dead.inc();
    }

    /// Counts a run without a task.
    pub fn run_finished(&self, module: &str, failure: Option<FailureKind>, run: Duration) {
        self.series(module).run.observe(run.as_secs_f64());
        self.durations.record(run);
        self.runs.count(failure);
    }

    /// Counts a compilation for an engine class (`fast`, `metered`).
    pub fn module_compiled(&self, class: &'static str, took: Duration) {
        self.compile
            .get_or_create(&[("engine", class)])
            .observe(took.as_secs_f64());
    }

    /// Counts a handler that panicked.
    pub fn handler_panicked(&self) {
        self.panics.inc();
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self, readings: &Readings) -> String {
        for (state, depth) in TaskState::ALL.into_iter().zip(readings.depth) {
            self.depth
                .get_or_create(&[("state", state.as_str())])
                .set(signed(depth));
        }
        self.active.set(signed(readings.active));
        self.slots.set(signed(readings.slots));
        self.waiting.set(signed(readings.waiting));
        self.sessions.set(signed(readings.sessions));
        self.modules_held.set(signed(readings.modules_held));
        self.callback_hosts_held
            .set(signed(readings.callback_hosts_held));
        self.processes.set(signed(readings.processes));
        self.processes_unchecked
            .set(signed(readings.processes_unchecked));
        self.processes_retired
            .set(signed(readings.processes_retired));
        self.processes_died.set(signed(readings.processes_died));
        self.files.set(signed(readings.files_bytes));
        self.memory.set(signed(readings.memory_bytes));
        self.memory_budget.set(signed(readings.memory_budget_bytes));
        for (purpose, taken) in Purpose::ALL.into_iter().zip(readings.memory_taken_bytes) {
            self.memory_taken
                .get_or_create(&[("purpose", purpose.as_str())])
                .set(signed(taken));
        }
        self.disk_free.set(signed(readings.disk_free_bytes));
        self.disk_full.set(i64::from(readings.disk_full));
        for (of, layer, holds) in readings.confinement {
            self.confinement
                .get_or_create(&[("of", of), ("layer", layer)])
                .set(i64::from(holds));
        }
        self.vitals.set(readings);
        self.cache.set(readings);
        // A state that an interpreter has left is no series of its own any more.
        self.interpreters.clear();
        for (language, state) in readings.interpreters {
            self.interpreters
                .get_or_create(&[("language", language), ("state", state)])
                .set(1);
        }
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a String cannot fail");
        out
    }

    fn series(&self, module: &str) -> Arc<ModuleSeries> {
        let known = self.modules.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(module) {
            return Arc::clone(series);
        }
        let full = known.len() >= MODULES_MAX;
        drop(known);
        let name = if full { OTHER_MODULES } else { module };
        let series = Arc::new(self.make_series(name));
        if !full {
            let mut known = self.modules.write().unwrap_or_else(PoisonError::into_inner);
            known.insert(name.to_owned(), Arc::clone(&series));
        }
        series
    }

    fn make_series(&self, name: &str) -> ModuleSeries {
        let label: ModuleLabel = [("module", name.to_owned())];
        ModuleSeries {
            wait: self.wait.get_or_create_owned(&label),
            run: self.run.get_or_create_owned(&label),
            end_to_end: self.end_to_end.get_or_create_owned(&label),
        }
    }

    /// Counts workflows that stood still.
    pub fn workflows_repaired(&self, workflows: u64) {
        self.repairs.inc_by(workflows);
    }

    /// Counts an instant of a schedule.
    pub fn fired(&self, outcome: &'static str) {
        self.firings.get_or_create(&[("outcome", outcome)]).inc();
    }
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
