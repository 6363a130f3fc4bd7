//! What is read only when somebody asks for the metrics.

use cofferdam_domain::memory::Purpose;
use cofferdam_domain::module::Language;
use cofferdam_domain::state::TaskState;

/// Gauges, read when the metrics are requested.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readings {
    /// Tasks in each state, in the order of [`TaskState::ALL`].
    pub depth: [u64; TaskState::ALL.len()],
    /// Attempts running here.
    pub active: u64,
    /// Attempts that may run here at once.
    pub slots: u64,
    /// Runs that wait for room here.
    pub waiting: u64,
    /// Interpreters kept for callers here.
    pub sessions: u64,
    /// Processes that guests run in here.
    pub processes: u64,
    /// Those of them that died, since the host began.
    pub processes_died: u64,
    /// The disk space of spooled inputs, artifacts and files of code.
    pub files_bytes: u64,
    /// Resident memory of this process.
    pub memory_bytes: u64,
    /// The memory budget.
    pub memory_budget_bytes: u64,
    /// What is taken of it, in the order of [`Purpose::ALL`].
    pub memory_taken_bytes: [u64; Purpose::ALL.len()],
    /// Free bytes on the disk of the data directory.
    pub disk_free_bytes: u64,
    /// Whether that is too little to take work.
    pub disk_full: bool,
    /// Each interpreter's language and state.
    pub interpreters: [(&'static str, &'static str); Language::ALL.len()],
}
