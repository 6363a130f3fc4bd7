//! Tries from inside what the confined host must not be able to do, and writes what the kernel answered to
//! standard error.
//!
//! This is part of test builds alone (the feature `fault-injection`), and it does something only where the
//! environment asks for it. `tests/it/confinement` reads it.

#![expect(
    unsafe_code,
    reason = "calls that no library offers are made as an attacker would make them"
)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use rustix::process::{getppid, test_kill_process};

use super::Confinement;

/// The variable that asks for it. Its value is the address of somebody who listens.
const ASKED: &str = "CONFINEMENT_PROBE";

/// System calls without arguments that mean something: the filter does not look at them.
const CALLS: [(&str, libc::c_long); 12] = [
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("mount", libc::SYS_mount),
    ("bpf", libc::SYS_bpf),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("keyctl", libc::SYS_keyctl),
    ("setns", libc::SYS_setns),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("kexec_load", libc::SYS_kexec_load),
    ("init_module", libc::SYS_init_module),
    ("setuid", libc::SYS_setuid),
];

/// The variable that names a layer which the kernel is to lack.
const LACKING: &str = "CONFINEMENT_LACKS";

/// The confinement as a kernel without the named layer would leave it.
pub(super) fn as_told(confinement: Confinement) -> Confinement {
    match std::env::var(LACKING).as_deref() {
        Ok("landlock") => Confinement {
            landlock: false,
            ..confinement
        },
        Ok(_) | Err(_) => confinement,
    }
}

/// Says what can be done.
pub(super) fn report() {
    let Ok(listener) = std::env::var(ASKED) else {
        return;
    };
    let mut tried: Vec<(&str, i32)> = vec![
        ("read_shadow", errno(File::open("/etc/shadow"))),
        ("list_root", errno(fs::read_dir("/"))),
        ("write_tmp", errno(File::create("/tmp/confinement-probe"))),
        (
            "write_kernel",
            errno(fs::write("/proc/sys/kernel/domainname", "probe")),
        ),
        ("exec_other", errno(start("/bin/true", &[]))),
        ("exec_shell", errno(start("/bin/sh", &["-c", "true"]))),
        ("exec_self", errno(start("/proc/self/exe", &["--version"]))),
        ("connect", errno(TcpStream::connect(&listener))),
        ("listen", errno(TcpListener::bind("127.0.0.1:1"))),
        ("thread", errno(std::thread::Builder::new().spawn(|| {}))),
        ("signal_parent", signal_parent()),
    ];
    tried.extend(CALLS.map(|(name, number)| (name, call(number, [0, 0, 0]))));
    let user_namespace = libc::c_long::from(libc::CLONE_NEWUSER);
    tried.push((
        "user_namespace",
        call(libc::SYS_unshare, [user_namespace, 0, 0]),
    ));
    let packets = [libc::AF_PACKET, libc::SOCK_RAW, 0].map(libc::c_long::from);
    tried.push(("packet_socket", call(libc::SYS_socket, packets)));
    let raw = [libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP].map(libc::c_long::from);
    tried.push(("raw_socket", call(libc::SYS_socket, raw)));
    let filter = [libc::AF_NETLINK, libc::SOCK_DGRAM, libc::NETLINK_NETFILTER];
    tried.push((
        "netfilter",
        call(libc::SYS_socket, filter.map(libc::c_long::from)),
    ));
    let told: Vec<String> = tried
        .into_iter()
        .map(|(name, errno)| format!("{name}={errno}"))
        .collect();
    // If nobody reads it, the test that asked finds nothing.
    let _unheard = writeln!(io::stderr(), "confinement probe: {}", told.join(" "));
}

fn errno<T>(done: io::Result<T>) -> i32 {
    done.err()
        .map_or(0, |error| error.raw_os_error().unwrap_or(-1))
}

fn start(program: &str, args: &[&str]) -> io::Result<()> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    match child.wait()?.success() {
        true => Ok(()),
        false => Err(io::Error::other("it began and failed")),
    }
}

fn signal_parent() -> i32 {
    let Some(parent) = getppid() else { return -1 };
    test_kill_process(parent)
        .err()
        .map_or(0, rustix::io::Errno::raw_os_error)
}

fn call(number: libc::c_long, arguments: [libc::c_long; 3]) -> i32 {
    let [a, b, c] = arguments;
    // SAFETY: the arguments point at nothing, so at worst the call answers that they are bad; the process
    // is a test's.
    let returned = unsafe { libc::syscall(number, a, b, c, 0, 0, 0) };
    match returned {
        -1 => io::Error::last_os_error().raw_os_error().unwrap_or(-1),
        _ => 0,
    }
}
