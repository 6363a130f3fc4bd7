//! Alerts: the rules by which a host says that something is wrong with it, and how one of them stands.
//!
//! What a rule looks at is told here in words. The thresholds are the operator's, and the figures come from
//! whoever reads them.

use core::fmt;

use crate::time::Timestamp;

/// A rule. Each compares one figure of a host with one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The memory of the host.
    MemoryWarning,
    /// The same, where the host begins to give up caches and work.
    MemoryCritical,
    /// How fast that memory grows.
    MemoryGrowth,
    /// Tasks that wait.
    Backlog,
    /// The attempt that runs here longest.
    SlowTask,
    /// Hosts that were lost.
    WorkerLost,
    /// Modules that are held back here.
    BreakerOpen,
    /// Receivers of callbacks that are held back here, and callbacks that were given up here lately.
    CallbackFailing,
    /// Tasks that became dead letters here lately.
    DeadLetters,
    /// How full the disk is, or what the host may have of it.
    DiskBudget,
    /// How far the host's clock is from storage's, or was set.
    ClockSkew,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody should look.
    Warning,
    /// Work is refused, lost or about to be.
    Critical,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Rule; 11] = [
        Rule::MemoryWarning,
        Rule::MemoryCritical,
        Rule::MemoryGrowth,
        Rule::Backlog,
        Rule::SlowTask,
        Rule::WorkerLost,
        Rule::BreakerOpen,
        Rule::CallbackFailing,
        Rule::DeadLetters,
        Rule::DiskBudget,
        Rule::ClockSkew,
    ];

    /// The word of the API and of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Rule::MemoryWarning => "memory_warning",
            Rule::MemoryCritical => "memory_critical",
            Rule::MemoryGrowth => "memory_growth",
            Rule::Backlog => "backlog",
            Rule::SlowTask => "slow_task",
            Rule::WorkerLost => "worker_lost",
            Rule::BreakerOpen => "breaker_open",
            Rule::CallbackFailing => "callback_failing",
            Rule::DeadLetters => "dead_letters",
            Rule::DiskBudget => "disk_budget",
            Rule::ClockSkew => "clock_skew",
        }
    }

    /// What its figure and its threshold are counted in.
    pub const fn unit(self) -> &'static str {
        match self {
            Rule::MemoryWarning | Rule::MemoryCritical => "bytes",
            Rule::MemoryGrowth => "bytes_per_second",
            Rule::Backlog | Rule::DeadLetters => "tasks",
            Rule::SlowTask | Rule::ClockSkew => "ms",
            Rule::WorkerLost => "workers",
            Rule::BreakerOpen => "modules",
            Rule::CallbackFailing => "callbacks",
            Rule::DiskBudget => "percent",
        }
    }

    /// How bad it is if it fires.
    pub const fn severity(self) -> Severity {
        match self {
            Rule::MemoryCritical | Rule::WorkerLost | Rule::DiskBudget => Severity::Critical,
            Rule::MemoryWarning
            | Rule::MemoryGrowth
            | Rule::Backlog
            | Rule::SlowTask
            | Rule::BreakerOpen
            | Rule::CallbackFailing
            | Rule::DeadLetters
            | Rule::ClockSkew => Severity::Warning,
        }
    }
}

impl Severity {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// The operator switched it off.
    Off,
    /// All is well.
    Ok,
    /// It fires.
    Firing,
}

impl AlertState {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            AlertState::Off => "off",
            AlertState::Ok => "ok",
            AlertState::Firing => "firing",
        }
    }
}

/// A rule, and how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Which one.
    pub rule: Rule,
    /// How it stands.
    pub state: AlertState,
    /// Since when.
    pub since: Timestamp,
    /// Its figure when it was read last.
    pub value: u64,
    /// From which figure on it fires.
    pub threshold: u64,
}
