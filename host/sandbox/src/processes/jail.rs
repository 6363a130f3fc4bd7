//! How a process that runs guests confines itself before the first of them.
//!
//! First it leaves the host's namespaces, because only a process with one thread can. Then in two steps,
//! because Landlock holds for the thread that asks for it and those it starts, so it comes
//! before the threads; and seccomp holds for all, so it comes after the last was started. From then on the
//! process can open files below its own directories, and do nothing to other processes or the network; it
//! can neither start a program nor make memory executable, so the machine code in it is what the host gave
//! it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getegid, geteuid, getrlimit, setrlimit};
use rustix::thread::UnshareFlags;
use seccompiler::{BackendError, SeccompCmpOp};

use super::messages::Dir;
use crate::confinement::OF_GUESTS;
use crate::seccomp::{self, Rules, argument_is};

/// Serving requests goes first.
const NICENESS: i32 = 5;
/// When the machine runs out of memory, the kernel should end a guest's process before the host.
const OOM_SCORE: &str = "700";

/// What a process may map beyond the memory of all guests: the kernel counts what is mapped and not
/// used, such as the memories that wait for their next guest.
const MAPPED_BYTES: u64 = 4 << 30;

/// Leaves the host's network, mounts, objects in memory and names for empty ones of its own. Returns whether
/// the kernel lets it; whoever may not do so gets users of its own as well, which then let it.
pub(super) fn leave_namespaces() -> io::Result<bool> {
    if unshare(OF_GUESTS) {
        return Ok(true);
    }
    let maps = ["/proc/self/uid_map", "/proc/self/gid_map"];
    let may_write = |path: &&str| OpenOptions::new().write(true).open(path).is_ok();
    // Nobody but itself could say there who it is, and its files would belong to nobody.
    if !maps.iter().all(may_write) {
        return Ok(false);
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    if !unshare(OF_GUESTS | libc::CLONE_NEWUSER) {
        return Ok(false);
    }
    let [users, groups] = maps;
    // The kernel takes the groups of whoever has no rights outside only after this.
    tell("/proc/self/setgroups", "deny")?;
    tell(users, &format!("{user} {user} 1"))?;
    tell(groups, &format!("{group} {group} 1"))?;
    Ok(true)
}

fn tell(path: &str, what: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(what.as_bytes())
}

#[expect(
    unsafe_code,
    reason = "the library offers only this form, because of flags that are not used here"
)]
fn unshare(flags: i32) -> bool {
    let flags = UnshareFlags::from_bits_retain(flags.unsigned_abs());
    // SAFETY: descriptors stay shared, and this is the only thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }.is_ok()
}

/// The first step: nothing but what is below `runs`, and to read what is below `given`, and the granted
/// directories. Returns whether Landlock holds.
pub(super) fn close_files(
    runs: &Path,
    given: &Path,
    dirs: &[Dir],
    memory_bytes: u64,
) -> io::Result<bool> {
    // Where they cannot be set, the kernel chooses.
    let _kernel_chooses = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    let _same_priority = rustix::process::setpriority_process(None, NICENESS);
    let most = memory_bytes.saturating_mul(2).saturating_add(MAPPED_BYTES);
    limit(Resource::Data, data_bytes()?.saturating_add(most))?;
    limit(Resource::Core, 0)?;
    limit(Resource::Memlock, 0)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    // It leads a session already if a terminal started it.
    let _its_own = rustix::process::setsid();
    Ok(landlocked(runs, given, dirs).unwrap_or(false))
}

fn landlocked(runs: &Path, given: &Path, dirs: &[Dir]) -> Result<bool, RulesetError> {
    let abi = ABI::V6;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let never = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock;
    let write = AccessFs::from_all(abi) & !(never | AccessFs::IoctlDev);
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?;
    let below = |path: &Path, access: BitFlags<AccessFs>| {
        // An absent directory needs no rule.
        let at = PathFd::new(path).ok()?;
        Some(PathBeneath::new(at, access))
    };
    let granted = dirs
        .iter()
        .map(|dir| (dir.path.as_path(), if dir.writable { write } else { read }));
    for (path, access) in granted.chain([(runs, write), (given, read)]) {
        if let Some(rule) = below(path, access) {
            rules = rules.add_rule(rule)?;
        }
    }
    let status = rules.restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// The private memory that the process has before its first guest.
fn data_bytes() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmData:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .ok_or_else(|| io::Error::other("/proc/self/status cannot be read"))?;
    Ok(kib * 1024)
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = getrlimit(resource)
        .maximum
        .map_or(most, |hard| hard.min(most));
    Ok(setrlimit(
        resource,
        Rlimit {
            current: Some(most),
            maximum: Some(most),
        },
    )?)
}

