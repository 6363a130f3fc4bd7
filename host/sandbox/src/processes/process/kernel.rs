//! What the kernel says of another process: figures that it cannot lie about.

use std::time::Duration;

use rustix::process::Pid;

/// The clock that counts the CPU time of a process.
pub(super) fn clock_of(pid: Pid) -> Option<libc::clockid_t> {
    let mut clock = 0;
    #[expect(
        unsafe_code,
        reason = "no library asks for the clock of another process"
    )]
    // SAFETY: the call writes to what it is given, which lives as long as it takes.
    let failed =
        unsafe { libc::clock_getcpuclockid(pid.as_raw_nonzero().get(), &raw mut clock) != 0 };
    (!failed).then_some(clock)
}

/// What such a clock says; nothing of a process that is gone.
pub(super) fn cpu(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    #[expect(
        unsafe_code,
        reason = "no library asks for the clock of another process"
    )]
    // SAFETY: the call writes to what it is given, which lives as long as it takes.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) != 0 };
    match failed {
        true => Duration::ZERO,
        false => Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(0),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        ),
    }
}

/// The memory that it shares with nobody; none if it cannot be told.
pub(super) fn own_bytes(pid: Pid) -> u64 {
    let path = format!("/proc/{}/statm", pid.as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut pages = text.split_ascii_whitespace().skip(1);
    let mut number = || pages.next().and_then(|number| number.parse::<u64>().ok());
    let (resident, shared) = (number().unwrap_or(0), number().unwrap_or(0));
    resident.saturating_sub(shared) * rustix::param::page_size() as u64
}
