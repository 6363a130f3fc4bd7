//! How the child confines itself before it reads a byte of the module.
//!
//! Limits, no new privileges and the closed environment are mandatory: without them the child
//! refuses to work. Landlock and seccomp depend on the kernel; where they are missing the child
//! says so in its answer, and the host reports it, because a fault in Cranelift is then less
//! contained.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, setrlimit};

use super::protocol::{Confinement, Orders};
use crate::seccomp;

/// The stack of a compiling thread. Cranelift recurses over expression trees; the default size is
/// enough for every module seen so far, and a larger one costs only address space.
const THREAD_STACK_BYTES: usize = 8 * 1024 * 1024;
/// What the C library's allocator reserves, mostly without using it, for each thread that allocates.
const THREAD_HEAP_BYTES: u64 = 64 * 1024 * 1024;
/// Compiling has a lower priority than serving requests, but not than guests: its deadline is one
/// of wall time.
const NICENESS: i32 = 5;
/// Standard input, output and error, and nothing more.
const OPEN_FILES_MAX: u64 = 3;

/// Locks the process in and starts the threads it compiles on, the last it can start.
///
/// `before_locked` runs when no further thread can be started afterwards.
pub(super) fn lock_in(
    orders: &Orders,
    before_locked: impl FnOnce() -> io::Result<()>,
) -> io::Result<Confinement> {
    // If the machine runs out of memory, the kernel should kill this process first. If that cannot
    // be set, the kernel chooses by size, which has the same effect.
    let _kernel_chooses = std::fs::write("/proc/self/oom_score_adj", "1000");
    let _same_priority = rustix::process::setpriority_process(None, NICENESS);
    limit(
        Resource::As,
        orders.memory_bytes + before_compiling(orders)?,
    )?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    // The soft limit ends the child with a signal that says why; the hard one is a second later.
    let cpu = Rlimit {
        current: Some(orders.cpu_s),
        maximum: Some(orders.cpu_s + 1),
    };
    setrlimit(Resource::Cpu, cpu)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    // Landlock confines the calling thread and the threads that it starts afterwards.
    let landlock = landlocked();
    before_locked()?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(orders.threads)
        .stack_size(THREAD_STACK_BYTES)
        .thread_name(|number| format!("compile-{number}"))
        .build_global()
        .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    limit(Resource::Nproc, 0)?;
    let seccomp = seccomp::allow_only(ALLOWED, seccomp::own_process());
    limit(Resource::Nofile, OPEN_FILES_MAX)?;
    Ok(Confinement { landlock, seccomp })
}

/// The address space that the program and its threads take before there is a module. It is not
/// counted against the module's memory, so that the same limit holds for every build and machine.
fn before_compiling(orders: &Orders) -> io::Result<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = pages
        .split(' ')
        .next()
        .and_then(|size| size.parse().ok())
        .ok_or_else(|| io::Error::other("/proc/self/statm cannot be read"))?;
    let thread = THREAD_STACK_BYTES as u64 + THREAD_HEAP_BYTES;
    Ok(pages * rustix::param::page_size() as u64 + thread * orders.threads as u64)
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    Ok(setrlimit(
        resource,
        Rlimit {
            current: Some(most),
            maximum: Some(most),
        },
    )?)
}

/// Removes every right over files and network that the kernel's Landlock knows.
fn landlocked() -> bool {
    use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V6))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V6)))
        .and_then(|rules| rules.scope(Scope::from_all(ABI::V6)))
        .and_then(|rules| rules.create())
        .and_then(|rules| rules.restrict_self());
    // Landlock of an older kernel does not know some rights: that is still better than nothing, and
    // seccomp follows.
    status.is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

/// System calls that compiling needs once its threads exist: memory, locks, and reading and
/// writing what is open. Everything else answers `EPERM`.
const ALLOWED: [libc::c_long; 31] = [
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_exit,
    libc::SYS_exit_group,
];
