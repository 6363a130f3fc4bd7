//! Faults on purpose, for tests: what a defect of the runtime, or whoever uses one, could do to the process
//! of a guest.
//!
//! This is part of test builds alone (the feature `fault-injection`, which only the dependencies of tests
//! turn on), and it works in guest processes alone: elsewhere a guest that asks for a fault gets
//! [`NOT_HERE`]. The system calls are made without the standard library, so that the answer is the
//! kernel's own.

#![expect(
    unsafe_code,
    reason = "a fault that the compiler could rule out would be none"
)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::Linker;

use crate::state::GuestState;

/// The module of the import.
pub(crate) const MODULE: &str = "cofferdam_faults";
/// The function, which takes the number of a fault and returns an errno, 0 for a success.
const FUNCTION: &str = "commit";
/// The answer in a process that is none of a guest's.
const NOT_HERE: i32 = 125;

/// The directory that this process may write to.
static HOME: OnceLock<PathBuf> = OnceLock::new();

/// Says what that is.
pub(crate) fn live_in(home: &Path) {
    // It is said once.
    let _the_same = HOME.set(home.to_owned());
}

/// More than a process may keep between runs.
const HOARD_BYTES: usize = 256 << 20;

/// Whether this is a guest's process.
static ARMED: AtomicBool = AtomicBool::new(false);

/// Says that this is a guest's process.
pub(crate) fn arm() {
    ARMED.store(true, Ordering::Relaxed);
}

/// Lets guests import it.
pub(crate) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, FUNCTION, |fault: i32| {
        match ARMED.load(Ordering::Relaxed) {
            true => commit(fault),
            false => NOT_HERE,
        }
    })?;
    Ok(())
}

/// Commits the fault of that number; `tests/it/isolation/faults.rs` has their names.
fn commit(fault: i32) -> i32 {
    match fault {
        0 => touch(8),
        1 => std::process::abort(),
        2 => dig(0),
        3 => spin(),
        4 => leave(),
        5 => babble(),
        6 => hoard(),
        7 => flood(),
        10.. => call(fault),
        _ => libc::EINVAL,
    }
}

/// Writes to an address that nothing is mapped at.
fn touch(address: usize) -> i32 {
    let nowhere = black_box(address) as *mut u8;
    // SAFETY: there is none; the process ends here.
    unsafe { nowhere.write_volatile(1) };
    0
}

/// Uses up the stack of the process's own code.
#[expect(unconditional_recursion, reason = "this is the fault")]
fn dig(depth: u64) -> i32 {
    let room = black_box([depth; 512]);
    dig(room[0] + 1).wrapping_add(black_box(room[511]) as i32)
}

/// Never gives its thread back.
fn spin() -> i32 {
    loop {
        std::hint::spin_loop();
    }
}

/// Ends the process as if all were well.
fn leave() -> i32 {
    std::process::exit(0)
}

/// Writes nonsense to whatever the process has open.
fn babble() -> i32 {
    let nonsense = [0xa5_u8; 4096];
    for descriptor in 0..256 {
        // SAFETY: the bytes are there, and a descriptor that is not open is an error.
        unsafe { libc::write(descriptor, nonsense.as_ptr().cast(), nonsense.len()) };
    }
    0
}

/// Writes to the disk for ever, past whoever counts.
fn flood() -> i32 {
    let piece = vec![1_u8; 256 << 10];
    let at = HOME.get().map(|home| home.join("flood"));
    let file = at.and_then(|at| std::fs::File::create(at).ok());
    let Some(mut file) = file else {
        return libc::EINVAL;
    };
    while std::io::Write::write_all(&mut file, &piece).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    libc::EIO
}

/// Keeps memory for ever, as a leak does.
fn hoard() -> i32 {
    std::mem::forget(black_box(vec![1_u8; HOARD_BYTES]));
    0
}

/// Asks the kernel for what no guest may have.
fn call(fault: i32) -> i32 {
    let path = c"/etc/passwd".as_ptr();
    let shell = c"/bin/sh".as_ptr();
    let nothing: [*const libc::c_char; 1] = [std::ptr::null()];
    // SAFETY: every pointer is to something that outlives the call.
    let returned = unsafe {
        match fault {
            10 => libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, libc::O_RDONLY),
            11 => libc::syscall(libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0),
            12 => libc::syscall(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0),
            13 => libc::syscall(libc::SYS_kill, libc::getppid(), libc::SIGKILL),
            14 => libc::syscall(libc::SYS_execve, shell, nothing.as_ptr(), nothing.as_ptr()),
            15 => libc::syscall(libc::SYS_ptrace, libc::PTRACE_ATTACH, libc::getppid(), 0, 0),
            16 => libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0),
            17 => libc::syscall(
                libc::SYS_process_vm_readv,
                libc::getppid(),
                nothing.as_ptr(),
                0,
                nothing.as_ptr(),
                0,
                0,
            ),
            18 => libc::syscall(
                libc::SYS_mkdirat,
                libc::AT_FDCWD,
                c"/tmp/fault".as_ptr(),
                0o700,
            ),
            19 => libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0),
            20 => libc::syscall(libc::SYS_chdir, c"/".as_ptr()),
            21 => libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER),
            22 => libc::syscall(libc::SYS_bpf, 0, 0, 0),
            23 => libc::syscall(libc::SYS_io_uring_setup, 1, 0),
            24 => libc::syscall(libc::SYS_memfd_create, path, 0),
            _ => return libc::EINVAL,
        }
    };
    match (fault, returned) {
        // A child that there should not be.
        (16, 0) => std::process::exit(0),
        (_, -1) => std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EINVAL),
        (_, _) => 0,
    }
}
