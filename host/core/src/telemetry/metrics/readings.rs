//! What is read only when somebody asks for the metrics.

use cofferdam_domain::alert::Rule;
use cofferdam_domain::cache::CacheTier;
use cofferdam_domain::memory::Purpose;
use cofferdam_domain::module::Language;
use cofferdam_domain::pressure::Level;
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
    /// Modules that are held back here, because they failed again and again.
    pub modules_held: u64,
    /// Hosts that are told nothing for now.
    pub callback_hosts_held: u64,
    /// Interpreters kept for callers here.
    pub sessions: u64,
    /// Processes that guests run in here.
    pub processes: u64,
    /// Those of them whose guests compute without checks.
    pub processes_unchecked: u64,
    /// Those that the host ended, since it began.
    pub processes_retired: u64,
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
    /// Memory of the host as its guard counts it.
    pub host_memory_bytes: u64,
    /// What that may become, by its control group or the machine.
    pub host_memory_limit_bytes: u64,
    /// What the host does about a shortage of memory.
    pub pressure: Level,
    /// Whether each rule fires, in the order of [`Rule::ALL`].
    pub alerts: [bool; Rule::ALL.len()],
    /// Results that are kept and what they take, in the order of [`CacheTier::ALL`].
    pub cache: [(u64, u64); CacheTier::ALL.len()],
    /// Free bytes on the disk of the data directory.
    pub disk_free_bytes: u64,
    /// Whether that is too little to take work.
    pub disk_full: bool,
    /// What the kernel confines, by what, and whether it does.
    pub confinement: [(&'static str, &'static str, bool); 5],
    /// Each interpreter's language and state.
    pub interpreters: [(&'static str, &'static str); Language::ALL.len()],
}
