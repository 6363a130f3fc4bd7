//! `[alerts]`: from which figure on each rule fires, and who is told.
//!
//! A threshold of 0 switches its rule off. The guard of the host's memory goes by the critical threshold.

use std::time::Duration;

use cofferdam_domain::alert::Rule;
use cofferdam_domain::callback::CallbackUrl;
use cofferdam_domain::secret::SecretValue;

/// The section.
#[derive(Clone, Debug)]
pub struct AlertsConfig {
    /// The part of the memory that the host may use at which it warns, in percent.
    pub memory_warning_percent: u64,
    /// The part at which it begins to give up caches and work.
    pub memory_critical_percent: u64,
    /// The same in bytes of the host itself; 0 means that the percentage counts.
    pub memory_warning_bytes: u64,
    /// The same for the critical threshold.
    pub memory_critical_bytes: u64,
    /// Growth of memory in a second, over the last ten.
    pub memory_growth_bytes: u64,
    /// Tasks that wait.
    pub backlog_tasks: u64,
    /// How long an attempt runs.
    pub slow_task: Duration,
    /// Hosts that were lost and are still listed.
    pub workers_lost: u64,
    /// Modules that are held back.
    pub breakers_open: u64,
    /// Receivers of callbacks that are held back, and callbacks given up in the last five minutes.
    pub callbacks_failing: u64,
    /// Dead letters in the last five minutes.
    pub dead_letters: u64,
    /// How full the disk's budgets are, in percent.
    pub disk_percent: u64,
    /// How far this machine's clock is from storage's, or was set in the last minute.
    pub clock_skew: Duration,
    /// Who is told of what fires and what ends.
    pub url: Option<CallbackUrl>,
    /// What these messages are signed with.
    pub secret: Option<SecretValue>,
}

impl Default for AlertsConfig {
    fn default() -> AlertsConfig {
        AlertsConfig {
            memory_warning_percent: 70,
            memory_critical_percent: 85,
            memory_warning_bytes: 0,
            memory_critical_bytes: 0,
            memory_growth_bytes: 10_000_000,
            backlog_tasks: 50,
            slow_task: Duration::from_secs(5),
            workers_lost: 1,
            breakers_open: 1,
            callbacks_failing: 1,
            dead_letters: 1,
            disk_percent: 90,
            clock_skew: Duration::from_secs(1),
            url: None,
            secret: None,
        }
    }
}

impl AlertsConfig {
    /// From which figure on a rule fires, where the host may use so much memory; 0 if it never does.
    pub(super) fn threshold(&self, rule: Rule, limit_bytes: u64) -> u64 {
        let of_memory = |percent: u64, bytes: u64| match bytes {
            0 => limit_bytes / 100 * percent,
            bytes => bytes,
        };
        match rule {
            Rule::MemoryWarning => {
                of_memory(self.memory_warning_percent, self.memory_warning_bytes)
            }
            Rule::MemoryCritical => {
                of_memory(self.memory_critical_percent, self.memory_critical_bytes)
            }
            Rule::MemoryGrowth => self.memory_growth_bytes,
            Rule::Backlog => self.backlog_tasks,
            Rule::SlowTask => millis(self.slow_task),
            Rule::WorkerLost => self.workers_lost,
            Rule::BreakerOpen => self.breakers_open,
            Rule::CallbackFailing => self.callbacks_failing,
            Rule::DeadLetters => self.dead_letters,
            Rule::DiskBudget => self.disk_percent,
            Rule::ClockSkew => millis(self.clock_skew),
        }
    }

    /// Whether a rule of memory is about the host itself, because the operator set bytes.
    pub(super) fn is_of_host(&self, rule: Rule) -> bool {
        match rule {
            Rule::MemoryWarning => self.memory_warning_bytes > 0,
            Rule::MemoryCritical => self.memory_critical_bytes > 0,
            Rule::MemoryGrowth
            | Rule::Backlog
            | Rule::SlowTask
            | Rule::WorkerLost
            | Rule::BreakerOpen
            | Rule::CallbackFailing
            | Rule::DeadLetters
            | Rule::DiskBudget
            | Rule::ClockSkew => false,
        }
    }
}

/// In whole milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
