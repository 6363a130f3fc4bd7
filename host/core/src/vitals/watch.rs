//! The look at the host's figures, once a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::guard::{Guard, Sight};
use super::judge::{Figure, Figures};
use super::memory::{Memory, Reading};
use super::recent::Recent;
use super::series::Levels;
use super::settings::millis;
use super::slow::Slow;
use super::{Vitals, lock};
use crate::callbacks::Callbacks;
use crate::queue::SharedQueue;
use crate::runner::Runner;
use crate::sessions::Sessions;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::alert::{Alert, AlertState, Rule};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::pressure::Level;

/// How often the figures are read.
const EVERY: Duration = Duration::from_secs(1);
/// Over which time growth is measured.
const GROWTH_SPAN: Duration = Duration::from_secs(10);
/// How long a host grows because it begins: it maps its interpreters and begins their processes.
const BEGINNING: Duration = Duration::from_secs(60);
/// For how long something that happened counts.
const HAPPENED_SPAN: Duration = Duration::from_secs(5 * 60);
/// Over which time a clock that was set is noticed.
const CLOCK_SPAN: Duration = Duration::from_secs(60);
/// How often caches are given up while memory is short: what is used all the time would only be made anew.
const SHED_EVERY: Duration = Duration::from_secs(10);

/// The parts that are looked at.
pub(super) struct Watched {
    pub(super) queue: SharedQueue,
    pub(super) runner: Arc<Runner>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) callbacks: Arc<Callbacks>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) machine: Clock,
    pub(super) memory: Memory,
}

/// Who looks, and what is remembered from one look to the next.
pub(super) struct Watch {
    vitals: Arc<Vitals>,
    slow: Arc<Slow>,
    on: Watched,
    began: Instant,
    guard: Guard,
    growth: Recent,
    dead: Recent,
    given_up: Recent,
    /// The machine's clock.
    walls: Recent,
    shed_at: Option<Instant>,
}

impl Watch {
    pub(super) fn new(vitals: Arc<Vitals>, slow: Arc<Slow>, on: Watched, now: Instant) -> Watch {
        Watch {
            vitals,
            slow,
            on,
            began: now,
            guard: Guard::new(now),
            growth: Recent::over(GROWTH_SPAN),
            dead: Recent::over(HAPPENED_SPAN),
            given_up: Recent::over(HAPPENED_SPAN),
            walls: Recent::over(CLOCK_SPAN),
            shed_at: None,
        }
    }

    pub(super) async fn serve(mut self, stop: Shutdown) {
        loop {
            self.look(Instant::now());
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.requested() => return,
            }
        }
    }

    fn look(&mut self, now: Instant) {
        let reading = self.on.memory.look();
        *lock(&self.vitals.reading) = reading;
        self.guard_memory(now, reading);
        self.note(now, reading);
        let figures = self.figures(now, reading);
        let told = lock(&self.vitals.judge).look(self.on.clock.now(), &figures);
        for alert in &told {
            let Alert {
                rule,
                value,
                threshold,
                ..
            } = alert;
            match alert.state {
                AlertState::Firing => {
                    tracing::warn!(%rule, value, threshold, unit = rule.unit(), "an alert fires");
                }
                AlertState::Ok | AlertState::Off => {
                    tracing::info!(%rule, value, threshold, "an alert has ended");
                }
            }
        }
        if !told.is_empty() {
            self.vitals.changed.notify_one();
        }
    }

    /// Notes the figures for charts.
    fn note(&self, now: Instant, reading: Reading) {
        let stats = self.on.queue.stats();
        let levels = Levels {
            active: stats.active,
            slots: stats.slots,
            pending: self.slow.figures().pending,
            memory_bytes: reading.used_bytes,
            memory_limit_bytes: reading.limit_bytes,
        };
        let (at, tallies) = (self.on.clock.now(), self.on.metrics.tallies());
        lock(&self.vitals.series).look(now, at, &tallies, levels);
    }

    /// Gives up what can be given up, and holds work back.
    fn guard_memory(&mut self, now: Instant, reading: Reading) {
        let before = self.vitals.pressure.level();
        let (used_bytes, critical_bytes) = self.memory_figure(Rule::MemoryCritical, reading);
        let sight = Sight {
            used_bytes,
            critical_bytes,
            is_busy: self.on.queue.stats().active > 0 || self.on.runner.is_busy(),
        };
        let level = self.guard.look(now, sight);
        self.vitals.pressure.set(level);
        if level > before {
            tracing::warn!(
                level = level.as_str(),
                used_bytes,
                critical_bytes,
                "memory is short"
            );
        } else if level < before {
            tracing::info!(
                level = level.as_str(),
                used_bytes,
                critical_bytes,
                "memory is less short"
            );
        }
        let is_due = |at: Instant| now.saturating_duration_since(at) >= SHED_EVERY;
        if level >= Level::Shed && (level > before || self.shed_at.is_none_or(is_due)) {
            self.shed_at = Some(now);
            self.on.runner.shed();
            let sessions = self.on.sessions.shed();
            if sessions > 0 {
                tracing::warn!(
                    sessions,
                    "idle sessions were ended, because memory is short"
                );
            }
        }
    }

    /// The figure of a rule of memory, and its threshold.
    fn memory_figure(&self, rule: Rule, reading: Reading) -> (u64, u64) {
        let config = &self.vitals.config;
        let used = match config.is_of_host(rule) {
            true => reading.own_bytes,
            false => reading.used_bytes,
        };
        (used, config.threshold(rule, reading.limit_bytes))
    }

    /// The figures of all rules, in the order of [`Rule::ALL`].
    fn figures(&mut self, now: Instant, reading: Reading) -> Figures {
        let slow = self.slow.figures();
        let has_begun = now.saturating_duration_since(self.began) >= BEGINNING;
        let (grown, over) = self.growth.rise(now, reading.used_bytes);
        let growth = grown.saturating_mul(1000) / millis(over).max(millis(EVERY));
        let (dead, _) = self.dead.rise(now, self.on.metrics.dead());
        let given_up = self.on.metrics.callbacks_given_up();
        let (given_up, _) = self.given_up.rise(now, given_up);
        let skew = self.clock_skew(now);
        Rule::ALL.map(|rule| {
            let (_, threshold) = self.memory_figure(rule, reading);
            let value = match rule {
                Rule::MemoryWarning | Rule::MemoryCritical => {
                    Some(self.memory_figure(rule, reading).0)
                }
                Rule::MemoryGrowth => Some(growth).filter(|_| has_begun),
                Rule::Backlog => slow.pending,
                Rule::SlowTask => Some(millis(self.on.queue.longest_running(now))),
                Rule::WorkerLost => slow.workers_lost,
                Rule::BreakerOpen => Some(self.on.runner.held_count()),
                Rule::CallbackFailing => Some(self.on.callbacks.held_count() + given_up),
                Rule::DeadLetters => Some(dead),
                Rule::DiskBudget => slow.disk_percent,
                Rule::ClockSkew => Some(skew),
            };
            Figure { value, threshold }
        })
    }

    /// How far this machine's clock is from storage's, or how far it was set lately, whichever is more.
    fn clock_skew(&mut self, now: Instant) -> u64 {
        let (machine, storage) = (self.on.machine.now(), self.on.clock.now());
        let apart = machine.since(storage).max(storage.since(machine));
        let wall = u64::try_from(machine.as_millis()).unwrap_or(0);
        let (passed, over) = self.walls.rise(now, wall);
        millis(apart).max(passed.abs_diff(millis(over)))
    }
}