/// System calls on what is open, on the own memory and threads, and on paths, which Landlock holds within
/// the process's directories. Everything else answers `EPERM`.
const ALLOWED: [libc::c_long; 76] = [
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_readlinkat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_utimensat,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_ppoll,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_umask,
    libc::SYS_faccessat2,
    libc::SYS_flock,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_getcpu,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Older forms of some of these, which the C library uses where they exist.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: [libc::c_long; 12] = [
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: [libc::c_long; 0] = [];

/// `PAGEMAP_SCAN`: the runtime asks it which pages a guest wrote to.
const PAGEMAP_SCAN: u64 = 0xc060_6610;

/// Calls that are allowed with some arguments only.
fn in_part() -> Result<Rules, BackendError> {
    let execute = u64::from(libc::PROT_EXEC.unsigned_abs());
    let not_executable = |argument| argument_is(argument, SeccompCmpOp::MaskedEq(execute), 0);
    let commands = [
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
    ];
    let commands: Result<Vec<_>, _> = commands
        .into_iter()
        .map(|command| argument_is(1, SeccompCmpOp::Eq, u64::from(command.unsigned_abs())))
        .collect();
    let mut rules = seccomp::own_process()?;
    rules.extend([
        (libc::SYS_mmap, vec![not_executable(2)?]),
        (libc::SYS_mprotect, vec![not_executable(2)?]),
        (
            libc::SYS_ioctl,
            vec![argument_is(1, SeccompCmpOp::Eq, PAGEMAP_SCAN)?],
        ),
        (libc::SYS_fcntl, commands?),
    ]);
    Ok(rules)
}

/// The second step, on all threads. False where the kernel or the processor has no filter.
pub(super) fn close_calls() -> bool {
    seccomp::allow_only(ALLOWED.into_iter().chain(ALLOWED_HERE), in_part())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::process::Command;

    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketType};
    use rustix::process::{Signal, getppid, kill_process};

    use super::*;

    const PROBE: &str = "COFFERDAM_TEST_JAIL";

    /// The process that the test below starts: it goes to jail and says what it can do there.
    fn probe(home: &Path) -> ! {
        let (runs, given) = (home.join("runs"), home.join("given"));
        let parent = getppid().unwrap();
        let landlock = close_files(&runs, &given, &[], 0).unwrap();
        let seccomp = close_calls();
        let os = |error: io::Error| error.raw_os_error().unwrap_or(-1);
        let errno = |error: Errno| error.raw_os_error();
        let tried = [
            (
                "write_run",
                File::create(runs.join("a")).map(drop).map_err(os),
            ),
            (
                "read_given",
                fs::read(given.join("a")).map(drop).map_err(os),
            ),
            (
                "write_given",
                File::create(given.join("b")).map(drop).map_err(os),
            ),
            ("read_other", fs::read("/etc/passwd").map(drop).map_err(os)),
            ("list_other", fs::read_dir(home).map(drop).map_err(os)),
            (
                "link_given",
                fs::hard_link(given.join("a"), runs.join("c")).map_err(os),
            ),
            (
                "exec",
                Command::new("/bin/true").spawn().map(drop).map_err(os),
            ),
            (
                "thread",
                std::thread::Builder::new()
                    .spawn(|| {})
                    .map(drop)
                    .map_err(os),
            ),
            (
                "socket",
                rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)
                    .map(drop)
                    .map_err(errno),
            ),
            ("signal", kill_process(parent, Signal::KILL).map_err(errno)),
            (
                "trace",
                rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(errno),
            ),
        ];
        let tried = tried.map(|(what, done)| format!("{what}={}", done.err().unwrap_or(0)));
        println!("\njail: {landlock} {seccomp} {}", tried.join(" "));
        std::process::exit(0);
    }

    #[test]
    fn what_is_not_its_own_is_refused() {
        if let Some(home) = std::env::var_os(PROBE) {
            probe(home.as_ref());
        }
        let home = tempfile::tempdir().unwrap();
        for dir in ["runs", "given"] {
            fs::create_dir(home.path().join(dir)).unwrap();
        }
        fs::write(home.path().join("given/a"), b"given").unwrap();
        let test = "processes::jail::tests::what_is_not_its_own_is_refused";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--test-threads=1", "--nocapture"])
            .env(PROBE, home.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let said = text.lines().find_map(|line| line.strip_prefix("jail: "));
        let (perm, access) = (Errno::PERM.raw_os_error(), Errno::ACCESS.raw_os_error());
        let expected = format!(
            "true true write_run=0 read_given=0 write_given={access} read_other={access} \
             list_other={access} link_given={link} exec={perm} thread={perm} socket={perm} \
             signal={perm} trace={perm}",
            link = Errno::XDEV.raw_os_error(),
        );
        assert_eq!(said, Some(&*expected), "{text} {output:?}");
    }
}
