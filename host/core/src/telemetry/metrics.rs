//! The metric registry, and the names of all metrics in one place.
//!
//! Recording costs a few atomic operations: the series of the fixed labels are resolved when the
//! registry is made, those of a module when it is first seen. No label contains a user's text, with
//! one bounded exception: the first [`MODULES_MAX`] module names, and `other` for the rest.

mod readings;

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

pub use self::readings::Readings;

/// Module names that get series of their own.
pub const MODULES_MAX: usize = 100;

/// The label of every module beyond [`MODULES_MAX`].
const OTHER_MODULES: &str = "other";

/// Upper bounds in seconds, from a fresh sandbox's time to a long batch.
const SECONDS: [f64; 16] = [
    0.000_05, 0.000_2, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0,
    30.0, 120.0, 600.0,
];

/// The kind label of a success.
const NO_FAILURE: &str = "none";

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
    tasks: Family<Words, Counter>,
    dead: Counter,
    requests: Family<Words, Counter>,
    panics: Counter,
    depth: Family<Word, Gauge>,
    active: Gauge,
    slots: Gauge,
    waiting: Gauge,
    sessions: Gauge,
    processes: Gauge,
    processes_died: Gauge,
    files: Gauge,
    memory: Gauge,
    memory_budget: Gauge,
    memory_taken: Family<Word, Gauge>,
    disk_free: Gauge,
    disk_full: Gauge,
    interpreters: Family<Words, Gauge>,
}

/// The series of one module.
#[derive(Clone, Debug)]
struct ModuleSeries {
    wait: Histogram,
    run: Histogram,
    end_to_end: Histogram,
}

/// One counter for success and one for each kind of failure.
#[derive(Debug)]
struct ByKind([Counter; FailureKind::ALL.len() + 1]);

/// The counters of one HTTP route, by status class.
#[derive(Clone, Debug)]
pub struct RouteCounters([Counter; 5]);

/// The classes of HTTP status that are counted.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

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
            tasks: Family::default(),
            dead: Counter::default(),
            requests: Family::default(),
            panics: Counter::default(),
            depth: Family::default(),
            active: Gauge::default(),
            slots: Gauge::default(),
            waiting: Gauge::default(),
            sessions: Gauge::default(),
            files: Gauge::default(),
            processes: Gauge::default(),
            processes_died: Gauge::default(),
            memory: Gauge::default(),
            memory_budget: Gauge::default(),
            memory_taken: Family::default(),
            disk_free: Gauge::default(),
            disk_full: Gauge::default(),
            interpreters: Family::default(),
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
        metrics.register_room(&mut registry);
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
            "guest_processes",
            "Processes that isolated guests run in on this host",
            self.processes.clone(),
        );
        registry.register(
            "guest_processes_died",
            "Such processes that died under their guests since this host began",
            self.processes_died.clone(),
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

    /// The counters of a route, named by its pattern.
    pub fn route(&self, pattern: &'static str) -> RouteCounters {
        RouteCounters(STATUS_CLASSES.map(|class| {
            self.requests
                .get_or_create_owned(&[("route", pattern), ("status", class)])
        }))
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
        self.processes.set(signed(readings.processes));
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
}

impl RouteCounters {
    /// Counts one answer of HTTP status `status`.
    pub fn count(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, STATUS_CLASSES.len()) - 1;
        self.0[class].inc();
    }
}

impl ByKind {
    fn of(family: &Family<Word, Counter>) -> ByKind {
        ByKind(std::array::from_fn(|place| {
            let kind = match place.checked_sub(1) {
                None => NO_FAILURE,
                Some(place) => FailureKind::ALL[place].as_str(),
            };
            family.get_or_create_owned(&[("kind", kind)])
        }))
    }

    fn count(&self, failure: Option<FailureKind>) {
        let place = failure.map_or(0, |kind| kind as usize + 1);
        self.0[place].inc();
    }
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_rendered_under_their_kind() {
        let metrics = Metrics::new();
        let (wait, run) = (Duration::from_millis(2), Duration::from_millis(7));
        metrics.attempt_finished("resize", Some(FailureKind::HostError), wait, run);
        metrics.attempt_finished("resize", None, wait, run);
        metrics.task_finished("resize", TaskState::Failed, Some(FailureKind::Trap), run);
        metrics.route("/v1/tasks").count(202);
        let text = metrics.render(&Readings {
            active: 3,
            ..Readings::default()
        });
        for line in [
            r#"cofferdam_attempts_total{kind="host_error"} 1"#,
            r#"cofferdam_attempts_total{kind="none"} 1"#,
            r#"cofferdam_tasks_total{state="failed",kind="trap"} 1"#,
            r#"cofferdam_http_requests_total{route="/v1/tasks",status="2xx"} 1"#,
            r#"cofferdam_run_duration_seconds_count{module="resize"} 2"#,
            "cofferdam_active_attempts 3",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn module_labels_are_bounded() {
        let metrics = Metrics::new();
        for number in 0..MODULES_MAX * 3 {
            metrics.run_finished(&format!("module-{number}"), None, Duration::ZERO);
        }
        let text = metrics.render(&Readings::default());
        let series = text
            .matches("cofferdam_run_duration_seconds_count{")
            .count();
        assert_eq!(series, MODULES_MAX + 1);
        assert!(text.contains(r#"run_duration_seconds_count{module="other"} 200"#));
    }
}
