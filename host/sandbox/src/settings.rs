//! `[sandbox]`: the engines, the pool and the compiler.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::egress::EgressConfig;

/// What happens to a guest that writes past its disk quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverQuota {
    /// It sees "insufficient space" and may go on.
    #[default]
    Refuse,
    /// It is ended with `disk_exceeded`.
    Kill,
}

/// What becomes a process that runs guests when it is started.
#[derive(Clone, Debug)]
pub struct GuestProgram {
    /// The program.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// The section.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Guests that exist at once; more of them wait.
    pub instances_max: u32,
    /// Memory of guests, compiling children and bodies together; 0 means three quarters of the
    /// machine's memory.
    pub memory_budget_bytes: u64,
    /// What of that only guests take, at most half of it; 0 is half.
    pub guests_reserved_bytes: u64,
    /// What of that only compiling children take, at most a quarter of it.
    pub compiles_reserved_bytes: u64,
    /// Memory that a run takes from that budget to begin, if its limit is not lower. More is taken
    /// while the guest grows.
    pub memory_price_bytes: u64,
    /// How long a run waits for room, and an upload for the compiler, before it is refused.
    pub queue_timeout: Duration,
    /// A guest's stack.
    pub stack_bytes: usize,
    /// Linear memory of a pool slot that stays resident between two guests.
    pub keep_resident_bytes: usize,
    /// Threads for guests that run longer than a moment; 0 means one per core.
    pub guest_threads: usize,
    /// Processes for the guests of one module that is isolated; 0 means one per core.
    pub processes: usize,
    /// All such processes together. One that is idle goes when another is needed.
    pub processes_max: usize,
    /// Compilations at once; 0 means one per core. The smallest and the largest modules have extra
    /// places.
    pub compiles_max: usize,
    /// How long checking and compiling one module may take.
    pub compile_timeout: Duration,
    /// The most address space of one compiling child, which it takes from the budget. One that is
    /// likely to need less is tried with less.
    pub compile_memory_bytes: u64,
    /// How long checking one value against a module's schema may take.
    pub schema_check_timeout: Duration,
    /// The memory that one value may take while it is held against a module's schema. A text that
    /// is longer than a quarter of it is refused.
    pub schema_check_memory_bytes: u64,
    /// Compiled modules kept mapped, each class counted apart.
    pub loaded_modules_max: usize,
    /// Bytes of compiled code kept on disk; the least recently used go first.
    pub code_cache_bytes: u64,
    /// What happens to a guest that writes past its disk quota.
    pub over_quota: OverQuota,
    /// Whether work is refused where the kernel does not confine the process that does it entirely.
    pub confinement_required: bool,
    /// The pool that interpreters run in.
    pub interpreters: InterpreterPool,
    /// What runs may reach of other machines; the keys are in `[egress]`.
    pub egress: EgressConfig,
}

/// The settings that differ for interpreters; the keys are in `[interpreters]`.
#[derive(Clone, Copy, Debug)]
pub struct InterpreterPool {
    /// Interpreters that exist at once; 0 means four per core and at least 16. More of them wait.
    pub instances_max: u32,
    /// Sessions that exist at once, in addition to those; 0 means no sessions.
    pub sessions_max: u32,
    /// An interpreter's stack.
    pub stack_bytes: usize,
    /// Linear memory of a pool slot that stays resident between two runs.
    pub keep_resident_bytes: usize,
}

/// The minimum for a host without a configured number: scripts that wait hold a place.
const INTERPRETERS_MIN: u32 = 16;

impl InterpreterPool {
    /// Interpreters that exist at once, those of sessions included.
    pub fn instances(&self) -> u32 {
        self.runs().saturating_add(self.sessions_max)
    }

    fn runs(&self) -> u32 {
        if self.instances_max > 0 {
            return self.instances_max;
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        u32::try_from(cores * 4)
            .unwrap_or(u32::MAX)
            .max(INTERPRETERS_MIN)
    }
}

impl Default for InterpreterPool {
    fn default() -> InterpreterPool {
        InterpreterPool {
            instances_max: 0,
            sessions_max: 8,
            stack_bytes: 2 * 1024 * 1024,
            keep_resident_bytes: 16 * 1024 * 1024,
        }
    }
}

impl SandboxConfig {
    /// Runs at once that have a process for themselves: the other half of the processes is for those that
    /// share theirs.
    pub fn dedicated_max(&self) -> u32 {
        let half = u32::try_from(self.processes_max.div_ceil(2)).unwrap_or(u32::MAX);
        half.min(self.instances_max)
    }
}

impl Default for SandboxConfig {
    fn default() -> SandboxConfig {
        SandboxConfig {
            instances_max: 900,
            memory_budget_bytes: 0,
            guests_reserved_bytes: 0,
            compiles_reserved_bytes: 1024 * 1024 * 1024,
            memory_price_bytes: 64 * 1024 * 1024,
            queue_timeout: Duration::from_secs(30),
            stack_bytes: 512 * 1024,
            keep_resident_bytes: 1024 * 1024,
            guest_threads: 0,
            processes: 0,
            processes_max: 64,
            compiles_max: 0,
            compile_timeout: Duration::from_secs(60),
            compile_memory_bytes: 3 * 1024 * 1024 * 1024,
            schema_check_timeout: Duration::from_secs(2),
            schema_check_memory_bytes: 512 * 1024 * 1024,
            loaded_modules_max: 256,
            code_cache_bytes: 4 * 1024 * 1024 * 1024,
            over_quota: OverQuota::Refuse,
            confinement_required: false,
            interpreters: InterpreterPool::default(),
            egress: EgressConfig::default(),
        }
    }
}
